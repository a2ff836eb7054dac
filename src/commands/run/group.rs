//! What becomes of all when something happens to one of the apps of a run file.

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::rc::Rc;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::app::process;
use super::leader::{self, Report};
use super::lines::{prefix, say};
use super::logs::Log;
use crate::commands::signals::{Came, Signals};

/// What happened to one of them.
pub(super) enum News {
    Reported(Report),
    Exited(ExitStatus),
}

/// One app with its sidecar.
pub(super) struct Member {
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
pub(super) struct Group {
    members: Vec<Member>,
    news: UnboundedReceiver<(usize, News)>,
    all_up: bool,
    /// How often they were told to end.
    told: usize,
    /// The first exit code that is not 0.
    code: u8,
}

impl Member {
    /// One that has just been started: how it is told things, and where its sidecar's lines go.
    pub(super) fn new(
        id: String,
        input: Option<ChildStdin>,
        signals: UnboundedSender<Signal>,
        sidecar: Rc<RefCell<Log>>,
    ) -> Self {
        Self {
            id,
            input,
            signals,
            sidecar,
            app: None,
            is_up: false,
            last: None,
            has_exited: false,
        }
    }

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
    /// All of them, and what is heard of them, by their place in the list.
    pub(super) fn new(members: Vec<Member>, news: UnboundedReceiver<(usize, News)>) -> Self {
        Self {
            members,
            news,
            all_up: false,
            told: 0,
            code: 0,
        }
    }

    /// Goes on until the last one has ended.
    pub(super) async fn follow(mut self, mut signals: Signals) -> ExitCode {
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
