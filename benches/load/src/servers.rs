//! The servers that are measured.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

use actix_web::{App, HttpResponse, HttpServer, web};
use bindery::{Component, Sidecar};
use bindery_contract::{
    Binding, Invocation, InvokeError, OpenContext, OpenError, Opened, Operation, Output, Reply,
};

/// A server.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Kind {
    /// A bare actix-web handler that answers what Bindery's echo answers.
    Bare,
    /// The sidecar, with an output that lives in the same process.
    Bindery,
}

/// Runs a server until its input is closed, which is when whoever started it is gone.
pub fn serve(kind: Kind) -> ExitCode {
    let served = actix_rt::System::new().block_on(async {
        match kind {
            Kind::Bare => bare().await,
            Kind::Bindery => bindery().await,
        }
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Says where it listens, and sleeps until nobody wants it any more.
async fn until_unwanted(port: u16) {
    println!("{port}");
    let waiting = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    let _ = waiting.await;
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A bare handler: takes the body, and answers a body of the same kind and length as the echo.
async fn answer(body: web::Bytes) -> HttpResponse {
    let start = body
        .iter()
        .rposition(|byte| *byte == b':')
        .map_or(0, |colon| colon + 1);
    let data = body.slice(start..body.len().saturating_sub(1).max(start));
    HttpResponse::Ok()
        .content_type("application/json")
        .body(data)
}

async fn bare() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let server = HttpServer::new(|| App::new().default_service(web::to(answer)))
        .workers(workers())
        .listen(listener)?
        .run();
    actix_rt::spawn(server);
    until_unwanted(port).await;
    Ok(())
}

/// Answers with what it is sent.
struct Echo;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct NoSettings {}

impl Binding for Echo {
    const TYPE: &'static str = "bindings.bench.echo";
    const SUMMARY: &'static str = "Answers with what it is sent.";
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "create",
        summary: "Answers with the request's data.",
    }];
    type Settings = NoSettings;

    async fn open(_: NoSettings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::per_thread(|_| async { Ok(Self) }))
    }
}

impl Output for Echo {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        Ok(Some(Reply::new(call.data)))
    }
}

async fn bindery() -> io::Result<()> {
    let sidecar = Sidecar::builder("bench")
        .binding::<Echo>()
        .component(Component::new("echo", Echo::TYPE))
        .listen(0)
        .start()
        .await
        .map_err(io::Error::other)?;
    sidecar.wait_until_ready().await;
    let port = sidecar.http_addresses()[0].port();
    until_unwanted(port).await;
    sidecar.shutdown().await;
    Ok(())
}
