//! `bindery demo`: the whole path in one terminal, without any server.
//!
//! A cron input fires; a small app, a plain actix-web service as a user would write it, takes
//! the event and calls an output that writes orders to files. In between a binding panics, and
//! comes back.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use bindery_contract::settings::GoDuration;
use bindery_contract::{
    Binding, Clock, Event, EventSink, Input, OpenContext, OpenError, Opened, ReadError, Source,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::sidecar::fatal;
use super::signals::Signals;
use crate::sidecar::{AppConfig, Sidecar};
use crate::telemetry::log::{self, LogConfig, LogLevel};

/// Arguments of `bindery demo`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery demo
  bindery demo --for 20s")]
pub(super) struct DemoArgs {
    /// Ends after this time, such as 20s; without it, Ctrl-C does.
    #[arg(long = "for", value_name = "DURATION", value_parser = positive)]
    length: Option<Duration>,
}

fn positive(text: &str) -> Result<Duration, String> {
    GoDuration::parse(text)?
        .positive()
        .ok_or_else(|| "must be more than zero".into())
}

/// Shows it, until Ctrl-C.
pub(super) fn run(arguments: &DemoArgs) -> ExitCode {
    let quiet = LogConfig {
        level: LogLevel::Warn,
        app_id: "demo".into(),
        ..LogConfig::default()
    };
    if let Err(error) = log::install(&quiet) {
        return fatal(&error);
    }
    let folder = match tempfile::Builder::new().prefix("bindery-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return fatal(&error),
    };
    let length = arguments.length;
    let shown = actix_rt::System::new().block_on(show(folder.path().to_owned(), length));
    // Nothing is left behind, whether it went well or not.
    match shown.and_then(|()| folder.close()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fatal(&error),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A terminal that is gone is no reason to stop cleanly any less.
    let _ = writeln!(out, "{line}");
}

fn components(folder: &Path) -> String {
    let orders = serde_json::json!(folder.join("orders"));
    format!(
        "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: new-order
spec:
  type: bindings.cron
  version: v1
  metadata:
  - name: schedule
    value: \"@every 2s\"
  - name: direction
    value: input
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: orders
spec:
  type: bindings.localstorage
  version: v1
  metadata:
  - name: rootPath
    value: {orders}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: shaky
spec:
  type: bindings.demo.shaky
  version: v1
  metadata:
  - name: direction
    value: input
"
    )
}

async fn show(folder: PathBuf, length: Option<Duration>) -> std::io::Result<()> {
    let clock = Clock::system();
    let mut signals = Signals::new()?;
    let resources = folder.join("components");
    std::fs::create_dir(&resources)?;
    std::fs::write(resources.join("demo.yaml"), components(&folder))?;

    let port = free_port(3500)?;
    let app_port = free_port(0)?;
    say("Bindery demo: cron -> app -> files, in one process. Ctrl-C ends it.\n");
    let app = start_app(app_port, port)?;
    let sidecar = Sidecar::builder("demo")
        .resources(resources)
        .binding::<Shaky>()
        .app(AppConfig::port(app_port))
        .listen(port)
        .start()
        .await
        .map_err(std::io::Error::other)?;
    say(&format!(
        "  the sidecar listens on http://127.0.0.1:{port}\n\
         \x20 \"new-order\" is a bindings.cron that fires every 2 s\n\
         \x20 \"orders\" is a bindings.localstorage in {}\n",
        folder.join("orders").display()
    ));
    let watching = actix_rt::spawn(watch_shaky(Arc::clone(sidecar.core()), clock.clone()));
    let hints = actix_rt::spawn(hint(port, clock.clone()));
    let end = async {
        match length {
            Some(length) => clock.sleep(length).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = signals.next() => {}
        () = end => {}
    }
    say("\nstopping: the sources first, then what is running, the outputs last");
    watching.abort();
    hints.abort();
    sidecar.shutdown().await;
    app.stop(true).await;
    say("stopped; the demo's files are removed");
    Ok(())
}

/// A port that nobody listens on: the wanted one if possible.
fn free_port(wanted: u16) -> std::io::Result<u16> {
    let bind = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let listener = bind(wanted).or_else(|_| bind(0))?;
    Ok(listener.local_addr()?.port())
}

/// The user's service: it takes an event, and calls an output through the sidecar.
fn start_app(port: u16, sidecar: u16) -> std::io::Result<actix_web::dev::ServerHandle> {
    let orders = Arc::new(AtomicU32::new(0));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&orders)))
            .app_data(web::Data::new(SidecarPort(sidecar)))
            .route("/new-order", web::post().to(new_order))
            .route("/shaky", web::post().to(|| async { "" }))
    })
    .workers(1)
    .disable_signals()
    .bind((Ipv4Addr::LOCALHOST, port))?
    .run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(handle)
}

