//! Where spans go, and how many of them: from a Configuration and from `OTEL_…` (runtime §6.7).

use std::time::Duration;

use bindery_contract::settings::GoDuration;
use opentelemetry::KeyValue;

use crate::resources::{Env, TracingSpec};

/// What a rate is that is no number.
const SCARCE: f64 = 0.0001;
/// How long sending a batch may take, unless something else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What there is to do with traces.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(super) mode: Mode,
    /// How many of the traces that begin here are told.
    pub(super) rate: f64,
    pub(super) stdout: bool,
    pub(super) zipkin: Option<String>,
    pub(super) otlp: Option<Otlp>,
    /// Who tells it.
    pub(super) resource: Vec<KeyValue>,
}

/// What is done with the trace of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing at all.
    Off,
    /// It is passed on.
    Passive,
    /// It is passed on with a span of our own.
    Active,
}

/// A collector of OpenTelemetry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Otlp {
    /// With its scheme.
    pub(super) endpoint: String,
    pub(super) over_http: bool,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
}

impl Settings {
    /// From all that says something of it.
    pub(crate) fn new(spec: &TracingSpec, env: &Env, app_id: &str) -> Self {
        let mut rate = spec.sampling_rate.clone().filter(|rate| !rate.is_empty());
        let mut otlp = configured(spec);
        if otlp.is_none() {
            otlp = from_environment(env);
            if otlp.is_some() {
                rate.get_or_insert_with(|| "1".into());
            }
        }
        let address = &spec.zipkin.endpoint_address;
        let zipkin = (!address.is_empty()).then(|| address.clone());
        let tells = otlp.is_some() || zipkin.is_some() || spec.stdout;
        let number = rate.as_ref().and_then(|rate| rate.trim().parse().ok());
        let number = number.filter(|rate: &f64| rate.is_finite());
        Self {
            mode: match (number, tells || rate.is_some()) {
                (Some(0.0), _) => Mode::Off,
                (_, true) => Mode::Active,
                (_, false) => Mode::Passive,
            },
            rate: number.unwrap_or(SCARCE),
            stdout: spec.stdout,
            zipkin,
            otlp,
            resource: resource(env, app_id),
        }
    }

    /// As the reference says in its log how many are told.
    pub(super) fn sampler(&self) -> String {
        let root = if self.rate >= 1.0 {
            "AlwaysOnSampler".to_owned()
        } else {
            format!("TraceIDRatioBased{{{}}}", self.rate.max(0.0))
        };
        format!(
            "ParentBased{{root:{root},remoteParentSampled:AlwaysOnSampler,\
             remoteParentNotSampled:AlwaysOffSampler,localParentSampled:AlwaysOnSampler,\
             localParentNotSampled:AlwaysOffSampler}}"
        )
    }
}

fn configured(spec: &TracingSpec) -> Option<Otlp> {
    let otel = &spec.otel;
    if otel.endpoint_address.is_empty() {
        return None;
    }
    let over_http = otel.protocol.to_ascii_lowercase().starts_with("http");
    let timeout = otel.timeout.as_deref().and_then(|text| {
        let millis = || text.parse().ok().map(Duration::from_millis);
        millis().or_else(|| GoDuration::parse(text).ok()?.positive())
    });
    Some(Otlp {
        endpoint: endpoint(
            &otel.endpoint_address,
            otel.is_secure.unwrap_or(true),
            over_http,
        ),
        over_http,
        headers: otel
            .headers
            .iter()
            .filter_map(|pair| header(pair))
            .collect(),
        timeout: timeout.unwrap_or(TIMEOUT),
    })
}

/// What is said of traces only wins over what is said of everything.
fn from_environment(env: &Env) -> Option<Otlp> {
    let get = |what: &str| {
        let own = env.non_empty(&format!("OTEL_EXPORTER_OTLP_TRACES_{what}"));
        own.or_else(|| env.non_empty(&format!("OTEL_EXPORTER_OTLP_{what}")))
    };
    let address = get("ENDPOINT")?;
    let over_http = get("PROTOCOL").is_some_and(|protocol| protocol.starts_with("http"));
    let insecure = get("INSECURE").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let is_secure = !insecure && !address.starts_with("http://");
    let millis = get("TIMEOUT").and_then(|text| text.parse().ok());
    Some(Otlp {
        endpoint: endpoint(&address, is_secure, over_http),
        over_http,
        headers: get("HEADERS")
            .iter()
            .flat_map(|list| list.split(','))
            .filter_map(header)
            .collect(),
        timeout: millis.map_or(TIMEOUT, Duration::from_millis),
    })
}

