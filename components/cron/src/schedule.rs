//! The schedule grammar, exactly as the reference has it, and the search for the next time.
//!
//! Pure: text and times in, times out. No crate has this grammar: others differ in the order of
//! the fields, in `?`, in the numbers of the weekdays, and in when day and weekday both count.

use std::time::Duration;

use bindery_contract::settings::GoDuration;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

/// How many years ahead a next time is looked for.
const YEARS_AHEAD: i16 = 5;

/// When to fire.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// After each interval, counted from the start.
    Every(Duration),
    /// At the times whose fields all match.
    Fields {
        /// The fields.
        fields: Fields,
        /// The zone they are read in.
        zone: TimeZone,
    },
}

/// A set of numbers for each field, one bit for each number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    second: u64,
    minute: u64,
    hour: u64,
    day: Days,
    month: u64,
    weekday: Days,
}

/// The days of one of the two day fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Days {
    bits: u64,
    /// The field was `*` or `?`: it does not restrict.
    star: bool,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five or six fields.
    #[error("expected 5 to 6 fields, found {found}: [{text}]")]
    FieldCount {
        /// How many there are.
        found: usize,
        /// The fields.
        text: String,
    },
    /// A zone that nobody knows.
    #[error("provided bad location {0}: write an IANA name such as Europe/Berlin")]
    Location(String),
    /// A descriptor that does not exist.
    #[error(
        "unrecognized descriptor: {0}; there are @yearly, @annually, @monthly, @weekly, @daily, \
         @midnight, @hourly and @every <duration>"
    )]
    Descriptor(String),
    /// `@every` without a positive duration.
    #[error("failed to parse duration {text}: {reason}")]
    Duration {
        /// What is there.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A field that cannot be read.
    #[error("{field}: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a field may hold.
struct Bounds {
    name: &'static str,
    min: u32,
    max: u32,
    /// The largest number that may be written; one more than `max` for Sunday's second name.
    written_max: u32,
    names: &'static [&'static str],
}

const SECOND: Bounds = Bounds {
    name: "second",
    min: 0,
    max: 59,
    written_max: 59,
    names: &[],
};
const MINUTE: Bounds = Bounds {
    name: "minute",
    min: 0,
    max: 59,
    written_max: 59,
    names: &[],
};
const HOUR: Bounds = Bounds {
    name: "hour",
    min: 0,
    max: 23,
    written_max: 23,
    names: &[],
};
const DAY: Bounds = Bounds {
    name: "day of month",
    min: 1,
    max: 31,
    written_max: 31,
    names: &[],
};
const MONTH: Bounds = Bounds {
    name: "month",
    min: 1,
    max: 12,
    written_max: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
/// The reference refuses 7 although its documentation promises it as Sunday; here it works.
const WEEKDAY: Bounds = Bounds {
    name: "day of week",
    min: 0,
    max: 6,
    written_max: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Schedule {
    /// Parses a schedule. Without a zone of its own, the process's counts.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        Self::parse_in(text, TimeZone::system())
    }

    /// Parses a schedule that is read in `zone` unless it names another.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_in(text: &str, zone: TimeZone) -> Result<Self, ScheduleError> {
        let (text, zone) = split_zone(text, zone)?;
        if let Some(interval) = text.strip_prefix("@every ") {
            return every(interval.trim());
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 0 1 1 *",
            "@monthly" => "0 0 0 1 * *",
            "@weekly" => "0 0 0 * * 0",
            "@daily" | "@midnight" => "0 0 0 * * *",
            "@hourly" => "0 0 * * * *",
            other if other.starts_with('@') => {
                return Err(ScheduleError::Descriptor(other.to_owned()));
            }
            other => other,
        };
        Ok(Self::Fields {
            fields: Fields::parse(fields)?,
            zone,
        })
    }
}

fn split_zone(text: &str, zone: TimeZone) -> Result<(&str, TimeZone), ScheduleError> {
    let Some(rest) = text
        .strip_prefix("TZ=")
        .or_else(|| text.strip_prefix("CRON_TZ="))
    else {
        return Ok((text.trim(), zone));
    };
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let zone = match name {
        "" => TimeZone::UTC,
        "Local" => zone,
        name => TimeZone::get(name).map_err(|_| ScheduleError::Location(name.to_owned()))?,
    };
    Ok((rest.trim(), zone))
}

fn every(text: &str) -> Result<Schedule, ScheduleError> {
    let error = |reason: String| ScheduleError::Duration {
        text: text.to_owned(),
        reason,
    };
    let interval = GoDuration::parse(text).map_err(error)?;
    match interval.positive() {
        Some(interval) => Ok(Schedule::Every(interval)),
        None => Err(error("it must be more than zero".into())),
    }
}

