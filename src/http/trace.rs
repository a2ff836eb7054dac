//! Trace context and baggage of a request (runtime §1.1.3).

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use bindery_contract::Metadata;

use crate::trace::{fresh_parent, is_trace_parent};

static PARENT: HeaderName = HeaderName::from_static("traceparent");
static STATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The W3C context that a call carries on: the caller's own, or a fresh, unsampled one.
pub(super) struct TraceContext {
    parent: String,
    state: Option<String>,
    baggage: Option<String>,
}

impl TraceContext {
    /// From the headers of a request.
    ///
    /// # Errors
    /// The plain-text answer for baggage that is not W3C baggage.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let parent = text(&PARENT).filter(|parent| is_trace_parent(parent));
        // A state belongs to its parent and is nothing without it.
        let state = parent.and(text(&STATE)).filter(|state| !state.is_empty());
        Ok(Self {
            parent: parent.map_or_else(fresh_parent, str::to_owned),
            state: state.map(str::to_owned),
            baggage: baggage(headers)?,
        })
    }

    /// Puts it into the headers of an answer.
    pub(super) fn echo(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            (&PARENT, Some(&self.parent)),
            (&BAGGAGE, self.baggage.as_ref()),
        ] {
            let value = value.map(|value| HeaderValue::from_str(value));
            if let Some(Ok(value)) = value {
                headers.insert(name.clone(), value);
            }
        }
    }

    /// Puts it into a call's metadata, over whatever the caller put there.
    pub(super) fn inject(&self, metadata: &mut Metadata) {
        metadata.insert("traceparent", self.parent.clone());
        if let Some(state) = &self.state {
            metadata.insert("tracestate", state.clone());
        }
        if let Some(baggage) = &self.baggage {
            metadata.insert("baggage", baggage.clone());
        }
    }
}

/// All `baggage` headers as one, checked.
fn baggage(headers: &HeaderMap) -> Result<Option<String>, String> {
    let mut joined = String::new();
    for value in headers.get_all(&BAGGAGE) {
        let value = value
            .to_str()
            .map_err(|_| String::from("invalid baggage header: not ASCII text\n"))?;
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(value);
    }
    if joined.is_empty() {
        return Ok(None);
    }
    check_baggage(&joined).map_err(|problem| format!("invalid baggage header: {problem}\n"))?;
    Ok(Some(joined))
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
