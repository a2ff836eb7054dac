//! Trace contexts and baggage (runtime §1.1.3): what is one, a fresh one, and how gRPC writes them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bindery_contract::Metadata;
use http::header::{HeaderMap, HeaderValue};

/// The W3C context that a call carries on: the caller's own, or a fresh, unsampled one.
#[derive(Clone, Debug)]
pub(crate) struct TraceContext {
    /// Empty where traces are switched off.
    pub(crate) parent: String,
    pub(crate) state: Option<String>,
    pub(crate) baggage: Option<String>,
}

impl TraceContext {
    /// From what the caller sent. A parent that is none counts as not sent; a state belongs to
    /// its parent and is nothing without it.
    pub(crate) fn new(parent: Option<&str>, state: Option<&str>, baggage: Option<String>) -> Self {
        let parent = parent.filter(|parent| is_trace_parent(parent));
        let state = parent.and(state).filter(|state| !state.is_empty());
        Self {
            parent: parent.map_or_else(fresh_parent, str::to_owned),
            state: state.map(str::to_owned),
            baggage,
        }
    }

    /// The place of a span of our own.
    pub(crate) fn of_span(parent: String, state: Option<&str>, baggage: Option<String>) -> Self {
        Self {
            parent,
            state: state.map(str::to_owned),
            baggage,
        }
    }

    /// No trace at all, where it is switched off.
    pub(crate) fn none(baggage: Option<String>) -> Self {
        Self::of_span(String::new(), None, baggage)
    }

    /// Puts it into a call's metadata, over whatever the caller put there.
    pub(crate) fn inject(&self, metadata: &mut Metadata) {
        if !self.parent.is_empty() {
            metadata.insert("traceparent", self.parent.clone());
        }
        if let Some(state) = &self.state {
            metadata.insert("tracestate", state.clone());
        }
        self.inject_baggage(metadata);
    }

    /// Puts it into the headers of a request, over whatever is there.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            ("traceparent", Some(&self.parent)),
            ("tracestate", self.state.as_ref()),
            ("baggage", self.baggage.as_ref()),
        ] {
            headers.remove(name);
            if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
    }

    /// Puts only the baggage there.
    pub(crate) fn inject_baggage(&self, metadata: &mut Metadata) {
        if let Some(baggage) = &self.baggage {
            metadata.insert("baggage", baggage.clone());
        }
    }
}

/// All lines of a `baggage` header as one, checked; `None` without any.
///
/// # Errors
/// What is wrong, beginning as the reference begins it.
pub(crate) fn joined_baggage<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<String>, String> {
    let mut joined = String::new();
    for line in lines {
        let line = std::str::from_utf8(line)
            .ok()
            .filter(|line| line.is_ascii());
        let line = line.ok_or("invalid baggage header: not ASCII text")?;
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(line);
    }
    if joined.is_empty() {
        return Ok(None);
    }
    check_baggage(&joined).map_err(|problem| format!("invalid baggage header: {problem}"))?;
    Ok(Some(joined))
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zero.
pub(crate) fn is_trace_parent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    };
    let non_zero = |part: &str| part.bytes().any(|c| c != b'0');
    match parts.as_slice() {
        [version, trace, span, flags, rest @ ..] => {
            hex(version, 2)
                && *version != "ff"
                && (rest.is_empty() || *version != "00")
                && hex(trace, 32)
                && non_zero(trace)
                && hex(span, 16)
                && non_zero(span)
                && hex(flags, 2)
        }
        _ => false,
    }
}

/// A valid context of its own that nobody samples: better than the all-zero one that the
/// reference passes on, which W3C calls invalid.
pub(crate) fn fresh_parent() -> String {
    // Over all numbers, since a range costs a division; the chance of zero is none to speak of,
    // and one takes its place.
    let (trace, span) = (fastrand::u128(..).max(1), fastrand::u64(..).max(1));
    write_parent(trace.to_be_bytes(), span.to_be_bytes(), 0)
}

/// A `traceparent` of these parts.
pub(crate) fn write_parent(trace: [u8; 16], span: [u8; 8], flags: u8) -> String {
    let mut parent = *b"00-................................-................-..";
    write_hex(&trace, &mut parent[3..35]);
    write_hex(&span, &mut parent[36..52]);
    write_hex(&[flags], &mut parent[53..]);
    // All of it is ASCII.
    std::str::from_utf8(&parent).unwrap_or_default().to_owned()
}