impl Fields {
    fn parse(text: &str) -> Result<Self, ScheduleError> {
        let mut fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let [second, minute, hour, day, month, weekday] = fields.as_slice() else {
            let (found, text) = (fields.len(), fields.join(" "));
            return Err(ScheduleError::FieldCount { found, text });
        };
        let mut weekday = days(weekday, &WEEKDAY)?;
        // Sunday's second name.
        weekday.bits = (weekday.bits | (weekday.bits >> 7)) & 0x7f;
        Ok(Self {
            second: days(second, &SECOND)?.bits,
            minute: days(minute, &MINUTE)?.bits,
            hour: days(hour, &HOUR)?.bits,
            day: days(day, &DAY)?,
            month: days(month, &MONTH)?.bits,
            weekday,
        })
    }

    /// The first matching time after `after`, if there is one within five years.
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let next_whole_second = after.as_second() + 1;
        let first = Timestamp::from_second(next_whole_second).ok()?;
        let mut date = zone.to_datetime(first).date();
        let last_year = date.year() + YEARS_AHEAD;
        let mut from = first;
        loop {
            if date.year() > last_year {
                return None;
            }
            if self.matches_date(date) {
                let end = start_of(date.tomorrow().ok()?, zone)?;
                if let Some(found) = self.within(from, end, date, zone) {
                    return Some(found);
                }
            }
            date = self.next_date(date)?;
            from = start_of(date, zone)?;
        }
    }

    /// The next date that can match: whole months are passed over at once.
    fn next_date(&self, date: Date) -> Option<Date> {
        let tomorrow = date.tomorrow().ok()?;
        if self.has_month(tomorrow) {
            return Some(tomorrow);
        }
        tomorrow
            .first_of_month()
            .checked_add(Span::new().months(1))
            .ok()
    }

    /// The first match from `from` on and before `end`. Steps go by real time and look at the
    /// clock on the wall: an hour that repeats matches twice, one that is left out never.
    fn within(
        &self,
        from: Timestamp,
        end: Timestamp,
        date: Date,
        zone: &TimeZone,
    ) -> Option<Timestamp> {
        let mut at = from;
        while at < end {
            let local = zone.to_datetime(at);
            let time = local.time();
            if local.date() != date {
                // A day that begins or ends in the middle of a shift of the clock.
                at = plus(at, 3600 - seconds_into_hour(time))?;
                continue;
            }
            let step = if !has(self.hour, time.hour()) {
                3600 - seconds_into_hour(time)
            } else if !has(self.minute, time.minute()) {
                60 - i64::from(time.second())
            } else if !has(self.second, time.second()) {
                1
            } else {
                return Some(at);
            };
            at = plus(at, step)?;
        }
        None
    }

    fn has_month(&self, date: Date) -> bool {
        has(self.month, date.month())
    }

    fn matches_time(&self, time: Time) -> bool {
        has(self.hour, time.hour())
            && has(self.minute, time.minute())
            && has(self.second, time.second())
    }

    /// When either day field is a star, both must match; when both restrict, one is enough.
    fn matches_date(&self, date: Date) -> bool {
        let day = has(self.day.bits, date.day());
        let weekday = has(self.weekday.bits, date.weekday().to_sunday_zero_offset());
        let days = if self.day.star || self.weekday.star {
            day && weekday
        } else {
            day || weekday
        };
        days && self.has_month(date)
    }
}

impl Schedule {
    /// The first time after `after`, for a schedule of fields; `@every` counts from its start
    /// and not from the clock.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => after
                .checked_add(SignedDuration::try_from(*interval).ok()?)
                .ok(),
            Self::Fields { fields, zone } => fields.next(after, zone),
        }
    }

    /// Whether it fires at this second. `@every` counts from its start and never says so.
    pub fn fires_at(&self, time: Timestamp) -> bool {
        match self {
            Self::Every(_) => false,
            Self::Fields { fields, zone } => {
                let local = zone.to_datetime(time);
                fields.matches_date(local.date()) && fields.matches_time(local.time())
            }
        }
    }
}

fn start_of(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    // Where midnight does not exist, the day begins at the first moment after it.
    zone.to_ambiguous_zoned_datetime(date.to_datetime(Time::midnight()))
        .compatible()
        .ok()
        .map(|zoned| zoned.timestamp())
}

fn plus(at: Timestamp, seconds: i64) -> Option<Timestamp> {
    at.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn seconds_into_hour(time: Time) -> i64 {
    i64::from(time.minute()) * 60 + i64::from(time.second())
}

fn has(bits: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| bits & (1 << number) != 0)
}

