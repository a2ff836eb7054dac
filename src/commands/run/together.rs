//! One app and its sidecar, until one of them ends.

use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use bindery_contract::Clock;

use super::app::App;
use super::leader::{Leader, Report};
use super::lines::prefix;
use crate::commands::flags::{FlagError, Port, SidecarFlags};
use crate::commands::notify::Systemd;
use crate::commands::sidecar::{exit_at_once, fatal, hold_back, reload};
use crate::commands::signals::{Came, Signals};
use crate::sidecar::{Builder, Shutdown, Sidecar};
use crate::telemetry::log;

/// How long the app may take to end after it was asked to.
const APP_GRACE: Duration = Duration::from_secs(10);

/// Runs both until one of them ends; the exit code is the app's.
pub(super) fn run(mut sidecar: SidecarFlags, command: Vec<String>) -> ExitCode {
    if sidecar.app_id.is_empty() {
        // The CLI makes one up as well.
        sidecar.app_id = format!("app-{}", std::process::id());
    }
    // As the CLI does it: several apps may run here, and nobody has told them apart.
    sidecar.metrics_port.get_or_insert(Port(Some(0)));
    let prefix = if command.is_empty() {
        String::new()
    } else {
        prefix("BINDERY", "36")
    };
    let prepared = sidecar.log().and_then(|log| {
        let builder = sidecar.builder()?;
        Ok((log, builder, sidecar.block_shutdown()?))
    });
    let (builder, block) = match prepared {
        Ok((log, builder, block)) => {
            if let Err(error) = log::install(&log::LogConfig { prefix, ..log }) {
                eprintln!("the log file cannot be opened: {error}");
                return ExitCode::FAILURE;
            }
            (builder, block)
        }
        Err(FlagError(problem)) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    actix_rt::System::new().block_on(async {
        let mut both = Both {
            flags: sidecar,
            command,
            block,
            leader: Leader::from_environment(),
            clock: Clock::system(),
        };
        both.serve(builder).await
    })
}

/// What is known of both before they start.
struct Both {
    flags: SidecarFlags,
    command: Vec<String>,
    /// How long the sidecar waits for the app after a signal.
    block: Option<Duration>,
    leader: Leader,
    clock: Clock,
}

/// Why both end.
#[derive(Clone, Copy)]
enum End {
    /// The app has ended by itself.
    App(ExitStatus),
    /// A signal, or the end of whoever started this process.
    Signal,
    /// The API.
    Asked,
}

impl Both {
    async fn serve(&mut self, builder: Builder) -> ExitCode {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => return fatal(&error),
        };
        let sidecar = tokio::select! {
            started = builder.start() => match started {
                Ok(sidecar) => sidecar,
                Err(error) => return fatal(&error),
            },
            _ = signals.end() => {
                self.leader.tell(Report::Asked);
                return ExitCode::SUCCESS;
            }
        };
        self.leader.tell(Report::Up);
        let may_start = tokio::select! {
            may_start = self.leader.go() => may_start,
            _ = signals.end() => false,
        };
        let app = if may_start {
            self.start_app(&sidecar)
        } else {
            self.leader.tell(Report::Asked);
            sidecar.shutdown().await;
            return ExitCode::SUCCESS;
        };
        let mut app = match app {
            Ok(app) => app,
            Err(error) => return fatal(&error),
        };
        let systemd = Systemd::from_environment();
        systemd.follow(&sidecar);
        let end = self.wait(&sidecar, &mut app, &mut signals, &systemd).await;
        systemd.stopping().await;
        if !matches!(end, End::App(_)) {
            self.leader.tell(Report::Asked);
        }
        tokio::select! {
            code = self.stop(&sidecar, &mut app, end) => code,
            signal = signals.end() => {
                app.sweep();
                exit_at_once(signal)
            }
        }
    }

    fn start_app(&self, sidecar: &Sidecar) -> std::io::Result<App> {
        let mut environment = environment(sidecar, &self.flags);
        environment.extend(self.leader.variables());
        let app = App::start(&self.command, environment, &prefix("APP", "33"))?;
        if let Some(id) = app.id() {
            self.leader.tell(Report::App(id));
        }
        Ok(app)
    }

    /// Waits until somebody wants it to end.
    async fn wait(
        &mut self,
        sidecar: &Sidecar,
        app: &mut App,
        signals: &mut Signals,
        systemd: &Systemd,
    ) -> End {
        loop {
            tokio::select! {
                status = app.ended() => return End::App(status),
                signal = signals.next() => match signal {
                    Came::Hangup => reload(sidecar, systemd).await,
                    signal => {
                        tracing::info!(
                            target: "dapr.runtime", "Received signal '{signal}'; beginning shutdown"
                        );
                        return End::Signal;
                    }
                },
                _ = sidecar.shutdown_requested() => return End::Asked,
                () = self.leader.gone() => return End::Signal,
            }
        }
    }

    /// The app first has its say: it may still need the sidecar to end well.
    async fn stop(&self, sidecar: &Sidecar, app: &mut App, end: End) -> ExitCode {
        let status = match (end, self.block) {
            (End::App(status), _) => Some(status),
            (End::Signal, Some(longest)) if app.id().is_some() => {
                self.stop_slowly(sidecar, app, longest).await
            }
            (End::Signal, Some(longest)) => {
                hold_back(sidecar, longest).await;
                None
            }
            _ => app.stop(&self.clock, APP_GRACE).await,
        };
        app.sweep();
        app.last_words(&self.clock).await;
        let outcome = sidecar.shutdown().await;
        if matches!(end, End::App(_)) {
            self.leader.tell(Report::Ended);
        }
        match status {
            Some(status) => exit_code(status),
            None if outcome == Shutdown::Graceful => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        }
    }

    /// The inputs stop at once; the app may go on with its calls for as long as the shutdown is
    /// held back.
    async fn stop_slowly(
        &self,
        sidecar: &Sidecar,
        app: &mut App,
        longest: Duration,
    ) -> Option<ExitStatus> {
        let ending = app.stop(&self.clock, longest.max(APP_GRACE));
        tokio::pin!(ending);
        tokio::select! {
            status = &mut ending => status,
            () = hold_back(sidecar, longest) => ending.await,
        }
    }
}

/// What the app finds in its environment, as Dapr's CLI sets it.
fn environment(sidecar: &Sidecar, flags: &SidecarFlags) -> Vec<(String, String)> {
    let mut environment = vec![
        ("APP_ID", flags.app_id.clone()),
        ("APP_CHANNEL_ADDRESS", flags.app_channel_address.clone()),
        ("APP_PROTOCOL", flags.app_protocol.to_ascii_lowercase()),
    ];
    for (name, addresses) in [
        ("DAPR_HTTP_PORT", sidecar.http_addresses()),
        ("DAPR_GRPC_PORT", sidecar.grpc_addresses()),
        ("DAPR_METRICS_PORT", sidecar.metrics_addresses()),
    ] {
        let ports = addresses.iter().map(|address| address.port().to_string());
        environment.extend(ports.take(1).map(|port| (name, port)));
    }
    if let Some(file) = flags.socket("grpc") {
        let file = std::path::absolute(&file).unwrap_or(file);
        environment.push(("DAPR_GRPC_ENDPOINT", format!("unix://{}", file.display())));
    }
    if let Some(app_port) = flags.app_port.positive() {
        environment.push(("APP_PORT", app_port.to_string()));
    }
    let named = environment.into_iter();
    named
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}
