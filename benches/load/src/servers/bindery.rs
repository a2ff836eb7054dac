//! The sidecar, set up for each case.

use std::io;

use bindery::sidecar::{AppConfig, Builder, GrpcConfig};
use bindery::{Component, Sidecar};
use bindery_contract::{
    Binding, Invocation, InvokeError, OpenContext, OpenError, Opened, Operation, Output, Reply,
};

use super::log::Log;
use super::until_unwanted;

/// Answers with what it is sent.
struct Echo;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct EchoSettings {}

impl Binding for Echo {
    const TYPE: &'static str = "bindings.bench.echo";
    const SUMMARY: &'static str = "Answers with what it is sent.";
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "create",
        summary: "Answers with the request's data.",
    }];
    type Settings = EchoSettings;

    async fn open(_: EchoSettings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::per_thread(|_| async { Ok(Self) }))
    }
}

impl Output for Echo {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        Ok(Some(Reply::new(call.data)))
    }
}

/// With an output in the same process.
pub(super) async fn echo() -> io::Result<()> {
    let echo = Component::new("echo", Echo::TYPE);
    serve(Sidecar::builder("bench").binding::<Echo>().component(echo)).await
}

/// The same over gRPC.
pub(super) async fn echo_over_grpc() -> io::Result<()> {
    let echo = Component::new("echo", Echo::TYPE);
    let builder = Sidecar::builder("bench").binding::<Echo>().component(echo);
    let builder = builder.configure(|config| config.grpc = Some(GrpcConfig::port(0)));
    let sidecar = builder.listen(0).start().await.map_err(io::Error::other)?;
    sidecar.wait_until_ready().await;
    until_unwanted(sidecar.grpc_addresses()[0].port()).await;
    sidecar.shutdown().await;
    Ok(())
}

/// With an output that calls an upstream.
pub(super) async fn http(to: u16) -> io::Result<()> {
    let url = format!("http://127.0.0.1:{to}/");
    let http = Component::new("http", "bindings.http").set("url", url);
    serve(Sidecar::builder("bench").component(http)).await
}

async fn serve(builder: Builder) -> io::Result<()> {
    let sidecar = builder.listen(0).start().await.map_err(io::Error::other)?;
    sidecar.wait_until_ready().await;
    until_unwanted(sidecar.http_addresses()[0].port()).await;
    sidecar.shutdown().await;
    Ok(())
}

/// With an input that sends its events to an app. It ends the process by itself.
pub(super) async fn log(to: u16) -> io::Result<()> {
    let log = Component::new("log", Log::TYPE).input();
    let sidecar = Sidecar::builder("bench")
        .binding::<Log>()
        .component(log)
        .app(AppConfig {
            fetch_config: false,
            ..AppConfig::port(to)
        })
        .start()
        .await
        .map_err(io::Error::other)?;
    sidecar.wait_until_ready().await;
    println!("0");
    std::future::pending().await
}
