//! Every metric there is: its name, its type, its labels and when it is counted. The names and
//! labels are the reference's (runtime §6.6); those that begin with `bindery_` are ours.
//! `docs/metrics.md` is held to this list by a test.

/// One metric.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, in the order of the alphabet.
    pub labels: &'static [&'static str],
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How long things took; counted in microseconds, shown in milliseconds.
    Latency,
    /// How large things were, in bytes.
    Size,
}

impl Kind {
    /// As the exposition format names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Latency | Self::Size => "histogram",
        }
    }
}

/// Metrics that are counted together, by the same labels.
#[derive(Debug)]
pub(super) struct Group {
    /// Its place among the groups.
    pub(super) index: usize,
    pub(super) families: &'static [&'static Family],
    /// The labels whose values are given when something is counted; the others say who the
    /// sidecar is, or are empty.
    pub(super) labels: &'static [&'static str],
    /// Those of these labels whose values come from outside, so that there may be any number.
    pub(super) open: &'static [usize],
}

/// Declares the metrics: a line of documentation becomes the help of each.
macro_rules! families {
    ($(#[doc = $help:literal] $name:ident = $text:literal, $kind:ident, [$($label:literal),*];)*) => {
        $(
            #[doc = $help]
            pub(super) static $name: Family = Family {
                name: $text,
                help: $help.trim_ascii(),
                kind: Kind::$kind,
                labels: &[$($label),*],
            };
        )*

        /// All of them.
        pub static ALL: &[&Family] = &[$(&$name),*];
    };
}

families! {
    /// Calls of outputs over the API.
    OUTPUT_COUNT = "dapr_component_output_binding_count", Counter, ["app_id", "component", "namespace", "operation", "success"];
    /// How long calls of outputs took, in milliseconds.
    OUTPUT_LATENCIES = "dapr_component_output_binding_latencies", Latency, ["app_id", "component", "namespace", "operation", "success"];
    /// Events that were given to the app.
    INPUT_COUNT = "dapr_component_input_binding_count", Counter, ["app_id", "component", "namespace", "success"];
    /// How long events took from the first attempt to the last, in milliseconds.
    INPUT_LATENCIES = "dapr_component_input_binding_latencies", Latency, ["app_id", "component", "namespace", "success"];
    /// Sides of components that were opened, by type.
    INIT = "dapr_runtime_component_init_total", Counter, ["app_id", "component"];
    /// Sides of components that could not be opened, by type.
    INIT_FAIL = "dapr_runtime_component_init_fail_total", Counter, ["app_id", "component", "componentName", "reason"];
    /// Requests of the HTTP API.
    HTTP_SERVER_REQUESTS = "dapr_http_server_request_count", Counter, ["app_id", "method", "path", "status"];
    /// Answers of the HTTP API; only with increased cardinality.
    HTTP_SERVER_RESPONSES = "dapr_http_server_response_count", Counter, ["app_id", "method", "path", "status"];
    /// How long requests of the HTTP API took, in milliseconds.
    HTTP_SERVER_LATENCY = "dapr_http_server_latency", Latency, ["app_id", "method", "path", "status"];
    /// The bodies of requests of the HTTP API, in bytes.
    HTTP_SERVER_REQUEST_BYTES = "dapr_http_server_request_bytes", Size, ["app_id"];
    /// The bodies of answers of the HTTP API, in bytes.
    HTTP_SERVER_RESPONSE_BYTES = "dapr_http_server_response_bytes", Size, ["app_id"];
    /// Requests to an app over HTTP.
    HTTP_CLIENT_COMPLETED = "dapr_http_client_completed_count", Counter, ["app_id", "method", "path", "status"];
    /// How long requests to an app over HTTP took, in milliseconds.
    HTTP_CLIENT_LATENCY = "dapr_http_client_roundtrip_latency", Latency, ["app_id", "method", "path", "status"];
    /// The bodies of requests to an app over HTTP, in bytes.
    HTTP_CLIENT_SENT_BYTES = "dapr_http_client_sent_bytes", Size, ["app_id", "method", "path", "status"];
    /// The bodies of an app's answers over HTTP, in bytes.
    HTTP_CLIENT_RECEIVED_BYTES = "dapr_http_client_received_bytes", Size, ["app_id"];
    /// Questions for the health of an app over HTTP.
    HTTP_PROBES = "dapr_http_healthprobes_completed_count", Counter, ["app_id", "status"];
    /// How long questions for the health of an app over HTTP took, in milliseconds.
    HTTP_PROBES_LATENCY = "dapr_http_healthprobes_roundtrip_latency", Latency, ["app_id", "status"];
    /// Calls of the gRPC API, and events given to an app over gRPC.
    GRPC_SERVER_COMPLETED = "dapr_grpc_io_server_completed_rpcs", Counter, ["app_id", "grpc_server_method", "grpc_server_status"];
    /// How long calls of the gRPC API took, in milliseconds.
    GRPC_SERVER_LATENCY = "dapr_grpc_io_server_server_latency", Latency, ["app_id", "grpc_server_method", "grpc_server_status"];
    /// The messages of calls of the gRPC API, in bytes.
    GRPC_SERVER_RECEIVED_BYTES = "dapr_grpc_io_server_received_bytes_per_rpc", Size, ["app_id", "grpc_server_method"];
    /// The messages of answers of the gRPC API, in bytes.
    GRPC_SERVER_SENT_BYTES = "dapr_grpc_io_server_sent_bytes_per_rpc", Size, ["app_id", "grpc_server_method"];
    /// Calls of an app over gRPC.
    GRPC_CLIENT_COMPLETED = "dapr_grpc_io_client_completed_rpcs", Counter, ["app_id", "grpc_client_method", "grpc_client_status"];
    /// How long calls of an app over gRPC took, in milliseconds.
    GRPC_CLIENT_LATENCY = "dapr_grpc_io_client_roundtrip_latency", Latency, ["app_id", "grpc_client_method", "grpc_client_status"];
    /// The messages of calls of an app over gRPC, in bytes.
    GRPC_CLIENT_SENT_BYTES = "dapr_grpc_io_client_sent_bytes_per_rpc", Size, ["app_id", "grpc_client_method"];
    /// The messages of an app's answers over gRPC, in bytes.
    GRPC_CLIENT_RECEIVED_BYTES = "dapr_grpc_io_client_received_bytes_per_rpc", Size, ["app_id", "grpc_client_method"];
    /// Questions for the health of an app over gRPC.
    GRPC_PROBES = "dapr_grpc_io_healthprobes_completed_count", Counter, ["app_id", "grpc_client_status"];
    /// How long questions for the health of an app over gRPC took, in milliseconds.
    GRPC_PROBES_LATENCY = "dapr_grpc_io_healthprobes_roundtrip_latency", Latency, ["app_id", "grpc_client_status"];
    /// Resiliency documents that were loaded.
    RESILIENCY_LOADED = "dapr_resiliency_loaded", Counter, ["app_id", "name", "namespace"];
    /// How often a policy was asked for.
    RESILIENCY_COUNT = "dapr_resiliency_count", Counter, ["app_id", "flow_direction", "name", "namespace", "policy", "status", "target"];
    /// How often a policy had something to do: a timeout ended an attempt, a first retry was due, a breaker changed its state.
    RESILIENCY_ACTIVATIONS = "dapr_resiliency_activations_total", Counter, ["app_id", "flow_direction", "name", "namespace", "policy", "status", "target"];
    /// Where a breaker is: 1 for the state that it is in.
    RESILIENCY_BREAKERS = "dapr_resiliency_cb_state", Gauge, ["app_id", "flow_direction", "name", "namespace", "policy", "status", "target"];
    /// Error codes that the API answered with; only with recordErrorCodes.
    ERROR_CODES = "dapr_error_code_total", Counter, ["app_id", "category", "error_code"];

    /// Where a binding is in its life: 1 for the state that it is in.
    BINDING_STATE = "bindery_binding_state", Gauge, ["app_id", "component", "direction", "state"];
    /// How often a binding was opened after the first time.
    BINDING_RESTARTS = "bindery_binding_restarts", Counter, ["app_id", "component", "direction"];
    /// How many calls of a binding panicked.
    BINDING_PANICS = "bindery_binding_panics", Counter, ["app_id", "component", "direction"];
    /// Events that were read and are not settled, and calls that are running.
    BINDING_IN_FLIGHT = "bindery_binding_in_flight", Gauge, ["app_id", "component", "direction"];
    /// How long ago an event was last given to the app, in seconds.
    LAST_EVENT_AGE = "bindery_last_event_age_seconds", Gauge, ["app_id", "component"];
    /// Attempts to give the app an event.
    EVENT_ATTEMPTS = "bindery_event_attempts", Counter, ["app_id", "component"];
    /// Attempts that the app refused.
    EVENT_REFUSALS = "bindery_event_refusals", Counter, ["app_id", "component"];
    /// Events that went to the dead letter.
    DEAD_LETTERS = "bindery_dead_letters", Counter, ["app_id", "component"];
    /// Answers of the app that could not be executed.
    REPLY_FAILURES = "bindery_reply_failures", Counter, ["app_id", "component"];
    /// Events that the app keeps refusing or does not answer, with the key that waits behind each.
    BLOCKED_KEYS = "bindery_blocked_keys", Gauge, ["app_id", "component"];
    /// Events that wait in the lane of a worker.
    LANE_DEPTH = "bindery_lane_depth", Gauge, ["app_id", "lane"];
    /// How many more events the lanes have room for.
    PERMITS_FREE = "bindery_permits_free", Gauge, ["app_id"];

    /// Spans that could not be sent, or found no room to wait.
    SPANS_LOST = "bindery_spans_lost", Counter, ["app_id"];

    /// Processor time of the process, in seconds.
    PROCESS_CPU = "process_cpu_seconds_total", Counter, [];
    /// Open file descriptors.
    PROCESS_OPEN_FDS = "process_open_fds", Gauge, [];
    /// How many file descriptors may be open.
    PROCESS_MAX_FDS = "process_max_fds", Gauge, [];
    /// Resident memory, in bytes.
    PROCESS_RESIDENT = "process_resident_memory_bytes", Gauge, [];
    /// Virtual memory, in bytes.
    PROCESS_VIRTUAL = "process_virtual_memory_bytes", Gauge, [];
    /// When the process started, in seconds since 1970.
    PROCESS_START = "process_start_time_seconds", Gauge, [];
    /// Threads of the process.
    PROCESS_THREADS = "process_threads", Gauge, [];
}

/// Declares the groups, and their number.
macro_rules! groups {
    ($($name:ident = [$($family:ident),*] by [$($label:literal),*] open [$($open:literal),*];)*) => {
        #[allow(
            non_camel_case_types,
            clippy::upper_case_acronyms,
            reason = "a group and its index have one name"
        )]
        enum Index { $($name),* , End }

        /// How many groups there are.
        pub(super) const GROUPS: usize = Index::End as usize;

        $(
            pub(super) static $name: Group = Group {
                index: Index::$name as usize,
                families: &[$(&$family),*],
                labels: &[$($label),*],
                open: &[$($open),*],
            };
        )*
    };
}

