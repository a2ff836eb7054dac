//! The sidecar on its own: what `daprd` is.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use bindery_contract::Clock;
use bindery_contract::settings::GoDuration;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};
use http::Method;

use super::client;
use super::find::Place;
use super::flags::{self, SidecarFlags};
use super::notify::Systemd;
use super::signals::{Came, Signals};
use crate::http::DAPR_VERSION;
use crate::sidecar::{Builder, Drained, Shutdown, Sidecar};
use crate::telemetry::log;

/// How long a forced shutdown lets the answer to whoever asked for it take.
const FORCED_AFTER: Duration = Duration::from_millis(100);
/// How long `--wait` waits (runtime §6.9).
const WAIT: Duration = Duration::from_secs(60);

/// The sidecar: Dapr's bindings for one app.
#[derive(Debug, Parser)]
#[command(
    name = "daprd",
    disable_version_flag = true,
    args_override_self = true,
    after_help = "\
Examples:
  daprd --app-id orders --app-port 5000 --resources-path ./components
  daprd --app-id orders --dapr-http-port 3501 --log-level debug --log-as-json"
)]
struct SidecarCli {
    #[command(flatten)]
    flags: SidecarFlags,
    /// Prints the version and ends.
    #[arg(long, action = ArgAction::SetTrue)]
    version: bool,
    /// Prints what this build is made of and ends.
    #[arg(long, action = ArgAction::SetTrue)]
    build_info: bool,
    /// Waits until a sidecar on --dapr-http-port can be called, at most a minute, and ends.
    #[arg(long, action = ArgAction::SetTrue)]
    wait: bool,
    /// Words that belong to no flag: the reference does not look at them.
    #[arg(hide = true)]
    leftover: Vec<String>,
}

/// How the command line is declared.
#[cfg(test)]
pub(super) fn command() -> clap::Command {
    SidecarCli::command()
}

/// Runs it until somebody ends it.
pub(super) fn main(arguments: Vec<OsString>) -> ExitCode {
    let matches = SidecarCli::command().get_matches_from(arguments);
    let cli = match SidecarCli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    if cli.version {
        println!("{DAPR_VERSION}");
        return ExitCode::SUCCESS;
    }
    if cli.build_info {
        println!(
            "Version: {}\nDapr: {DAPR_VERSION}",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::SUCCESS;
    }
    if cli.wait {
        return wait_for_sidecar(&match cli.flags.socket("http") {
            Some(file) => Place::Socket(file),
            None => Place::Port(cli.flags.dapr_http_port.positive().unwrap_or(3500)),
        });
    }
    for (flag, instead) in flags::deprecated(&matches) {
        eprintln!("Flag --{flag} has been deprecated, {instead}");
    }
    let (builder, block) = match prepare(&cli.flags) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let ineffective = flags::ineffective(&matches);
    if !ineffective.is_empty() {
        tracing::warn!(
            target: "dapr.runtime",
            "these flags have no effect in this version: --{}", ineffective.join(", --")
        );
    }
    if !cli.leftover.is_empty() {
        tracing::warn!(
            target: "dapr.runtime",
            "these words belong to no flag and are ignored: {}. A switch takes its value after \
             an equals sign: --enable-metrics=false", cli.leftover.join(" ")
        );
    }
    actix_rt::System::new().block_on(serve(builder, block))
}

/// What the flags come to, with the log set up as they say.
fn prepare(flags: &SidecarFlags) -> Result<(Builder, Option<Duration>), ExitCode> {
    let prepared = flags.log().and_then(|log| {
        let builder = flags.builder()?;
        Ok((log, builder, flags.block_shutdown()?))
    });
    match prepared {
        Ok((config, builder, block)) => match log::install(&config) {
            Ok(()) => Ok((builder, block)),
            Err(error) => {
                eprintln!("the log file cannot be opened: {error}");
                Err(ExitCode::FAILURE)
            }
        },
        Err(error) => {
            let _ = log::install(&log::LogConfig::default());
            Err(fatal(&error))
        }
    }
}

/// `--wait`: asks until the answer is 204. The exit code is 0 even when it never is.
fn wait_for_sidecar(place: &Place) -> ExitCode {
    let clock = Clock::system();
    let is_up = async || {
        let asking = client::ask(place, Method::GET, "/v1.0/healthz/outbound", "");
        let answer = clock.timeout(Duration::from_secs(1), asking).await;
        answer.is_some_and(|answer| answer.is_ok_and(|answer| answer.status == 204))
    };
    actix_rt::System::new().block_on(clock.timeout(WAIT, async {
        while !is_up().await {
            clock.sleep(Duration::from_millis(100)).await;
        }
    }));
    ExitCode::SUCCESS
}

/// The last line of a sidecar that cannot go on.
pub(super) fn fatal(error: &dyn std::fmt::Display) -> ExitCode {
    tracing::error!(target: "dapr.runtime", fatal = "yes", "Fatal error from runtime: {error}");
    ExitCode::FAILURE
}

async fn serve(builder: Builder, block: Option<Duration>) -> ExitCode {
    tracing::info!(
        target: "dapr.runtime",
        "Starting Dapr Runtime -- version {DAPR_VERSION} -- commit bindery-{}",
        env!("CARGO_PKG_VERSION")
    );
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fatal(&error),
    };
    let starting = builder.start();
    let sidecar = tokio::select! {
        started = starting => match started {
            Ok(sidecar) => sidecar,
            Err(error) => return fatal(&error),
        },
        // A signal while it starts is a clean end (runtime §9.1).
        _ = signals.end() => return ExitCode::SUCCESS,
    };
    let systemd = Systemd::from_environment();
    systemd.follow(&sidecar);
    let end = wait_for_the_end(&sidecar, &mut signals, &systemd).await;
    systemd.stopping().await;
    match end {
        End::Forced => return ExitCode::FAILURE,
        End::Asked => {}
        End::Signal => {
            if let Some(longest) = block {
                tokio::select! {
                    () = hold_back(&sidecar, longest) => {}
                    signal = signals.end() => return exit_at_once(signal),
                }
            }
        }
    }
    tokio::select! {
        outcome = sidecar.shutdown() => match outcome {
            Shutdown::Graceful => {
                tracing::info!(target: "dapr.runtime", "Daprd shutdown gracefully");
                ExitCode::SUCCESS
            }
            Shutdown::TimedOut => {
                fatal(&"Graceful shutdown timeout exceeded, forcing shutdown")
            }
        },
        signal = signals.end() => exit_at_once(signal),
    }
}

