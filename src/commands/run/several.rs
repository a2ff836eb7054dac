//! `bindery run -f`: the apps of a run file, each beside its sidecar in a `bindery run` of its own.
//!
//! All sidecars come up first; when one does not, no app is started. An app that ends by itself
//! leaves the others alone; when anything else happens to one, all are ended.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::rc::Rc;

use bindery_contract::Clock;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::app::process;
use super::file::{self, AppToRun, RunFile};
use super::leader::{self, Report};
use super::lines::{self, plain, prefix};
use super::logs::{self, Log};
use crate::commands::notify;
use crate::commands::signals::{Came, Signals};

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

fn say(line: &str) {
    lines::print(&prefix("BINDERY", "36"), line.as_bytes());
}

/// What happened to one of them.
enum News {
    Reported(Report),
    Exited(ExitStatus),
}

/// One app with its sidecar.
struct Member {
    id: String,
    input: Option<ChildStdin>,
    signals: UnboundedSender<Signal>,
    sidecar: Rc<RefCell<Log>>,
    /// The app's process group.
    app: Option<Pid>,
    is_up: bool,
    /// The last word about its end.
    last: Option<Report>,
    has_exited: bool,
}

/// All of them.
struct Group {
    members: Vec<Member>,
    news: UnboundedReceiver<(usize, News)>,
    all_up: bool,
    /// How often they were told to end.
    told: usize,
    /// The first exit code that is not 0.
    code: u8,
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
        members.push(Member {
            id: app.id.clone(),
            input: child.stdin.take(),
            signals,
            sidecar: Rc::clone(&sidecar),
            app: None,
            is_up: false,
            last: None,
            has_exited: false,
        });
        let news = sender.clone();
        let tell = move |what| drop(news.send((number, what)));
        actix_rt::spawn(follow(child, orders, app_log, sidecar, tell));
        say(&describe(app));
    }
    let group = Group {
        members,
        news,
        all_up: false,
        told: 0,
        code: 0,
    };
    Ok((group, signals))
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

impl Member {
    /// Its process has ended without a word: its app must not outlive it.
    fn fail(&mut self, status: ExitStatus, all_up: bool) {
        if let Some(app) = self.app.take() {
            let _ = kill_process_group(app, Signal::KILL);
        }
        let what = match status.signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None if all_up => "failed".to_owned(),
            None => "did not start, so no app is started".to_owned(),
        };
        let prefix = prefix(&format!("BINDERY - {}", self.id), "31");
        self.sidecar.borrow_mut().show_recent(&prefix);
        say(&format!("{}: the sidecar {what}", self.id));
    }
}

impl Group {
    /// Goes on until the last one has ended.
    async fn follow(mut self, mut signals: Signals) -> ExitCode {
        while self.members.iter().any(|member| !member.has_exited) {
            tokio::select! {
                Some((number, news)) = self.news.recv() => match news {
                    News::Reported(report) => self.reported(number, report).await,
                    News::Exited(status) => self.exited(number, status),
                },
                signal = signals.next() => match signal {
                    // Before, it would end who does not listen yet.
                    Came::Hangup if self.all_up => {
                        say("reading the files anew");
                        self.signal(Signal::HUP, |_| true);
                    }
                    Came::Hangup => {}
                    _ => self.end(),
                },
            }
        }
        ExitCode::from(self.code)
    }

    async fn reported(&mut self, number: usize, report: Report) {
        let member = &mut self.members[number];
        match report {
            Report::Up => {
                member.is_up = true;
                if self.told == 0 && self.members.iter().all(|member| member.is_up) {
                    self.go().await;
                }
            }
            Report::App(id) => member.app = process(id),
            Report::Ended | Report::Asked => {
                member.last = Some(report);
                if report == Report::Asked && self.told == 0 {
                    say(&format!("{} was asked to end, so all end", member.id));
                    self.end();
                }
            }
        }
    }

    /// All sidecars are up: the apps may start.
    async fn go(&mut self) {
        self.all_up = true;
        for member in &mut self.members {
            if let Some(input) = &mut member.input {
                // One that has died meanwhile tells of it itself.
                let _ = input.write_all(leader::GO).await;
            }
        }
        say("all sidecars are up; Ctrl-C ends them and the apps");
    }

    fn exited(&mut self, number: usize, status: ExitStatus) {
        let told = self.told > 0;
        let others = if told || self.members.len() == 1 {
            ""
        } else {
            "; the others go on"
        };
        let member = &mut self.members[number];
        member.has_exited = true;
        let code = status
            .code()
            .map_or(1, |code| u8::try_from(code).unwrap_or(1));
        match member.last {
            Some(report) if status.code().is_some() => {
                if report == Report::Ended {
                    say(&format!(
                        "{}: the app has ended, exit code {code}{others}",
                        member.id
                    ));
                }
                // So says Java that it ended because it was told to.
                let as_told = told && (code == 128 + 15 || code == 128 + 2);
                self.count(if as_told { 0 } else { code });
            }
            // It was told before it could listen.
            _ if told && status.signal() == Some(Signal::TERM.as_raw()) => {}
            _ => {
                member.fail(status, self.all_up);
                self.count(code);
                if !told {
                    self.end();
                }
            }
        }
    }

    fn count(&mut self, code: u8) {
        if self.code == 0 {
            self.code = code;
        }
    }

    /// Ends all: gracefully when told once, at once when told again, by force when told a third
    /// time.
    fn end(&mut self) {
        self.told += 1;
        let signal = if self.told < 3 {
            Signal::TERM
        } else {
            Signal::KILL
        };
        // Who ends already takes a signal for an order to end at once.
        let again = self.told > 1;
        self.signal(signal, |member| again || member.last.is_none());
    }

    fn signal(&self, signal: Signal, whom: impl Fn(&Member) -> bool) {
        let members = self.members.iter().filter(|member| !member.has_exited);
        for member in members.filter(|member| whom(member)) {
            let _ = member.signals.send(signal);
        }
    }
}
