//! Other values in request metadata (R6, R7).

use crate::Metadata;
use crate::settings::parse_bool;

/// R6: `priority`, exact case, clamped to 0…255.
///
/// # Errors
/// When it is not an integer.
pub fn priority(metadata: &Metadata) -> Result<Option<u8>, String> {
    let Some(value) = metadata.get("priority").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let number: i64 = value
        .parse()
        .map_err(|_| format!("priority value must be a valid integer: actual is '{value}'"))?;
    Ok(Some(u8::try_from(number.clamp(0, 255)).unwrap_or(u8::MAX)))
}

/// R7: a boolean as Go's `ParseBool` reads it; absent or empty is `None`.
///
/// # Errors
/// When it is another word.
pub fn bool_param(metadata: &Metadata, key: &str) -> Result<Option<bool>, String> {
    param(metadata, key, "bool", parse_bool)
}

/// R7: an integer; absent or empty is `None`.
///
/// # Errors
/// When it is none, or out of range.
pub fn int_param(metadata: &Metadata, key: &str) -> Result<Option<i64>, String> {
    param(metadata, key, "int", |value| value.parse().ok())
}

fn param<T>(
    metadata: &Metadata,
    key: &str,
    kind: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, String> {
    match metadata.get(key).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => parse(value).map(Some).ok_or_else(|| {
            format!("error parsing metadata `{key}` with value `{value}` as {kind}")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_is_clamped() {
        let of = |value: &str| priority(&Metadata::new().with("priority", value));
        assert_eq!(of("7"), Ok(Some(7)));
        assert_eq!(of("-3"), Ok(Some(0)));
        assert_eq!(of("900"), Ok(Some(255)));
        assert_eq!(
            of("x").unwrap_err(),
            "priority value must be a valid integer: actual is 'x'"
        );
        assert_eq!(priority(&Metadata::new().with("Priority", "7")), Ok(None));
    }

    #[test]
    fn booleans_and_integers_say_what_they_could_not_read() {
        let metadata = Metadata::new()
            .with("flag", "yes")
            .with("on", "T")
            .with("n", "12");
        assert_eq!(bool_param(&metadata, "on"), Ok(Some(true)));
        assert_eq!(
            bool_param(&metadata, "flag").unwrap_err(),
            "error parsing metadata `flag` with value `yes` as bool"
        );
        assert_eq!(int_param(&metadata, "n"), Ok(Some(12)));
        assert_eq!(int_param(&metadata, "none"), Ok(None));
        assert!(int_param(&metadata, "flag").is_err());
    }
}
