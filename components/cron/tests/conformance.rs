//! Cron under the conformance suite. A tick has no body and nobody makes it come: each check
//! takes the next one.

use bindery_cron::Cron;
use bindery_testkit::conformance::{Emitted, Suite};

#[test]
fn conformance() {
    Suite::of::<Cron>(&[("schedule", "@every 20ms")])
        .input(|_| async {
            let metadata = vec![("timeZone".to_owned(), "Local".to_owned())];
            Emitted {
                data: Vec::new(),
                metadata,
            }
        })
        .run();
}
