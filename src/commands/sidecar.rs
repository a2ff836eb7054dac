//! The sidecar on its own: what `daprd` is.

use std::process::ExitCode;

use super::flags::SidecarFlags;
use super::signals::Signals;
use crate::catalogue::Catalogue;
use crate::sidecar::{Config, Shutdown, Sidecar};
use crate::telemetry::log;

/// Runs it until somebody ends it.
pub(super) fn run(flags: SidecarFlags) -> ExitCode {
    let config = match flags.log().and_then(|log| Ok((log, flags.config()?))) {
        Ok((log, config)) => {
            if let Err(error) = log::install(&log) {
                eprintln!("the log file cannot be opened: {error}");
                return ExitCode::FAILURE;
            }
            config
        }
        Err(error) => {
            let _ = log::install(&log::LogConfig::default());
            return fatal(&error);
        }
    };
    actix_rt::System::new().block_on(serve(config))
}

/// The last line of a sidecar that cannot go on.
pub(super) fn fatal(error: &dyn std::fmt::Display) -> ExitCode {
    tracing::error!(target: "dapr.runtime", fatal = "yes", "Fatal error from runtime: {error}");
    ExitCode::FAILURE
}

async fn serve(config: Config) -> ExitCode {
    tracing::info!(
        target: "dapr.runtime",
        "Starting Dapr Runtime -- version {} -- commit {}",
        env!("CARGO_PKG_VERSION"), "bindery"
    );
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fatal(&error),
    };
    let catalogue = Catalogue::default();
    let starting = Sidecar::start(config, &catalogue);
    let mut sidecar = tokio::select! {
        started = starting => match started {
            Ok(sidecar) => sidecar,
            Err(error) => return fatal(&error),
        },
        // A signal while it starts is a clean end (runtime §9.1).
        _ = signals.next() => return ExitCode::SUCCESS,
    };
    tokio::select! {
        signal = signals.next() => tracing::info!(
            target: "dapr.runtime", "Received signal '{signal}'; beginning shutdown"
        ),
        request = sidecar.shutdown_requested() => {
            tracing::info!(target: "dapr.api", "Shutdown requested via API");
            if request.force {
                return ExitCode::FAILURE;
            }
        }
    }
    tokio::select! {
        outcome = sidecar.stop() => match outcome {
            Shutdown::Graceful => {
                tracing::info!(target: "dapr.runtime", "Daprd shutdown gracefully");
                ExitCode::SUCCESS
            }
            Shutdown::TimedOut => {
                fatal(&"Graceful shutdown timeout exceeded, forcing shutdown")
            }
        },
        signal = signals.next() => {
            tracing::warn!(
                target: "dapr.runtime",
                "Received signal '{signal}' during shutdown; exiting immediately"
            );
            ExitCode::FAILURE
        }
    }
}
