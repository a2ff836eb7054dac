//! The suite's own sidecar: the library, with bindings that are made to be hurt.

mod hurt;
mod log;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bindery::Sidecar;
use bindery::sidecar::{AppConfig, Shutdown};
use bindery::telemetry::log as telemetry;
use tokio::signal::unix::{SignalKind, signal};

use self::hurt::{CORE, Echo, Killer, Panics};
use self::log::Log;

/// What it is started with; this program starts it itself.
#[derive(Debug, clap::Args)]
pub struct SidecarArgs {
    /// Where its API listens.
    #[arg(long)]
    http_port: u16,
    /// Where the app listens; none without.
    #[arg(long)]
    app_port: Option<u16>,
    /// The folder of its YAML files.
    #[arg(long)]
    resources: PathBuf,
    /// How many seconds a shutdown may take.
    #[arg(long, default_value_t = 5)]
    grace: u64,
}

/// Runs it until a signal.
pub fn serve(args: &SidecarArgs) -> ExitCode {
    // Without a log it is still a sidecar.
    let _ = telemetry::install(&telemetry::LogConfig::default());
    actix_rt::System::new().block_on(async {
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            return ExitCode::FAILURE;
        };
        let mut builder = Sidecar::builder("faults")
            .binding::<Log>()
            .binding::<Killer>()
            .binding::<Panics>()
            .binding::<Echo>()
            .resources(&args.resources)
            .listen(args.http_port)
            .configure(|config| config.grace = Some(Duration::from_secs(args.grace)));
        if let Some(port) = args.app_port {
            builder = builder.app(AppConfig::port(port));
        }
        let sidecar = match builder.start().await {
            Ok(sidecar) => sidecar,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        // Set once: there is one sidecar in this process.
        let _ = CORE.set(Arc::clone(sidecar.core()));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        match sidecar.shutdown().await {
            Shutdown::Graceful => ExitCode::SUCCESS,
            Shutdown::TimedOut => ExitCode::FAILURE,
        }
    })
}