/// What `SIGHUP` asks for.
pub(super) async fn reload(sidecar: &Sidecar, systemd: &Systemd) {
    tracing::info!(target: "dapr.runtime", "Received signal 'hangup'; reading the files anew");
    systemd.reload(sidecar).await;
}

pub(super) fn exit_at_once(signal: Came) -> ExitCode {
    tracing::warn!(
        target: "dapr.runtime",
        "Received signal '{signal}' during shutdown; exiting immediately"
    );
    ExitCode::FAILURE
}

/// Lets the app go on with its calls for a while (runtime §9.2).
pub(super) async fn hold_back(sidecar: &Sidecar, longest: Duration) {
    let text = GoDuration::from(longest);
    tracing::info!(
        target: "dapr.runtime",
        "Blocking graceful shutdown for {text} or until app reports unhealthy..."
    );
    let why = match sidecar.drain(longest).await {
        Drained::Expired => "Block shutdown period expired, entering shutdown...",
        Drained::Unwell => "App reported unhealthy, entering shutdown...",
    };
    tracing::info!(target: "dapr.runtime", "{why}");
}

/// Why a sidecar ends.
enum End {
    /// A signal.
    Signal,
    /// The API.
    Asked,
    /// The API, and at once.
    Forced,
}

/// Waits until somebody wants it to end.
async fn wait_for_the_end(sidecar: &Sidecar, signals: &mut Signals, systemd: &Systemd) -> End {
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Came::Hangup => {
                    reload(sidecar, systemd).await;
                }
                signal => {
                    tracing::info!(
                        target: "dapr.runtime", "Received signal '{signal}'; beginning shutdown"
                    );
                    return End::Signal;
                }
            },
            request = sidecar.shutdown_requested() => {
                tracing::info!(target: "dapr.api", "Shutdown requested via API");
                if !request.force {
                    return End::Asked;
                }
                // The answer has to leave the process first (runtime §6.1).
                Clock::system().sleep(FORCED_AFTER).await;
                return End::Forced;
            }
        }
    }
}