/// A field: ranges separated by commas.
fn days(text: &str, bounds: &Bounds) -> Result<Days, ScheduleError> {
    let mut days = Days {
        bits: 0,
        star: false,
    };
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let range = range(part, bounds).map_err(|reason| ScheduleError::Field {
            field: bounds.name,
            reason,
        })?;
        days.bits |= range.bits;
        days.star |= range.star;
    }
    if days.bits == 0 {
        let reason = format!("{text:?} names no value");
        return Err(ScheduleError::Field {
            field: bounds.name,
            reason,
        });
    }
    Ok(days)
}

/// `*`, `?`, `N` or `N-M`, each with an optional `/step`.
fn range(part: &str, bounds: &Bounds) -> Result<Days, String> {
    let mut halves = part.split('/');
    let (range, step, more) = (
        halves.next().unwrap_or_default(),
        halves.next(),
        halves.next(),
    );
    if more.is_some() {
        return Err(format!("too many slashes: {part}"));
    }
    let mut ends = range.split('-');
    let (low, high, more) = (ends.next().unwrap_or_default(), ends.next(), ends.next());
    let is_star = low == "*" || low == "?";
    let (start, mut end) = if is_star {
        (bounds.min, bounds.max)
    } else {
        if more.is_some() {
            return Err(format!("too many hyphens: {part}"));
        }
        let start = number(low, bounds)?;
        (start, high.map_or(Ok(start), |high| number(high, bounds))?)
    };
    let step = match step {
        None => 1,
        Some(step) => {
            if !is_star && high.is_none() {
                end = bounds.max;
            }
            plain_number(step)?
        }
    };
    if start < bounds.min {
        return Err(format!(
            "beginning of range ({start}) below minimum ({}): {part}",
            bounds.min
        ));
    }
    if end > bounds.written_max {
        let max = bounds.written_max;
        return Err(format!(
            "end of range ({end}) above maximum ({max}): {part}"
        ));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {part}"
        ));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    let bits = (start..=end)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .fold(0u64, |bits, number| bits | (1 << number));
    Ok(Days {
        bits,
        star: is_star && step == 1,
    })
}

fn number(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let named = bounds
        .names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text));
    match named {
        Some(at) => Ok(bounds.min + u32::try_from(at).unwrap_or(0)),
        None => plain_number(text),
    }
}

