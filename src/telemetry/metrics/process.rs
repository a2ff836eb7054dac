//! What the system knows of this process, under the names that Prometheus' own clients use. Read
//! from `/proc`: other systems have none of it.

use rustix::process::{Resource, getrlimit};

use super::families as f;
use super::text::{Text, number};

pub(super) fn write(text: &mut Text) {
    let Some(stat) = Stat::read() else {
        return;
    };
    let ticks = number(rustix::param::clock_ticks_per_second());
    let page = number(rustix::param::page_size() as u64);
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    let most = getrlimit(Resource::Nofile).current;
    let started = boot_time().map(|boot| number(boot) + number(stat.started) / ticks);
    for (family, value) in [
        (&f::PROCESS_CPU, Some(number(stat.cpu) / ticks)),
        // Reading the folder opens one more.
        (
            &f::PROCESS_OPEN_FDS,
            open.ok().map(|count| number(count as u64) - 1.0),
        ),
        (&f::PROCESS_MAX_FDS, most.map(number)),
        (&f::PROCESS_RESIDENT, Some(number(stat.resident) * page)),
        (&f::PROCESS_VIRTUAL, Some(number(stat.virtual_bytes))),
        (&f::PROCESS_START, started),
        (&f::PROCESS_THREADS, Some(number(stat.threads))),
    ] {
        if let Some(value) = value {
            text.family(family);
            text.sample(family, "", value);
        }
    }
}

/// `/proc/self/stat`, as far as it is of use.
struct Stat {
    /// In ticks, in the kernel and outside.
    cpu: u64,
    threads: u64,
    /// In ticks after the start of the system.
    started: u64,
    virtual_bytes: u64,
    /// In pages.
    resident: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The second field is the program's name in brackets, and may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The manual counts from 1, and the first field after the name is its third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu: field(14)? + field(15)?,
            threads: field(20)?,
            started: field(22)?,
            virtual_bytes: field(23)?,
            resident: field(24)?,
        })
    }
}

/// When the system started, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_confuses_nobody() {
        let text = "12 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 700 35 13 14 15 16 8 0 4242 99000 777 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu, stat.threads, stat.started), (735, 8, 4242));
        assert_eq!((stat.virtual_bytes, stat.resident), (99000, 777));
    }
}