groups! {
    OUTPUT = [OUTPUT_COUNT, OUTPUT_LATENCIES] by ["component", "success", "operation"] open [0, 2];
    INPUT = [INPUT_COUNT, INPUT_LATENCIES] by ["component", "success"] open [];
    OPENED = [INIT] by ["component"] open [];
    OPEN_FAILED = [INIT_FAIL] by ["component", "componentName", "reason"] open [];
    HTTP_SERVER = [HTTP_SERVER_REQUESTS, HTTP_SERVER_LATENCY] by ["method", "path", "status"] open [1];
    HTTP_SERVER_INCREASED = [HTTP_SERVER_REQUESTS, HTTP_SERVER_LATENCY, HTTP_SERVER_RESPONSES] by ["method", "path", "status"] open [1];
    HTTP_SERVER_BYTES = [HTTP_SERVER_REQUEST_BYTES, HTTP_SERVER_RESPONSE_BYTES] by [] open [];
    HTTP_CLIENT = [HTTP_CLIENT_COMPLETED, HTTP_CLIENT_LATENCY] by ["method", "path", "status"] open [1];
    HTTP_CLIENT_SENT = [HTTP_CLIENT_SENT_BYTES] by ["method", "path"] open [1];
    HTTP_CLIENT_RECEIVED = [HTTP_CLIENT_RECEIVED_BYTES] by [] open [];
    HTTP_PROBE = [HTTP_PROBES, HTTP_PROBES_LATENCY] by ["status"] open [];
    GRPC_SERVER = [GRPC_SERVER_COMPLETED, GRPC_SERVER_LATENCY] by ["grpc_server_method", "grpc_server_status"] open [0];
    GRPC_SERVER_BYTES = [GRPC_SERVER_RECEIVED_BYTES, GRPC_SERVER_SENT_BYTES] by ["grpc_server_method"] open [];
    GRPC_CLIENT = [GRPC_CLIENT_COMPLETED, GRPC_CLIENT_LATENCY] by ["grpc_client_method", "grpc_client_status"] open [];
    GRPC_CLIENT_BYTES = [GRPC_CLIENT_SENT_BYTES, GRPC_CLIENT_RECEIVED_BYTES] by ["grpc_client_method"] open [];
    GRPC_PROBE = [GRPC_PROBES, GRPC_PROBES_LATENCY] by ["grpc_client_status"] open [];
    LOADED = [RESILIENCY_LOADED] by ["name", "namespace"] open [];
    ERRORS = [ERROR_CODES] by ["category", "error_code"] open [];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_in_the_order_of_the_alphabet_and_names_are_valid() {
        for family in ALL {
            assert!(family.labels.is_sorted(), "{}", family.name);
            let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
            assert!(family.name.chars().all(valid), "{}", family.name);
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
        let names: std::collections::HashSet<_> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