fn plain_number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        // Nothing in a schedule is larger than this, and no shift may overflow.
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!("failed to parse number: {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(schedule: &str, after: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::get(zone).unwrap();
        let schedule = Schedule::parse_in(schedule, zone.clone()).unwrap();
        let after: Timestamp = zone.to_timestamp(after.parse().unwrap()).unwrap();
        let next = schedule.next(after)?;
        Some(zone.to_datetime(next).strftime("%F %T").to_string())
    }

    fn utc(schedule: &str, after: &str) -> String {
        next(schedule, after, "UTC").unwrap_or_else(|| "never".into())
    }

    fn error(schedule: &str) -> String {
        Schedule::parse_in(schedule, TimeZone::UTC)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn five_and_six_fields() {
        for (schedule, after, expected) in [
            ("* * * * *", "2026-01-01T00:00:30", "2026-01-01 00:01:00"),
            ("*/15 * * * *", "2026-01-01T00:14:59", "2026-01-01 00:15:00"),
            (
                "*/3 * * * * *",
                "2026-01-01T00:00:01",
                "2026-01-01 00:00:03",
            ),
            (
                "0 0 */6 ? * *",
                "2026-01-01T05:59:59",
                "2026-01-01 06:00:00",
            ),
            ("0 0 1 * *", "2026-01-02T00:00:00", "2026-02-01 00:00:00"),
            (
                "30 8 * * MON-fri",
                "2026-01-02T09:00:00",
                "2026-01-05 08:30:00",
            ),
            (
                "0 12 29 feb *",
                "2026-03-01T00:00:00",
                "2028-02-29 12:00:00",
            ),
            ("5/20 * * * *", "2026-01-01T00:26:00", "2026-01-01 00:45:00"),
            ("1,,2 * * * *", "2026-01-01T00:01:00", "2026-01-01 00:02:00"),
            (
                "59 59 23 31 12 *",
                "2026-01-01T00:00:00",
                "2026-12-31 23:59:59",
            ),
        ] {
            assert_eq!(utc(schedule, after), expected, "{schedule}");
        }
    }

    #[test]
    fn the_next_time_is_after_and_on_a_whole_second() {
        assert_eq!(
            utc("* * * * * *", "2026-01-01T00:00:00.5"),
            "2026-01-01 00:00:01"
        );
        assert_eq!(
            utc("* * * * * *", "2026-01-01T00:00:00"),
            "2026-01-01 00:00:01"
        );
        assert_eq!(
            utc("0 0 0 1 1 *", "2026-01-01T00:00:00"),
            "2027-01-01 00:00:00"
        );
    }

    #[test]
    fn descriptors_fire_on_the_calendar() {
        for (schedule, expected) in [
            ("@yearly", "2027-01-01 00:00:00"),
            ("@annually", "2027-01-01 00:00:00"),
            ("@monthly", "2026-08-01 00:00:00"),
            ("@weekly", "2026-07-19 00:00:00"),
            ("@daily", "2026-07-16 00:00:00"),
            ("@midnight", "2026-07-16 00:00:00"),
            ("@hourly", "2026-07-15 11:00:00"),
        ] {
            assert_eq!(utc(schedule, "2026-07-15T10:20:30"), expected, "{schedule}");
        }
    }

    #[test]
    fn every_is_an_interval_down_to_milliseconds() {
        for (text, millis) in [("@every 1h30m10s", 5_410_000), ("@every 250ms", 250)] {
            match Schedule::parse(text).unwrap() {
                Schedule::Every(interval) => assert_eq!(interval.as_millis(), millis),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The star rule: `*/2` is no star, so day and weekday are alternatives; with a star in
    /// either, both must match.
    #[test]
    fn two_restricted_day_fields_are_alternatives() {
        // 2026-07-01 is a Wednesday.
        assert_eq!(
            utc("0 0 13 * fri", "2026-07-01T00:00:00"),
            "2026-07-03 00:00:00"
        );
        assert_eq!(
            utc("0 0 13 * *", "2026-07-01T00:00:00"),
            "2026-07-13 00:00:00"
        );
        assert_eq!(
            utc("0 0 ? * fri", "2026-07-01T00:00:00"),
            "2026-07-03 00:00:00"
        );
        assert_eq!(
            utc("0 0 */2 * fri", "2026-07-01T00:00:00"),
            "2026-07-03 00:00:00"
        );
        assert_eq!(
            utc("0 0 */2 * fri", "2026-07-03T00:00:00"),
            "2026-07-05 00:00:00"
        );
        assert_eq!(
            utc("0 0 */1 * fri", "2026-07-01T00:00:00"),
            "2026-07-03 00:00:00"
        );
    }

    #[test]
    fn sunday_has_two_numbers() {
        for sunday in ["0", "7", "sun", "SUN"] {
            let schedule = format!("0 0 * * {sunday}");
            assert_eq!(
                utc(&schedule, "2026-07-01T00:00:00"),
                "2026-07-05 00:00:00",
                "{sunday}"
            );
        }
        assert_eq!(
            utc("0 0 * * 5-7", "2026-07-04T00:00:00"),
            "2026-07-05 00:00:00"
        );
        assert_eq!(
            utc("0 0 * * 6/1", "2026-07-04T00:00:00"),
            "2026-07-11 00:00:00"
        );
    }

    #[test]
    fn a_zone_may_stand_before_it() {
        for prefix in ["TZ", "CRON_TZ"] {
            let schedule = format!("{prefix}=Asia/Tokyo  0 9 * * *");
            assert_eq!(
                utc(&schedule, "2026-01-01T00:00:00"),
                "2026-01-02 00:00:00",
                "{prefix}"
            );
        }
        assert_eq!(
            error("TZ=Mars/Olympus 0 9 * * *"),
            ScheduleError::Location("Mars/Olympus".into()).to_string()
        );
    }

    /// New York, 2026: on 8 March 02:00 becomes 03:00, on 1 November 02:00 becomes 01:00.
    #[test]
    fn an_hour_that_is_left_out_is_skipped_and_one_that_repeats_counts_twice() {
        let new_york =
            |schedule: &str, after: &str| next(schedule, after, "America/New_York").unwrap();
        assert_eq!(
            new_york("30 2 * * *", "2026-03-07T12:00:00"),
            "2026-03-09 02:30:00"
        );
        assert_eq!(
            new_york("0 * * * *", "2026-03-08T01:00:00"),
            "2026-03-08 03:00:00"
        );
        let zone = TimeZone::get("America/New_York").unwrap();
        let schedule = Schedule::parse_in("30 1 * * *", zone.clone()).unwrap();
        let mut at = zone
            .to_timestamp("2026-10-31T12:00:00".parse().unwrap())
            .unwrap();
        let mut hours = Vec::new();
        for _ in 0..3 {
            at = schedule.next(at).unwrap();
            hours.push(at.to_string());
        }
        assert_eq!(
            hours,
            [
                "2026-11-01T05:30:00Z",
                "2026-11-01T06:30:00Z",
                "2026-11-02T06:30:00Z"
            ]
        );
    }

    /// São Paulo, until 2019, moved its clock at midnight: on 4 November 2018 the day began at
    /// one o'clock; on 17 February 2018 the last hour before midnight came twice.
    #[test]
    fn a_day_may_begin_at_one() {
        let sao_paulo = |schedule: &str, after: &str| next(schedule, after, "America/Sao_Paulo");
        assert_eq!(
            sao_paulo("0 0 * * *", "2018-11-03T12:00:00").unwrap(),
            "2018-11-05 00:00:00",
            "there was no midnight on the 4th"
        );
        assert_eq!(
            sao_paulo("0 1 * * *", "2018-11-03T12:00:00").unwrap(),
            "2018-11-04 01:00:00"
        );
        assert_eq!(
            sao_paulo("30 23 * * *", "2018-02-16T23:30:00").unwrap(),
            "2018-02-17 23:30:00"
        );
    }

    #[test]
    fn what_never_comes_is_never() {
        assert_eq!(utc("0 0 31 2 *", "2026-01-01T00:00:00"), "never");
        assert_eq!(utc("0 0 30 2 *", "2026-01-01T00:00:00"), "never");
        assert_eq!(
            utc("0 0 29 2 *", "2096-03-01T00:00:00"),
            "never",
            "2100 is no leap year"
        );
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (schedule, expected) in [
            ("* * * *", "expected 5 to 6 fields, found 4"),
            ("* * * * * * *", "expected 5 to 6 fields, found 7"),
            ("60 * * * *", "minute: end of range (60) above maximum (59)"),
            (
                "* * 0 * *",
                "day of month: beginning of range (0) below minimum (1)",
            ),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1)",
            ),
            ("*/0 * * * *", "step of range should be a positive number"),
            ("1-2-3 * * * *", "too many hyphens"),
            ("1/2/3 * * * *", "too many slashes"),
            ("x * * * *", "failed to parse number"),
            ("-1 * * * *", "failed to parse number"),
            ("1--2 * * * *", "too many hyphens"),
            ("*/-2 * * * *", "negative number"),
            ("* * * * 8", "above maximum (7)"),
            ("* * L * *", "failed to parse number"),
            ("99999999999 * * * *", "above maximum"),
            (", * * * *", "names no value"),
            ("@fortnightly", "unrecognized descriptor: @fortnightly"),
            ("@Daily", "unrecognized descriptor: @Daily"),
            ("@every", "unrecognized descriptor"),
            ("@every soon", "failed to parse duration soon"),
            ("@every 0s", "must be more than zero"),
            ("@every -5s", "must be more than zero"),
            ("", "found 0"),
        ] {
            let text = error(schedule);
            assert!(text.contains(expected), "{schedule}: {text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9*?/,@a-zA-Z= -]{0,40}") {
            let _ = Schedule::parse_in(&text, TimeZone::UTC);
        }

        /// Against the plainest way to find the next time: look at every second of two days.
        #[test]
        fn the_search_finds_what_a_walk_finds(
            minute in prop_oneof![Just("*"), Just("*/7"), Just("13"), Just("0,59"), Just("20-25/2")],
            hour in prop_oneof![Just("*"), Just("2"), Just("1-3"), Just("*/5"), Just("23")],
            weekday in prop_oneof![Just("*"), Just("sun"), Just("1-5"), Just("?")],
            start in 0i64..1_000_000,
        ) {
            let zone = TimeZone::get("America/New_York").unwrap();
            let text = format!("0 {minute} {hour} * * {weekday}");
            let schedule = Schedule::parse_in(&text, zone).unwrap();
            // Around both shifts of 2026.
            let base = if start % 2 == 0 { 1_772_800_000 } else { 1_793_400_000 };
            let after = Timestamp::from_second(base + start % 172_800).unwrap();
            let walked = (1..864_000 / 60 * 60).step_by(1).take(200_000).find_map(|ahead| {
                let at = plus(after, ahead)?;
                schedule.fires_at(at).then_some(at)
            });
            let found = schedule.next(after);
            match walked {
                Some(walked) => prop_assert_eq!(found, Some(walked)),
                None => prop_assert!(found.is_none_or(|found| found > plus(after, 200_000).unwrap())),
            }
        }
    }
}