/// An address with the scheme that is wanted; over HTTP with the path where spans are taken.
fn endpoint(address: &str, is_secure: bool, over_http: bool) -> String {
    let bare = address.split_once("://").map_or(address, |(_, bare)| bare);
    let bare = bare.trim_end_matches('/');
    let scheme = if is_secure { "https" } else { "http" };
    let path = if !over_http || bare.ends_with("/v1/traces") {
        ""
    } else {
        "/v1/traces"
    };
    format!("{scheme}://{bare}{path}")
}

fn header(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    Some((name.trim().to_ascii_lowercase(), unescaped(value.trim())))
}

/// Values are written as in a URL.
fn unescaped(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// `OTEL_SERVICE_NAME`, else what `OTEL_RESOURCE_ATTRIBUTES` says, else the app.
fn resource(env: &Env, app_id: &str) -> Vec<KeyValue> {
    let attributes = env
        .non_empty("OTEL_RESOURCE_ATTRIBUTES")
        .unwrap_or_default();
    let pairs = attributes.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), unescaped(value.trim())))
    });
    let mut pairs: Vec<(String, String)> = pairs.collect();
    let named = env.non_empty("OTEL_SERVICE_NAME").or_else(|| {
        let mut all = pairs.iter();
        let found = all.find(|(name, _)| name == "service.name");
        found.map(|(_, name)| name.clone())
    });
    pairs.retain(|(name, _)| name != "service.name");
    let name = named.unwrap_or_else(|| app_id.to_owned());
    pairs.insert(0, ("service.name".into(), name));
    let each = pairs.into_iter();
    each.map(|(name, value)| KeyValue::new(name, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::resources::{OtelSpec, ZipkinSpec};

    fn env(pairs: &[(&str, &str)]) -> Env {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| ((*name).into(), (*value).into()));
        Env::Fixed(Arc::new(pairs.collect()))
    }

    fn rate(rate: &str) -> TracingSpec {
        TracingSpec {
            sampling_rate: Some(rate.into()),
            ..TracingSpec::default()
        }
    }

    #[test]
    fn there_are_spans_only_where_somebody_wants_them() {
        let of = |spec: &TracingSpec| Settings::new(spec, &env(&[]), "shop");
        assert_eq!(of(&TracingSpec::default()).mode, Mode::Passive);
        assert_eq!(of(&rate("0")).mode, Mode::Off);
        assert_eq!(of(&rate("1")).mode, Mode::Active);
        let zipkin = TracingSpec {
            zipkin: ZipkinSpec {
                endpoint_address: "http://z/api/v2/spans".into(),
            },
            ..TracingSpec::default()
        };
        let scarce = of(&zipkin);
        assert_eq!((scarce.mode, scarce.rate), (Mode::Active, SCARCE));
        assert!(of(&rate("a lot")).sampler().contains("{0.0001}"));
        let sampler = of(&rate("1.0")).sampler();
        assert!(
            sampler.starts_with("ParentBased{root:AlwaysOnSampler,"),
            "{sampler}"
        );
        let sampler = of(&rate("0.25")).sampler();
        assert!(
            sampler.starts_with("ParentBased{root:TraceIDRatioBased{0.25},"),
            "{sampler}"
        );
    }

    #[test]
    fn a_collector_is_secure_unless_something_else_is_said() {
        let spec = |protocol: &str, is_secure| TracingSpec {
            otel: OtelSpec {
                protocol: protocol.into(),
                endpoint_address: "collector:4317".into(),
                is_secure,
                headers: vec!["X-Key=a%20b".into()],
                timeout: Some("1500".into()),
            },
            ..TracingSpec::default()
        };
        let otlp = configured(&spec("grpc", None)).unwrap();
        assert_eq!(otlp.endpoint, "https://collector:4317");
        assert_eq!(otlp.headers, [("x-key".to_owned(), "a b".to_owned())]);
        assert_eq!(otlp.timeout, Duration::from_millis(1500));
        let otlp = configured(&spec("http", Some(false))).unwrap();
        assert_eq!(otlp.endpoint, "http://collector:4317/v1/traces");
    }

    #[test]
    fn the_environment_counts_where_the_configuration_names_no_collector() {
        let env = env(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b=2"),
            ("OTEL_SERVICE_NAME", "me"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=you,team=blue%20sky",
            ),
        ]);
        let settings = Settings::new(&TracingSpec::default(), &env, "shop");
        assert_eq!((settings.mode, settings.rate), (Mode::Active, 1.0));
        let otlp = settings.otlp.unwrap();
        assert_eq!(otlp.endpoint, "http://traces:4318/v1/traces");
        assert_eq!(otlp.headers.len(), 2);
        assert_eq!(
            settings.resource,
            [
                KeyValue::new("service.name", "me"),
                KeyValue::new("team", "blue sky")
            ]
        );
    }
}
