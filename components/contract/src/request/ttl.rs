//! Time to live (R5).

use std::time::Duration;

use crate::Metadata;
use crate::settings::GoDuration;

/// A time to live that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// Neither a duration nor an integer.
    #[error("ttl value must be a valid integer: actual is '{0}'")]
    NotANumber(String),
    /// Zero or less.
    #[error("ttl value must be higher than zero: actual is '{0}'")]
    NotPositive(i64),
}

/// The time to live of a request: `ttl`, else `ttlInSeconds`, both in any case, empty meaning
/// unset. A Go duration (negative counts as zero), else whole seconds above zero.
///
/// # Errors
/// When there is a value and it is neither.
pub fn ttl(metadata: &Metadata) -> Result<Option<Duration>, TtlError> {
    let value = ["ttl", "ttlInSeconds"]
        .iter()
        .find_map(|key| metadata.get_any_case(key).filter(|value| !value.is_empty()));
    let Some(value) = value else { return Ok(None) };
    if let Ok(duration) = GoDuration::parse(value)
        && value != "0"
    {
        return Ok(Some(duration.positive().unwrap_or_default()));
    }
    let seconds = match value.parse::<i64>() {
        Ok(seconds) => seconds,
        // Too many seconds are as many as there can be.
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => i64::MAX,
        Err(_) => return Err(TtlError::NotANumber(value.to_owned())),
    };
    match u64::try_from(seconds) {
        Ok(seconds @ 1..) => Ok(Some(Duration::from_secs(
            seconds.min(i64::MAX as u64 / 1_000_000_000),
        ))),
        _ => Err(TtlError::NotPositive(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &'static str, value: &str) -> Result<Option<Duration>, TtlError> {
        ttl(&Metadata::new().with(key, value))
    }

    #[test]
    fn both_keys_take_both_forms() {
        for key in ["ttl", "TTL", "ttlInSeconds", "ttlinseconds"] {
            assert_eq!(of(key, "60"), Ok(Some(Duration::from_secs(60))), "{key}");
            assert_eq!(of(key, "1m30s"), Ok(Some(Duration::from_secs(90))), "{key}");
            assert_eq!(of(key, ""), Ok(None), "{key}");
        }
        assert_eq!(ttl(&Metadata::new()), Ok(None));
        let both = Metadata::new().with("ttlInSeconds", "5").with("ttl", "7");
        assert_eq!(ttl(&both), Ok(Some(Duration::from_secs(7))));
    }

    #[test]
    fn a_wrong_value_says_what_it_was() {
        assert_eq!(
            of("ttl", "soon").unwrap_err().to_string(),
            "ttl value must be a valid integer: actual is 'soon'"
        );
        assert_eq!(
            of("ttl", "-1").unwrap_err().to_string(),
            "ttl value must be higher than zero: actual is '-1'"
        );
        assert_eq!(of("ttl", "0"), Err(TtlError::NotPositive(0)));
        assert_eq!(of("ttl", "-5s"), Ok(Some(Duration::ZERO)));
        assert!(
            of("ttl", "99999999999999999999")
                .unwrap()
                .unwrap()
                .as_secs()
                > 9_000_000_000
        );
    }
}
