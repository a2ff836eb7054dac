//! `bindery run -f`: the apps of a run file, each beside its sidecar in a `bindery run` of its own.
//!
//! All sidecars come up first; when one does not, no app is started. An app that ends by itself
//! leaves the others alone; when anything else happens to one, all are ended.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::rc::Rc;

use bindery_contract::Clock;
use rustix::process::{Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::app::process;
use super::file::{self, AppToRun, RunFile};
use super::group::{Group, Member, News};
use super::leader;
use super::lines::{self, plain, prefix, say};
use super::logs::{self, Log};
use crate::commands::notify;
use crate::commands::signals::Signals;

/// Colours of the apps' prefixes, in turn.
const COLOURS: [&str; 5] = ["33", "35", "32", "34", "31"];
/// Ports that every sidecar has.
const PORTS: [&str; 3] = ["dapr-http-port", "dapr-grpc-port", "metrics-port"];

/// Runs them all.
pub(super) fn run(path: &Path) -> ExitCode {
    let file = match file::read(path) {
        Ok(file) => file,
        Err(mistakes) => {
            for mistake in &mistakes.found {
                eprintln!("error: {mistake}");
            }
            return ExitCode::from(mistakes.code);
        }
    };
    for warning in &file.warnings {
        eprintln!("warning: {warning}");
    }
    actix_rt::System::new().block_on(async {
        match start(file) {
            Ok((group, signals)) => group.follow(signals).await,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// Starts them, within a runtime.
fn start(file: RunFile) -> std::io::Result<(Group, Signals)> {
    let signals = Signals::new()?;
    let mut apps = file.apps;
    fill_in_ports(&mut apps)?;
    let stamp = logs::stamp(Clock::system().wall());
    let with_colours = apps.iter().zip(COLOURS.iter().cycle());
    let logs = with_colours.map(|(app, colour)| open_logs(app, colour, &stamp));
    // All of them before anything is started.
    let logs = logs.collect::<std::io::Result<Vec<_>>>()?;
    let program = std::env::current_exe()?;
    let (sender, news) = mpsc::unbounded_channel();
    let mut members = Vec::new();
    for (number, (app, (sidecar, app_log))) in apps.iter().zip(logs).enumerate() {
        let mut child = command(&program, app).spawn().map_err(|error| {
            let problem = format!("the sidecar of {} cannot be started: {error}", app.id);
            std::io::Error::new(error.kind(), problem)
        })?;
        let (signals, orders) = mpsc::unbounded_channel();
        let sidecar = Rc::new(RefCell::new(sidecar));
        members.push(Member::new(
            app.id.clone(),
            child.stdin.take(),
            signals,
            Rc::clone(&sidecar),
        ));
        let news = sender.clone();
        let tell = move |what| drop(news.send((number, what)));
        actix_rt::spawn(follow(child, orders, app_log, sidecar, tell));
        say(&describe(app));
    }
    Ok((Group::new(members, news), signals))
}

/// Where the lines of the sidecar go, and those of the app, if it has one.
fn open_logs(app: &AppToRun, colour: &str, stamp: &str) -> std::io::Result<(Log, Option<Log>)> {
    let folder = logs::folder(&app.folder);
    let open = |destination, who: &str, file: &str| {
        let prefix = prefix(&format!("{who} - {}", app.id), colour);
        let name = format!("{}_{file}_{stamp}.log", app.id);
        Log::open(destination, prefix, &folder, &name)
    };
    let sidecar = open(app.sidecar_log, "BINDERY", "daprd")?;
    let of_app = match app.command.first() {
        Some(_) => Some(open(app.app_log, "APP", "app")?),
        None => None,
    };
    Ok((sidecar, of_app))
}

fn describe(app: &AppToRun) -> String {
    let place = match app.flag("unix-domain-socket") {
        Some(folder) => format!("sockets in {folder}"),
        None => format!(
            "HTTP port {}, gRPC port {}",
            app.flag("dapr-http-port").unwrap_or_default(),
            app.flag("dapr-grpc-port").unwrap_or_default()
        ),
    };
    let only = if app.command.is_empty() {
        "; the sidecar only, as there is no command"
    } else {
        ""
    };
    let logs = logs::folder(&app.folder);
    format!("{}: {place}, logs in {}{only}", app.id, logs.display())
}

/// Ports of their own for those that name none. All are held until each is known, so that no two
/// are the same, and those that are named are free.
fn fill_in_ports(apps: &mut [AppToRun]) -> std::io::Result<()> {
    let named: HashSet<String> = apps
        .iter()
        .flat_map(|app| app.ports.iter().map(|(_, port)| port.clone()))
        .collect();
    let mut held = Vec::new();
    for app in apps {
        let of_sidecar = app.ports.iter().filter(|(key, _)| *key != "appPort");
        for (key, port) in of_sidecar {
            // A sidecar would wait for it, and say so in its own log only.
            let listener = TcpListener::bind(format!("127.0.0.1:{port}")).map_err(|error| {
                let problem = format!(
                    "{}: port {port} cannot be had: {error}. Choose another {key}, or leave it out",
                    app.id
                );
                std::io::Error::new(error.kind(), problem)
            })?;
            held.push(listener);
        }
        for flag in PORTS {
            while app.flag(flag).is_none() {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let port = listener.local_addr()?.port().to_string();
                if !named.contains(&port) {
                    app.flags.push((flag, port));
                }
                held.push(listener);
            }
        }
    }
    Ok(())
}

fn command(program: &Path, app: &AppToRun) -> Command {
    let mut command = Command::new(program);
    command.arg0("bindery").arg("run");
    for (flag, value) in &app.flags {
        command.arg(format!("--{flag}={value}"));
    }
    if !app.command.is_empty() {
        command.arg("--").args(&app.command);
    }
    for variable in notify::VARIABLES {
        command.env_remove(variable);
    }
    let variables = serde_json::to_string(&app.env).unwrap_or_default();
    command
        .env(leader::VARIABLE, variables)
        .current_dir(&app.folder)
        // Ctrl-C is for us to pass on, once.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Reads what one prints, passes signals on to it, and tells of its end.
async fn follow(
    mut child: Child,
    mut orders: UnboundedReceiver<Signal>,
    mut app: Option<Log>,
    sidecar: Rc<RefCell<Log>>,
    tell: impl Fn(News) + 'static,
) {
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let both = async {
        let (app_prefix, sidecar_prefix) = (plain("APP"), plain("BINDERY"));
        let printed = async {
            let Some(output) = output else { return };
            lines::each(output, |line| {
                let of = |prefix: &str| line.strip_prefix(prefix.as_bytes());
                if let Some(report) = of(leader::REPORT) {
                    let report = std::str::from_utf8(report).unwrap_or_default();
                    if let Ok(report) = report.parse() {
                        tell(News::Reported(report));
                    }
                } else if let (Some(line), Some(app)) = (of(&app_prefix), &mut app) {
                    app.take(line);
                } else {
                    sidecar
                        .borrow_mut()
                        .take(of(&sidecar_prefix).unwrap_or(line));
                }
            })
            .await;
        };
        let complained = async {
            let Some(errors) = errors else { return };
            lines::each(errors, |line| sidecar.borrow_mut().take(line)).await;
        };
        tokio::join!(printed, complained);
    };
    let ended = async {
        loop {
            tokio::select! {
                status = child.wait() => return status.unwrap_or_default(),
                Some(signal) = orders.recv() => {
                    // It has not been waited for, so the number is still its own.
                    if let Some(id) = child.id().and_then(process) {
                        let _ = kill_process(id, signal);
                    }
                }
            }
        }
    };
    let (status, ()) = tokio::join!(ended, both);
    tell(News::Exited(status));
}
