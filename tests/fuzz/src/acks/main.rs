//! Two readers of one source, one after the other, driven by a byte string: permits, sends,
//! answers, losses, stops, fences, and both acknowledgement trackers.
//!
//! A model that is told the same says what must come back. No event resolves twice or otherwise
//! than it ended; no position passes an event that was not taken; never is more in flight than may
//! be; in the end everything that was held is free again.
#![no_main]

mod model;

use libfuzzer_sys::fuzz_target;

use self::model::{Answer, World};

fuzz_target!(|script: &[u8]| {
    let mut script = script.iter().copied();
    let setup = [(); 3].map(|()| script.next().unwrap_or_default());
    let mut world = World::new(setup);
    while let (Some(step), Some(which)) = (script.next(), script.next()) {
        let (reader, at) = (usize::from(which % 2), usize::from(which / 2));
        let reader = &mut world.readers[reader];
        match step % 16 {
            0 => reader.ask(None),
            1 => reader.ask(Some(at)),
            2 => reader.wait(at),
            3 => reader.poll_waiting(),
            4 => reader.give_up_waiting(at),
            5 => reader.give_back_permit(at),
            6 => reader.send_in_order(at),
            7 => reader.send(at),
            8 => world.lanes.leave(at),
            9 => world.answer(at, Answer::Take),
            10 => world.answer(at, Answer::Refuse),
            11 => world.answer(at, Answer::Lose),
            12 => reader.hear(),
            13 => reader.forget(at),
            14 => reader.stop(),
            _ => reader.fence(),
        }
        world.is_within_limits();
    }
    world.end();
});
