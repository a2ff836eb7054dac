//! The schedule grammar and the search for the next time: it is later than now, its fields match
//! by another reading of the text, and no earlier second matches.
//!
//! The first byte of the input chooses the zone, the next four the time, the rest is the schedule.
#![no_main]

use bindery_cron::Schedule;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

/// Zones whose clocks are shifted by an hour, by half an hour, at midnight, by a day, and never.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Beirut",
    "Pacific/Apia",
    "America/St_Johns",
];
/// How many seconds are looked at one by one.
const WALK: i64 = 2_000;

fuzz_target!(|input: (u8, i32, &str)| {
    let (zone, second, text) = input;
    let name = ZONES[usize::from(zone) % ZONES.len()];
    let zone = TimeZone::get(name).expect("a zone that is bundled");
    let Ok(schedule) = Schedule::parse_in(text, zone.clone()) else {
        return;
    };
    let after = Timestamp::from_second(i64::from(second)).expect("a time of this age");
    let next = schedule.next(after);
    let Schedule::Fields { zone, .. } = &schedule else {
        assert!(next.is_none_or(|next| next > after));
        return;
    };
    let at = |ahead| Timestamp::from_second(after.as_second() + ahead).expect("a time of this age");
    let walk = next.map_or(WALK, |next| {
        (next.as_second() - after.as_second() - 1).min(WALK)
    });
    for ahead in 1..=walk {
        let earlier = at(ahead);
        assert!(
            !schedule.fires_at(earlier),
            "{text:?} in {name} after {after}: {earlier}"
        );
    }
    if let Some(next) = next {
        assert!(
            next > after && schedule.fires_at(next),
            "{text:?} in {name} after {after}: {next}"
        );
        assert!(admits(text, &zone.to_datetime(next)), "{text:?}: {next}");
    }
});

/// Whether the fields of a schedule admit a local time, read as plainly as can be.
fn admits(text: &str, time: &jiff::civil::DateTime) -> bool {
    let text = match text
        .strip_prefix("TZ=")
        .or_else(|| text.strip_prefix("CRON_TZ="))
    {
        Some(rest) => rest.split_once(' ').map_or("", |(_, rest)| rest),
        None => text,
    };
    if text.trim().starts_with('@') {
        return time.minute() == 0 && time.second() == 0;
    }
    let mut fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() == 5 {
        fields.insert(0, "0");
    }
    let weekday = time.date().weekday().to_sunday_zero_offset();
    let numbers = [
        time.second(),
        time.minute(),
        time.hour(),
        time.day(),
        time.month(),
        weekday,
    ];
    let matches: Vec<bool> = fields
        .iter()
        .zip(numbers)
        .enumerate()
        .map(|(place, (field, number))| {
            let sunday = place == 5 && number == 0 && has(field, 7, place);
            sunday || has(field, number, place)
        })
        .collect();
    let days = if is_star(fields[3]) || is_star(fields[5]) {
        matches[3] && matches[5]
    } else {
        matches[3] || matches[5]
    };
    matches[0] && matches[1] && matches[2] && matches[4] && days
}

/// Whether a day field restricts nothing.
fn is_star(field: &str) -> bool {
    field.split(',').any(|part| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let low = range.split('-').next().unwrap_or_default();
        matches!(low, "*" | "?") && step.parse() == Ok(1)
    })
}

fn has(field: &str, number: i8, place: usize) -> bool {
    const ENDS: [(i64, i64); 6] = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    let (first, last) = ENDS[place];
    field
        .split(',')
        .filter(|part| !part.is_empty())
        .any(|part| {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step.parse::<i64>().expect("a step"))),
                None => (part, None),
            };
            let mut ends = range.split('-');
            let low = ends.next().unwrap_or_default();
            let (low, high) = match (low, ends.next()) {
                ("*" | "?", _) => (first, last),
                (low, Some(high)) => (value(low, place), value(high, place)),
                (low, None) if step.is_some() => (value(low, place), last),
                (low, None) => (value(low, place), value(low, place)),
            };
            let number = i64::from(number);
            (low..=high).contains(&number) && (number - low) % step.unwrap_or(1) == 0
        })
}

/// A number, or the name of a month or a weekday.
fn value(text: &str, place: usize) -> i64 {
    const MONTHS: &str = "jan feb mar apr may jun jul aug sep oct nov dec";
    const WEEKDAYS: &str = "sun mon tue wed thu fri sat";
    let lower = text.to_ascii_lowercase();
    let named = |names: &str| names.split(' ').position(|name| name == lower);
    let named = match place {
        4 => named(MONTHS).map(|at| at + 1),
        5 => named(WEEKDAYS),
        _ => None,
    };
    match named {
        Some(at) => i64::try_from(at).expect("a small number"),
        None => text.parse().expect("a number"),
    }
}
