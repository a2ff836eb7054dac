//! `bindery run`: the sidecar and the app together, as Dapr's CLI runs them.

use std::io::IsTerminal;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use bindery_contract::Clock;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::flags::{FlagError, Port, SidecarFlags};
use super::notify::{self, Systemd};
use super::sidecar::fatal;
use super::signals::Signals;
use crate::sidecar::{Builder, Shutdown, Sidecar};
use crate::telemetry::log;

/// How long the app may take to end after it was asked to.
const APP_GRACE: Duration = Duration::from_secs(10);

/// Arguments of `bindery run`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery run --app-id orders --app-port 5000 --resources-path ./components -- python3 app.py
  bindery run --app-id orders --resources-path ./components")]
pub(super) struct RunArgs {
    #[command(flatten)]
    sidecar: SidecarFlags,
    /// The app's command, after two dashes. Without one, only the sidecar runs.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs both until one of them ends; the exit code is the app's.
pub(super) fn run(arguments: RunArgs) -> ExitCode {
    let RunArgs {
        mut sidecar,
        command,
    } = arguments;
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
    let builder = match sidecar.log().and_then(|log| Ok((log, sidecar.builder()?))) {
        Ok((log, builder)) => {
            if let Err(error) = log::install(&log::LogConfig { prefix, ..log }) {
                eprintln!("the log file cannot be opened: {error}");
                return ExitCode::FAILURE;
            }
            builder
        }
        Err(FlagError(problem)) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    actix_rt::System::new().block_on(serve(builder, sidecar, command))
}

async fn serve(builder: Builder, flags: SidecarFlags, command: Vec<String>) -> ExitCode {
    let clock = Clock::system();
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fatal(&error),
    };
    let sidecar = match builder.start().await {
        Ok(sidecar) => sidecar,
        Err(error) => return fatal(&error),
    };
    let mut app = match start_app(&sidecar, &flags, &command) {
        Ok(app) => app,
        Err(error) => return fatal(&error),
    };
    let systemd = Systemd::from_environment();
    systemd.follow(&sidecar);
    let ended = tokio::select! {
        status = app.ended() => Some(status),
        signal = signals.next() => {
            tracing::info!(target: "dapr.runtime", "Received signal '{signal}'; beginning shutdown");
            None
        }
        _ = sidecar.shutdown_requested() => None,
    };
    systemd.stopping().await;
    // The app first has its say: it may still need the sidecar to end well.
    let status = match ended {
        Some(status) => Some(status),
        None => app.stop(&clock).await,
    };
    app.sweep();
    let outcome = sidecar.shutdown().await;
    match status {
        Some(status) => exit_code(status),
        None if outcome == Shutdown::Graceful => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

/// The app's process and everything that it started: a process group of its own, so that
/// nothing is left behind.
struct App {
    child: Option<Child>,
    group: Option<Pid>,
}

fn start_app(sidecar: &Sidecar, flags: &SidecarFlags, command: &[String]) -> std::io::Result<App> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(App {
            child: None,
            group: None,
        });
    };
    let mut command = Command::new(program);
    for variable in notify::VARIABLES {
        command.env_remove(variable);
    }
    let mut child = command
        .args(arguments)
        .envs(environment(sidecar, flags))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            let reason = format!("the app could not be started: {program}: {error}");
            std::io::Error::new(error.kind(), reason)
        })?;
    let prefix = prefix("APP", "33");
    if let Some(output) = child.stdout.take() {
        actix_rt::spawn(forward(output, prefix.clone()));
    }
    if let Some(output) = child.stderr.take() {
        actix_rt::spawn(forward(output, prefix));
    }
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    Ok(App {
        child: Some(child),
        group,
    })
}

/// What the app finds in its environment, as Dapr's CLI sets it.
fn environment(sidecar: &Sidecar, flags: &SidecarFlags) -> Vec<(&'static str, String)> {
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
    environment
}

/// Coloured on a terminal only.
fn prefix(name: &str, colour: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
    {
        format!("\u{1b}[{colour}m== {name} ==\u{1b}[0m ")
    } else {
        format!("== {name} == ")
    }
}

async fn forward(output: impl AsyncRead + Unpin, prefix: String) {
    use std::io::Write as _;
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|length| length > 0)
    {
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        let mut whole = prefix.clone().into_bytes();
        whole.append(&mut line);
        let _ = std::io::stdout().lock().write_all(&whole);
    }
}

impl App {
    async fn ended(&mut self) -> ExitStatus {
        match &mut self.child {
            Some(child) => match child.wait().await {
                Ok(status) => status,
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Asks it to end, and makes it when it does not.
    async fn stop(&mut self, clock: &Clock) -> Option<ExitStatus> {
        self.child.as_ref()?;
        self.signal(Signal::TERM);
        match clock.timeout(APP_GRACE, self.ended()).await {
            // Ended because we asked: that is no failure of the app.
            Some(status) => status.code().map(|_| status),
            None => None,
        }
    }

    /// Ends whatever the app has left behind.
    fn sweep(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An empty group is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}
