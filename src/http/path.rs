//! Which endpoint a request is for.

use actix_web::http::Method;
use bindery_actors::Operation;

use crate::resources::Access;

/// An endpoint of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `POST|PUT /v1.0/bindings/{name}`, the name still encoded.
    Binding(&'a str),
    /// `GET /v1.0/healthz`.
    Healthz,
    /// `GET /v1.0/healthz/outbound`.
    HealthzOutbound,
    /// `GET /v1.0/metadata`.
    Metadata,
    /// `PUT /v1.0/metadata/{key}`, the key still encoded.
    SetMetadata(&'a str),
    /// `POST /v1.0/shutdown`.
    Shutdown,
    /// `GET /v1.0/secrets/{store}/{key}`, both still encoded.
    Secret(&'a str, &'a str),
    /// `GET /v1.0/secrets/{store}/bulk`, the name still encoded.
    Secrets(&'a str),
    /// `GET /v1.0-alpha1/bindings[/{name}]`, the name still encoded.
    Status(Option<&'a str>),
    /// `POST /v1.0-alpha1/bindings/{name}/pause|resume|restart`, the name still encoded.
    Operate(&'a str, Operation),
    /// Everything else.
    Unknown,
}

impl<'a> Route<'a> {
    /// The endpoint of a method and an encoded path. Doubled slashes and dot segments are
    /// cleaned away, one slash at the end is tolerated (runtime §6.1).
    pub(super) fn of(method: &Method, path: &'a str) -> Self {
        // As many as an endpoint has at most; what is deeper is counted only.
        let (mut segments, mut depth) = ([""; 4], 0_usize);
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => depth = depth.saturating_sub(1),
                segment => {
                    if let Some(place) = segments.get_mut(depth) {
                        *place = segment;
                    }
                    depth += 1;
                }
            }
        }
        let (get, put, post) = (
            method == Method::GET,
            method == Method::PUT,
            method == Method::POST,
        );
        match segments.get(..depth).unwrap_or_default() {
            ["v1.0", "bindings", name] if post || put => Self::Binding(name),
            ["v1.0", "healthz"] if get => Self::Healthz,
            ["v1.0", "healthz", "outbound"] if get => Self::HealthzOutbound,
            ["v1.0", "metadata"] if get => Self::Metadata,
            ["v1.0", "metadata", key] if put => Self::SetMetadata(key),
            ["v1.0", "shutdown"] if post => Self::Shutdown,
            ["v1.0", "secrets", store, "bulk"] if get => Self::Secrets(store),
            ["v1.0", "secrets", store, key] if get => Self::Secret(store, key),
            ["v1.0-alpha1", "bindings"] if get => Self::Status(None),
            ["v1.0-alpha1", "bindings", name] if get => Self::Status(Some(name)),
            ["v1.0-alpha1", "bindings", name, operation] if post => match *operation {
                "pause" => Self::Operate(name, Operation::Pause),
                "resume" => Self::Operate(name, Operation::Resume),
                "restart" => Self::Operate(name, Operation::Restart),
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// The group, its version and the path by which `spec.api` of a Configuration names it;
    /// nothing for what is always there (runtime §6.5).
    fn names(&self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Binding(_) => Some(("bindings", "v1", "v1.0/bindings/{name}")),
            Self::Metadata => Some(("metadata", "v1", "v1.0/metadata")),
            Self::SetMetadata(_) => Some(("metadata", "v1", "v1.0/metadata/{key}")),
            Self::Shutdown => Some(("shutdown", "v1", "v1.0/shutdown")),
            Self::Secret(..) => Some(("secrets", "v1", "v1.0/secrets/{secretStoreName}/{key}")),
            Self::Secrets(_) => Some(("secrets", "v1", "v1.0/secrets/{secretStoreName}/bulk")),
            Self::Status(_) | Self::Operate(..) => Some((
                "bindings-control",
                "v1alpha1",
                "v1.0-alpha1/bindings/{name}",
            )),
            Self::Healthz | Self::HealthzOutbound | Self::Unknown => None,
        }
    }

    /// Its name, as the log of the API has it where paths are not to be told.
    pub(super) fn endpoint(&self) -> &'static str {
        match self {
            Self::Binding(_) => "InvokeBinding",
            Self::Healthz => "Healthz",
            Self::HealthzOutbound => "HealthzOutbound",
            Self::Metadata => "GetMetadata",
            Self::SetMetadata(_) => "SetMetadata",
            Self::Shutdown => "Shutdown",
            Self::Secret(..) => "GetSecret",
            Self::Secrets(_) => "GetBulkSecret",
            Self::Status(_) => "GetBindings",
            Self::Operate(..) => "OperateBinding",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether it exists by these rules.
    pub(super) fn is_open(&self, access: &Access) -> bool {
        self.names()
            .is_none_or(|(group, version, path)| access.http(group, version, path))
    }

    /// Whether the endpoint answers without a token (runtime §6.4).
    pub(super) fn needs_no_token(&self) -> bool {
        matches!(self, Self::Healthz | Self::HealthzOutbound)
    }
}

/// Decodes a path parameter the way the reference does: as a query is, so that `+` is a space.
///
/// # Errors
/// The plain-text answer for an escape that is none.
pub(super) fn decode(parameter: &'static str, encoded: &str) -> Result<String, String> {
    if !encoded.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(encoded.to_owned());
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let digits = after
                    .get(..2)
                    .and_then(|digits| std::str::from_utf8(digits).ok());
                let is_hex = |text: &&str| text.bytes().all(|digit| digit.is_ascii_hexdigit());
                let digits = digits.filter(is_hex);
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(byte) => {
                        decoded.push(byte);
                        rest = &after[2..];
                    }
                    None => {
                        let at = encoded.len() - after.len() - 1;
                        let end = (at + 3).min(encoded.len());
                        let escape = String::from_utf8_lossy(&encoded.as_bytes()[at..end]);
                        return Err(format!(
                            "failed to unescape request parameter {parameter:?}. Error: invalid \
                             URL escape {escape:?}\n"
                        ));
                    }
                }
            }
            byte => decoded.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_before_it_is_matched() {
        let of = |path: &'static str| Route::of(&Method::POST, path);
        let orders = Route::Binding("orders");
        for path in [
            "/v1.0/bindings/orders",
            "/v1.0/bindings/orders/",
            "//v1.0//bindings/./orders",
            "/v1.0/x/../bindings/orders",
        ] {
            assert_eq!(of(path), orders, "{path}");
        }
        assert_eq!(of("/v1.0/bindings/a%2Fb"), Route::Binding("a%2Fb"));
        assert_eq!(of("/v1.0/bindings/a/b/c/d/../../../../orders"), orders);
        for path in [
            "/v1.0/bindings",
            "/v1.0/bindings/a/b",
            "/v1.0/bindings/a/b/c/d",
            "/V1.0/bindings/a",
            "/",
            "/v1.0/healthz",
        ] {
            assert_eq!(of(path), Route::Unknown, "{path}");
        }
        assert_eq!(Route::of(&Method::PUT, "/v1.0/bindings/orders"), orders);
        assert_eq!(
            Route::of(&Method::GET, "/v1.0/bindings/orders"),
            Route::Unknown
        );
    }

    #[test]
    fn a_name_is_decoded_as_a_query_is() {
        assert_eq!(decode("name", "a+b%2Fc%C3%A9"), Ok("a b/cé".into()));
        for (encoded, shown) in [("50%", "%"), ("%zz", "%zz"), ("a%1", "%1"), ("%+1", "%+1")] {
            let error = decode("name", encoded).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "failed to unescape request parameter \"name\". Error: invalid URL escape \
                     {shown:?}\n"
                )
            );
        }
    }
}