/// By hand, because nearly every request and every event needs one, and formatting takes longer
/// than all the rest of it.
fn write_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, digits) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// A context as `grpc-trace-bin` has it: version 0, then numbered fields.
pub(crate) fn to_binary(parent: &str) -> Option<[u8; 29]> {
    let mut parts = parent.split('-').skip(1);
    let mut next = |length: usize| parts.next().filter(|part| part.len() == length);
    let trace = u128::from_str_radix(next(32)?, 16).ok()?;
    let span = u64::from_str_radix(next(16)?, 16).ok()?;
    let flags = u8::from_str_radix(next(2)?, 16).ok()?;
    let mut binary = [0; 29];
    binary[2..18].copy_from_slice(&trace.to_be_bytes());
    binary[18] = 1;
    binary[19..27].copy_from_slice(&span.to_be_bytes());
    binary[27] = 2;
    binary[28] = flags;
    Some(binary)
}

/// The parent that a `grpc-trace-bin` stands for, as headers have it: with or without padding.
pub(crate) fn from_base64(value: &[u8]) -> Option<String> {
    let binary = STANDARD_NO_PAD.decode(value);
    from_binary(&binary.or_else(|_| STANDARD.decode(value)).ok()?)
}

/// The parent of an event: what its source says, in either spelling.
pub(crate) fn parent_of_event(metadata: &Metadata) -> Option<String> {
    let binary = metadata.get_any_case("grpc-trace-bin");
    let binary = binary.and_then(|value| from_base64(value.as_bytes()));
    binary.or_else(|| {
        let parent = metadata.get_any_case("traceparent");
        parent
            .filter(|parent| is_trace_parent(parent))
            .map(str::to_owned)
    })
}

/// The parent that a `grpc-trace-bin` stands for.
pub(crate) fn from_binary(binary: &[u8]) -> Option<String> {
    let binary: &[u8; 29] = binary.try_into().ok()?;
    if [binary[0], binary[1], binary[18], binary[27]] != [0, 0, 1, 2] {
        return None;
    }
    let trace = u128::from_be_bytes(binary[2..18].try_into().ok()?);
    let span = u64::from_be_bytes(binary[19..27].try_into().ok()?);
    let parent = format!("00-{trace:032x}-{span:016x}-{:02x}", binary[28]);
    is_trace_parent(&parent).then_some(parent)
}

/// W3C baggage: at most 180 members and 8192 bytes, each member `key=value` with properties
/// after semicolons.
fn check_baggage(text: &str) -> Result<(), String> {
    if text.len() > 8192 {
        return Err("longer than 8192 bytes".into());
    }
    let members: Vec<&str> = text.split(',').collect();
    if members.len() > 180 {
        return Err("more than 180 members".into());
    }
    for member in members {
        let (pair, properties) = member.split_once(';').unwrap_or((member, ""));
        let Some((key, value)) = pair.split_once('=') else {
            return Err(format!("{member:?} is not key=value"));
        };
        if !is_token(key.trim()) || !is_baggage_value(value.trim()) {
            return Err(format!(
                "{member:?} has a key or a value with forbidden characters"
            ));
        }
        for property in properties
            .split(';')
            .filter(|property| !property.trim().is_empty())
        {
            let (key, value) = property.split_once('=').unwrap_or((property, ""));
            if !is_token(key.trim()) || !is_baggage_value(value.trim()) {
                return Err(format!("{property:?} is not a property"));
            }
        }
    }
    Ok(())
}

fn is_token(text: &str) -> bool {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !text.is_empty() && text.bytes().all(token)
}

fn is_baggage_value(text: &str) -> bool {
    text.bytes()
        .all(|c| matches!(c, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_parent_is_carried_on() {
        assert!(is_trace_parent(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        assert!(is_trace_parent(
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"
        ));
        for text in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_trace_parent(text), "{text}");
        }
        let fresh = fresh_parent();
        assert!(is_trace_parent(&fresh) && fresh.ends_with("-00"), "{fresh}");
    }

    #[test]
    fn a_parent_survives_its_binary_form() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let binary = to_binary(parent).unwrap();
        assert_eq!(from_binary(&binary).as_deref(), Some(parent));
        assert_eq!(from_binary(&binary[..28]), None);
        assert_eq!(from_binary(&[0; 29]), None);
        let nobody = "00-00000000000000000000000000000000-0000000000000000-00";
        assert_eq!(
            to_binary(nobody).and_then(|binary| from_binary(&binary)),
            None
        );
        assert_eq!(to_binary("00-4bf9-00f0-01"), None);
    }

    #[test]
    fn baggage_is_checked() {
        for good in ["a=1", "a=1,b=2;p;q=3", "key = value , k2=%20x", "a="] {
            assert_eq!(check_baggage(good), Ok(()), "{good}");
        }
        for bad in ["a", "=1", "a b=1", "a=1,,b=2", "a=\"x\"", "a=1;b c"] {
            assert!(check_baggage(bad).is_err(), "{bad}");
        }
        assert!(check_baggage(&format!("a={}", "x".repeat(8192))).is_err());
    }
}