struct SidecarPort(u16);

async fn new_order(
    orders: web::Data<AtomicU32>,
    sidecar: web::Data<SidecarPort>,
) -> actix_web::Result<String> {
    let number = orders.fetch_add(1, Ordering::Relaxed) + 1;
    say(&format!(
        "cron  -> app     new-order fired; the app makes order {number}"
    ));
    let call = serde_json::json!({
        "operation": "create",
        "metadata": { "fileName": format!("order-{number}.json") },
        "data": { "orderId": number, "item": "a book" },
    });
    let request = http::Request::post(format!(
        "http://127.0.0.1:{}/v1.0/bindings/orders",
        sidecar.0
    ))
    .body(Full::new(Bytes::from(call.to_string())))
    .map_err(actix_web::error::ErrorInternalServerError)?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client
        .request(request)
        .await
        .map_err(actix_web::error::ErrorBadGateway)?;
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(actix_web::error::ErrorBadGateway)?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    say(&format!(
        "app   -> files   POST /v1.0/bindings/orders answered {status} {body}"
    ));
    Ok(body)
}

async fn hint(port: u16, clock: Clock) {
    clock.sleep(Duration::from_secs(3)).await;
    say(&format!(
        "\n  Meanwhile, in another terminal:\n\
         \x20   curl -s -X POST localhost:{port}/v1.0/bindings/orders -d '{{\"operation\":\"list\"}}'\n\
         \x20   curl -s -X POST localhost:{port}/v1.0/bindings/orders \
         -d '{{\"operation\":\"get\",\"metadata\":{{\"fileName\":\"order-1.json\"}}}}'\n\
         \x20   curl -s localhost:{port}/v1.0/metadata\n"
    ));
}

/// Tells when the shaky binding is back.
async fn watch_shaky(core: Arc<bindery_actors::Core>, clock: Clock) {
    let mut restarts = 0;
    loop {
        clock.sleep(Duration::from_millis(10)).await;
        let board = core.status().components();
        let shaky = board.iter().find(|component| &*component.name == "shaky");
        let Some(side) = shaky.and_then(|component| component.sides.first()) else {
            continue;
        };
        if side.restarts > restarts && side.state == "Running" {
            restarts = side.restarts;
            let error = side.last_error.as_deref().unwrap_or_default();
            say(&format!(
                "shaky    is back: Running again after \"{error}\"; restart number {restarts}, \
                 and nothing else noticed"
            ));
        }
    }
}

/// An input that panics once, to show what happens then.
struct Shaky;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct NoSettings {}

impl Binding for Shaky {
    const TYPE: &'static str = "bindings.demo.shaky";
    const SUMMARY: &'static str = "Panics once, five seconds after its first start.";
    const INPUT: Option<Source> = Some(Source::Signal);
    type Settings = NoSettings;

    async fn open(_: NoSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::input(ShakyReader {
            clock: cx.clock().clone(),
        }))
    }
}

struct ShakyReader {
    clock: Clock,
}

impl Input for ShakyReader {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        static PANICKED: AtomicU32 = AtomicU32::new(0);
        if PANICKED.fetch_add(1, Ordering::Relaxed) == 0 {
            self.clock.sleep(Duration::from_secs(5)).await;
            say("\nshaky    panics now, on purpose");
            panic!("on purpose");
        }
        if let Ok(permit) = events.ready().await {
            let _ = permit.send(Event::default()).await;
        }
        events.stopped().await;
        Ok(())
    }
}
