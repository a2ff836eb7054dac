//! Metrics, as Prometheus reads them: names, labels, types, buckets (runtime §6.6).
//! `tests/scenarios/metrics.rs` gives them to Prometheus' own parser.

use std::path::Path;
use std::time::Duration;

use bindery::telemetry::metrics::families;

use crate::support::{App, Running, free_port, request, resources};
use crate::{grpc_api, grpc_app};

const SOON: Duration = Duration::from_secs(20);
const CREATE: &str = r#"{"operation":"create","data":"x","metadata":{"fileName":"x"}}"#;

/// A sidecar whose metrics can be read.
struct Watched {
    bindery: Running,
    port: u16,
}

impl Watched {
    fn start(components: &Path, flags: &[&str]) -> Self {
        let port = free_port();
        let text = port.to_string();
        let flags = [&["--metrics-port", &text], flags].concat();
        let bindery = Running::sidecar_with(components, &flags, &[("NAMESPACE", "shop")]);
        Self { bindery, port }
    }

    fn read(&self) -> String {
        // The port comes a moment after the process.
        let Ok(answer) = request(self.port, "GET", "/metrics", &[], b"") else {
            return String::new();
        };
        assert_eq!(answer.status, 200);
        let kind = answer.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        answer.text()
    }

    /// Waits for lines that begin like this.
    fn wait_for(&self, lines: &[&str]) {
        let missing = |text: &str| -> Vec<String> {
            let is_there = |line: &&str| text.lines().any(|have| have.starts_with(*line));
            let missing = lines.iter().filter(|line| !is_there(line));
            missing.map(ToString::to_string).collect()
        };
        let start = std::time::Instant::now();
        loop {
            let text = self.read();
            let missing = missing(&text);
            if missing.is_empty() {
                return;
            }
            assert!(start.elapsed() < SOON, "{missing:#?} in\n{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn configuration(folder: &Path, spec: &str) -> String {
    let file = folder.join("configuration.yaml");
    let spec = spec.replace('\n', "\n  ");
    std::fs::write(&file, format!("kind: Configuration\nspec:\n  {spec}\n")).unwrap();
    file.display().to_string()
}

/// An output, an input that its app takes and one that it refuses, with the app's health watched.
fn over_http(folder: &Path) -> (App, Watched) {
    let root = folder.join("files").display().to_string();
    let components = resources(
        folder,
        &[
            ("files", "bindings.localstorage", &[("rootPath", &root)]),
            ("tick", "bindings.cron", &[("schedule", "@every 100ms")]),
            ("tock", "bindings.cron", &[("schedule", "@every 100ms")]),
        ],
    );
    let app_port = free_port();
    let app = App::start(app_port, |request| match request.path.as_str() {
        "/tock" if request.method == "POST" => (500, "no".into()),
        _ => (200, "yes".into()),
    });
    let port = app_port.to_string();
    let flags = [
        "--app-port",
        &port,
        "--enable-app-health-check",
        "--app-health-probe-interval=1",
    ];
    let it = Watched::start(&components, &flags);
    it.bindery.wait_until_ready();
    (app, it)
}

#[test]
fn calls_events_and_requests_over_http_are_counted_by_the_references_names() {
    let folder = tempfile::tempdir().unwrap();
    let (_app, it) = over_http(folder.path());
    assert_eq!(it.bindery.invoke("files", CREATE).status, 200);
    assert_eq!(it.bindery.invoke("none", CREATE).status, 500);
    it.bindery.get("/v1.0/metadata");
    let called = it
        .bindery
        .post("/v1.0/invoke/test/method/orders/7?x=1", "hello");
    assert_eq!(called.text(), "yes");
    let call = |success| {
        format!(
            r#"app_id="test",component="files",namespace="shop",operation="create",success="{success}""#
        )
    };
    let (good, files) = (
        call(true),
        r#"app_id="test",method="POST",path="/v1.0/bindings/files",status="200""#,
    );
    let event = |component, success| {
        format!(r#"app_id="test",component="{component}",namespace="shop",success="{success}""#)
    };
    let (taken, refused) = (event("tick", true), event("tock", false));
    let to_app = r#"app_id="test",method="POST",path="/tick",status="200""#;
    let called = r#"app_id="test",method="POST",path="/orders/7",status="#;
    it.wait_for(&[
        &format!("dapr_http_client_completed_count{{{called}\"200\"}} 1"),
        &format!("dapr_http_client_roundtrip_latency_count{{{called}\"200\"}} 1"),
        &format!("dapr_http_client_sent_bytes_sum{{{called}\"\"}} 5"),
        &format!("dapr_component_output_binding_count{{{good}}} 1"),
        &format!("dapr_component_output_binding_latencies_bucket{{{good},le=\"1000\"}} 1"),
        &format!("dapr_component_output_binding_latencies_count{{{good}}} 1"),
        r#"dapr_component_output_binding_count{app_id="test",component="none",namespace="shop",operation="create",success="false"} 1"#,
        &format!("dapr_component_input_binding_count{{{taken}}} "),
        &format!("dapr_component_input_binding_latencies_bucket{{{taken},le=\"100000\"}} "),
        &format!("dapr_component_input_binding_count{{{refused}}} "),
        r#"dapr_runtime_component_init_total{app_id="test",component="bindings.cron"} 2"#,
        r#"dapr_runtime_component_init_total{app_id="test",component="bindings.localstorage"} 1"#,
        &format!("dapr_http_server_request_count{{{files}}} 1"),
        &format!("dapr_http_server_response_count{{{files}}} 1"),
        &format!("dapr_http_server_latency_bucket{{{files},le=\"+Inf\"}} 1"),
        r#"dapr_http_server_request_count{app_id="test",method="GET",path="/v1.0/metadata",status="200"} 1"#,
        r#"dapr_http_server_request_count{app_id="test",method="GET",path="/v1.0/healthz",status="204"} "#,
        r#"dapr_http_server_request_bytes_bucket{app_id="test",le="1024"} "#,
        r#"dapr_http_server_request_bytes_sum{app_id="test"} 127"#,
        r#"dapr_http_server_response_bytes_bucket{app_id="test",le="4294967296"} "#,
        &format!("dapr_http_client_completed_count{{{to_app}}} "),
        &format!("dapr_http_client_roundtrip_latency_count{{{to_app}}} "),
        r#"dapr_http_client_completed_count{app_id="test",method="OPTIONS",path="/tick",status="200"} 1"#,
        r#"dapr_http_client_completed_count{app_id="test",method="GET",path="/dapr/config",status="200"} 1"#,
        r#"dapr_http_client_completed_count{app_id="test",method="POST",path="/tock",status="500"} "#,
        r#"dapr_http_client_sent_bytes_count{app_id="test",method="POST",path="/tick",status=""} "#,
        r#"dapr_http_client_received_bytes_count{app_id="test"} "#,
        r#"dapr_http_healthprobes_completed_count{app_id="test",status="200"} "#,
        r#"dapr_http_healthprobes_roundtrip_latency_count{app_id="test",status="200"} "#,
        r#"bindery_binding_state{app_id="test",component="tick",direction="input",state="Running"} 1"#,
        r#"bindery_binding_state{app_id="test",component="tick",direction="input",state="Failed"} 0"#,
        r#"bindery_binding_restarts{app_id="test",component="files",direction="output"} 0"#,
        r#"bindery_binding_panics{app_id="test",component="files",direction="output"} 0"#,
        r#"bindery_binding_in_flight{app_id="test",component="files",direction="output"} 0"#,
        r#"bindery_last_event_age_seconds{app_id="test",component="tick"} 0."#,
        r#"bindery_event_attempts{app_id="test",component="tick"} "#,
        r#"bindery_event_refusals{app_id="test",component="tock"} "#,
        r#"bindery_dead_letters{app_id="test",component="tick"} 0"#,
        r#"bindery_reply_failures{app_id="test",component="tick"} 0"#,
        r#"bindery_blocked_keys{app_id="test",component="tick"} 0"#,
        r#"bindery_lane_depth{app_id="test",lane="0"} "#,
        r#"bindery_permits_free{app_id="test"} "#,
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "process_max_fds ",
        "process_resident_memory_bytes ",
        "process_virtual_memory_bytes ",
        "process_start_time_seconds ",
        "process_threads ",
        "# TYPE dapr_component_output_binding_count counter",
        "# TYPE dapr_http_server_latency histogram",
        "# TYPE bindery_binding_state gauge",
    ]);
    let text = it.read();
    let bounds: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix("dapr_component_output_binding_latencies_bucket{")?;
            line.strip_prefix(&good)?
                .strip_prefix(",le=\"")?
                .split('"')
                .next()
        })
        .collect();
    assert_eq!(
        bounds.join(" "),
        "1 2 3 4 5 6 8 10 13 16 20 25 30 40 50 65 80 100 130 160 200 250 300 400 500 650 800 1000 \
         2000 5000 10000 20000 50000 100000 +Inf"
    );
}

#[test]
fn calls_over_grpc_in_both_directions_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let schedule = [("schedule", "@every 100ms")];
    let components = resources(folder.path(), &[("tick", "bindings.cron", &schedule)]);
    let app_port = free_port();
    let app = grpc_app::App::taking();
    let _listening = app.start(app_port, None);
    let port = app_port.to_string();
    let flags = [
        "--app-port",
        &port,
        "--app-protocol",
        "grpc",
        "--enable-app-health-check",
    ];
    let it = Watched::start(&components, &flags);
    it.bindery.wait_until_callable();
    grpc_api::fail(&it.bindery, grpc_api::call("none", "create", "x"));
    let api = r#"app_id="test",grpc_server_method="/dapr.proto.runtime.v1.Dapr/InvokeBinding""#;
    let event = "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent";
    let list = "/dapr.proto.runtime.v1.AppCallback/ListInputBindings";
    let invoke = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";
    it.wait_for(&[
        &format!("dapr_grpc_io_server_completed_rpcs{{{api},grpc_server_status=\"Internal\"}} 1"),
        &format!("dapr_grpc_io_server_server_latency_count{{{api},grpc_server_status=\"Internal\"}} 1"),
        &format!("dapr_grpc_io_server_received_bytes_per_rpc_sum{{{api}}} 17"),
        &format!("dapr_grpc_io_server_sent_bytes_per_rpc_count{{{api}}} 1"),
        r#"dapr_component_output_binding_count{app_id="test",component="none",namespace="shop",operation="create",success="false"} 1"#,
        // This app has no such method, so it is never well, and is given nothing.
        r#"dapr_grpc_io_healthprobes_completed_count{app_id="test",grpc_client_status="Unimplemented"} "#,
        r#"dapr_grpc_io_healthprobes_roundtrip_latency_count{app_id="test",grpc_client_status="Unimplemented"} "#,
    ]);
    drop(it);
    let it = Watched::start(&components, &flags[..4]);
    it.bindery.wait_until_ready();
    let called = it.bindery.post("/v1.0/invoke/test/method/orders", "hello");
    assert_eq!(called.status, 501, "this app takes no calls");
    it.wait_for(&[
        &format!(r#"dapr_grpc_io_client_completed_rpcs{{app_id="test",grpc_client_method="{invoke}",grpc_client_status="Unimplemented"}} 1"#),
        &format!(r#"dapr_grpc_io_client_sent_bytes_per_rpc_count{{app_id="test",grpc_client_method="{invoke}"}} 1"#),
        &format!(r#"dapr_grpc_io_client_completed_rpcs{{app_id="test",grpc_client_method="{event}",grpc_client_status="OK"}} "#),
        &format!(r#"dapr_grpc_io_client_completed_rpcs{{app_id="test",grpc_client_method="{list}",grpc_client_status="OK"}} 1"#),
        &format!(r#"dapr_grpc_io_client_roundtrip_latency_count{{app_id="test",grpc_client_method="{event}",grpc_client_status="OK"}} "#),
        &format!(r#"dapr_grpc_io_client_sent_bytes_per_rpc_count{{app_id="test",grpc_client_method="{event}"}} "#),
        &format!(r#"dapr_grpc_io_client_received_bytes_per_rpc_count{{app_id="test",grpc_client_method="{event}"}} "#),
        &format!(r#"dapr_grpc_io_server_completed_rpcs{{app_id="test",grpc_server_method="{event}",grpc_server_status="OK"}} "#),
    ]);
}

#[test]
fn policies_are_counted_while_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let app_port = free_port();
    let _app = App::start(app_port, |_| (500, String::new()));
    let url = format!("http://127.0.0.1:{app_port}");
    let components = resources(folder.path(), &[("up", "bindings.http", &[("url", &url)])]);
    let policies = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: rules, \
                    namespace: n}\nspec:\n  policies:\n    retries:\n      once: {policy: \
                    constant, duration: 1ms, maxRetries: 1}\n    timeouts: {short: 5s}\n    \
                    circuitBreakers:\n      soon: {maxRequests: 1, timeout: 1h, trip: \
                    consecutiveFailures > 1}\n  targets:\n    components:\n      up: {outbound: \
                    {retry: once, timeout: short, circuitBreaker: soon}}\n";
    std::fs::write(components.join("rules.yaml"), policies).unwrap();
    let it = Watched::start(&components, &[]);
    it.bindery.wait_until_ready();
    for _ in 0..2 {
        assert_eq!(
            it.bindery.invoke("up", r#"{"operation":"create"}"#).status,
            500
        );
    }
    let of = |policy, status| {
        format!(
            r#"app_id="test",flow_direction="outbound",name="rules",namespace="n",policy="{policy}",status="{status}",target="Binding_up""#
        )
    };
    it.wait_for(&[
        r#"dapr_resiliency_loaded{app_id="test",name="rules",namespace="n"} 1"#,
        &format!("dapr_resiliency_count{{{}}} 2", of("timeout", "")),
        &format!("dapr_resiliency_count{{{}}} 2", of("retry", "")),
        &format!(
            "dapr_resiliency_count{{{}}} 2",
            of("circuitbreaker", "closed")
        ),
        &format!(
            "dapr_resiliency_count{{{}}} 1",
            of("circuitbreaker", "open")
        ),
        &format!("dapr_resiliency_activations_total{{{}}} 1", of("retry", "")),
        &format!(
            "dapr_resiliency_activations_total{{{}}} 1",
            of("circuitbreaker", "open")
        ),
        &format!(
            "dapr_resiliency_cb_state{{{}}} 1",
            of("circuitbreaker", "open")
        ),
        &format!(
            "dapr_resiliency_cb_state{{{}}} 0",
            of("circuitbreaker", "closed")
        ),
        &format!(
            "dapr_resiliency_cb_state{{{}}} 0",
            of("circuitbreaker", "half-open")
        ),
        &format!(
            "dapr_resiliency_cb_state{{{}}} 0",
            of("circuitbreaker", "unknown")
        ),
    ]);
}

#[test]
fn a_configuration_says_how_things_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let spec = r#"metric: {enabled: false, latencyDistributionBuckets: [7]}
metrics:
  enabled: true
  recordErrorCodes: true
  latencyDistributionBuckets: [100, 5]
  http:
    increasedCardinality: false
    pathMatching: ["/v1.0/bindings/{name}"]
  rules:
  - name: dapr_http_server_request_count
    labels: [{name: status, regex: {"5xx": "^5"}}]"#;
    let configuration = configuration(folder.path(), spec);
    let it = Watched::start(&components, &["--config", &configuration]);
    it.bindery.wait_for_log(r#"increasedCardinality\":false"#);
    it.bindery.wait_until_ready();
    it.bindery.invoke("a", CREATE);
    it.bindery.invoke("b", CREATE);
    it.bindery.get("/nowhere");
    let a = r#"app_id="test",method="POST",path="/v1.0/bindings/{name}",status="500""#;
    it.wait_for(&[
        r#"dapr_http_server_request_count{app_id="test",method="POST",path="/v1.0/bindings/{name}",status="5xx"} 2"#,
        r#"dapr_http_server_request_count{app_id="test",method="GET",path="",status="404"} 1"#,
        &format!("dapr_http_server_latency_bucket{{{a},le=\"5\"}} "),
        &format!("dapr_http_server_latency_bucket{{{a},le=\"100\"}} "),
        r#"dapr_error_code_total{app_id="test",category="binding",error_code="ERR_INVOKE_OUTPUT_BINDING"} 2"#,
        r#"dapr_error_code_total{app_id="test",category="service-invocation",error_code="ERR_DIRECT_INVOKE"} 1"#,
    ]);
    let text = it.read();
    assert!(!text.contains("dapr_http_server_response_count"), "{text}");
    assert!(!text.contains("le=\"7\""), "{text}");
}

#[test]
fn counting_and_the_port_can_be_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let off = configuration(folder.path(), "metric: {enabled: false}");
    let it = Watched::start(&components, &["--config", &off]);
    it.bindery.wait_until_ready();
    let text = it.read();
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    assert!(
        !text.contains("dapr_") && !text.contains("bindery_"),
        "{text}"
    );
    let it = Watched::start(&components, &["--enable-metrics=false"]);
    it.bindery.wait_until_ready();
    assert!(request(it.port, "GET", "/", &[], b"").is_err());
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let first = Watched::start(&components, &[]);
    first.bindery.wait_until_ready();
    let port = first.port.to_string();
    let mut second = Running::sidecar(&components, &["--metrics-port", &port]);
    assert_eq!(second.wait(), Some(1));
    let log = second.log();
    for said in [
        &*port,
        "failed to run metrics server",
        "--metrics-port",
        "--enable-metrics=false",
    ] {
        assert!(log.contains(said), "{said} in {log}");
    }
}

#[test]
fn what_cannot_be_opened_is_counted_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let url = format!("127.0.0.1:{port}");
    let components = resources(
        folder.path(),
        &[("away", "bindings.redis", &[("redisHost", &url)])],
    );
    let it = Watched::start(&components, &[]);
    it.wait_for(&[
        r#"dapr_runtime_component_init_fail_total{app_id="test",component="bindings.redis",componentName="away",reason="init"} "#,
    ]);
}

#[test]
fn every_metric_is_in_the_documentation() {
    let page = std::fs::read_to_string("docs/metrics.md").unwrap();
    for family in families::ALL {
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let row = format!(
            "| `{}` | {} | {} |",
            family.name,
            family.kind.as_str(),
            labels.join(", ")
        );
        assert!(page.contains(&row), "{row}");
    }
}
