//! Days, moments, times of day and intervals in JSON.

use bytes::Buf;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

use super::number::display;
use super::{Outcome, ValueError};

/// Where the database counts from: the first moment of 2000.
const EPOCH: DateTime = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);

/// Writes a day, in days since 2000, as its midnight in UTC.
pub(super) fn date(days: i32, out: &mut String) -> Outcome {
    match days {
        i32::MAX => display(1, out),
        i32::MIN => display(-1, out),
        _ => {
            let midnight = Span::new()
                .try_days(days)
                .and_then(|days| EPOCH.checked_add(days));
            rfc3339(midnight.ok(), Offset::UTC, out)
        }
    }
}

/// Writes a moment without a zone, in microseconds since 2000, as if it were in UTC.
pub(super) fn timestamp(micros: i64, out: &mut String) -> Outcome {
    match micros {
        i64::MAX => display(1, out),
        i64::MIN => display(-1, out),
        _ => rfc3339(since_2000(micros), Offset::UTC, out),
    }
}

/// Writes a moment, in microseconds since 2000 in UTC, as clocks in `zone` show it.
pub(super) fn timestamptz(micros: i64, zone: &TimeZone, out: &mut String) -> Outcome {
    if matches!(micros, i64::MAX | i64::MIN) {
        return timestamp(micros, out);
    }
    let moment = since_2000(micros).and_then(|utc| Offset::UTC.to_timestamp(utc).ok());
    let offset = moment.map_or(Offset::UTC, |moment: Timestamp| zone.to_offset(moment));
    rfc3339(moment.map(|moment| offset.to_datetime(moment)), offset, out)
}

fn since_2000(micros: i64) -> Option<DateTime> {
    EPOCH.checked_add(SignedDuration::from_micros(micros)).ok()
}

/// `"2020-09-24T04:13:46.5+02:00"`: no zeros at the end of the fraction, `Z` for UTC.
fn rfc3339(moment: Option<DateTime>, offset: Offset, out: &mut String) -> Outcome {
    let moment = moment
        .filter(|moment| moment.year() >= 0)
        .ok_or_else(|| ValueError::NoWord("a time whose year is outside of 0 to 9999".into()))?;
    let minutes = offset.seconds() / 60;
    if minutes == 0 {
        return display(format_args!("\"{moment}Z\""), out);
    }
    let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
    let (hours, minutes) = (minutes / 60, minutes % 60);
    display(
        format_args!("\"{moment}{sign}{hours:02}:{minutes:02}\""),
        out,
    )
}

/// Writes a time of day, in microseconds since midnight.
pub(super) fn time(micros: i64, out: &mut String) -> Outcome {
    display(
        format_args!(r#"{{"Microseconds":{micros},"Valid":true}}"#),
        out,
    )
}

/// Writes an interval, whose three parts cannot be turned into one another.
pub(super) fn interval(raw: &mut &[u8], out: &mut String) -> Outcome {
    let (micros, days, months) = (raw.try_get_i64()?, raw.try_get_i32()?, raw.try_get_i32()?);
    display(
        format_args!(r#"{{"Microseconds":{micros},"Days":{days},"Months":{months},"Valid":true}}"#),
        out,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[track_caller]
    fn writes(write: impl Fn(&mut String) -> Outcome, expected: &str) {
        let mut out = String::new();
        write(&mut out).unwrap();
        assert_eq!(out, expected);
    }

    #[test]
    fn days_and_moments_are_written_in_utc() {
        writes(|out| date(7572, out), "\"2020-09-24T00:00:00Z\"");
        writes(|out| timestamp(0, out), "\"2000-01-01T00:00:00Z\"");
        writes(|out| timestamp(-500_000, out), "\"1999-12-31T23:59:59.5Z\"");
        writes(
            |out| timestamptz(123_400, &TimeZone::UTC, out),
            "\"2000-01-01T00:00:00.1234Z\"",
        );
    }

    #[test]
    fn a_moment_is_shown_as_clocks_in_the_zone_show_it() {
        let half_past = TimeZone::fixed(Offset::from_seconds(-(3 * 60 + 30) * 60).unwrap());
        writes(
            |out| timestamptz(0, &half_past, out),
            "\"1999-12-31T20:30:00-03:30\"",
        );
        let east = TimeZone::fixed(Offset::from_hours(2).unwrap());
        writes(
            |out| timestamptz(HOUR, &east, out),
            "\"2000-01-01T03:00:00+02:00\"",
        );
    }

    #[test]
    fn infinity_is_a_number() {
        writes(|out| date(i32::MAX, out), "1");
        writes(|out| timestamp(i64::MIN, out), "-1");
        writes(|out| timestamptz(i64::MAX, &TimeZone::UTC, out), "1");
    }

    #[test]
    fn a_year_that_rfc_3339_cannot_write_is_an_error() {
        for days in [4_000_000, -800_000, i32::MAX - 1] {
            let error = date(days, &mut String::new()).unwrap_err().to_string();
            assert!(error.contains("year is outside of 0 to 9999"), "{error}");
        }
        for micros in [i64::MAX - 1, i64::MIN + 1] {
            assert!(timestamp(micros, &mut String::new()).is_err());
            assert!(timestamptz(micros, &TimeZone::UTC, &mut String::new()).is_err());
        }
    }
}
