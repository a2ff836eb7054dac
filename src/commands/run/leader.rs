//! How `bindery run -f` and the processes that it starts speak with each other: each is a
//! `bindery run` of one app that reports on its standard output, waits for a word on its standard
//! input before it starts the app, and ends when that is closed.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;
use std::str::FromStr;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::lines;

/// In the environment of a process that `bindery run -f` starts: the variables of its app, as
/// JSON. They are not the sidecar's.
pub(super) const VARIABLE: &str = "BINDERY_RUN_APP";
/// What is sent when the app may start.
pub(super) const GO: &[u8] = b"go\n";
/// What its reports begin with.
pub(super) const REPORT: &str = "== RUN == ";

/// What it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The sidecar is up; the app may start.
    Up,
    /// The app has started as the leader of this process group.
    App(u32),
    /// The app has ended by itself, and the sidecar with it.
    Ended,
    /// Somebody has asked for the end: by a signal, or over the API.
    Asked,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::App(id) => write!(f, "app {id}"),
            Self::Ended => f.write_str("ended"),
            Self::Asked => f.write_str("asked"),
        }
    }
}

impl FromStr for Report {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "up" => Ok(Self::Up),
            "ended" => Ok(Self::Ended),
            "asked" => Ok(Self::Asked),
            _ => {
                let id = text.strip_prefix("app ").ok_or(())?;
                id.parse().map(Self::App).map_err(|_| ())
            }
        }
    }
}

/// The `bindery run -f` that started this process, if one did.
pub(super) struct Leader {
    link: Option<Link>,
}

struct Link {
    /// `None` when it is closed.
    input: Option<pipe::Receiver>,
    variables: BTreeMap<String, String>,
}

impl Leader {
    /// As the environment and the standard input say.
    pub(super) fn from_environment() -> Self {
        let link = std::env::var(VARIABLE).ok().and_then(|variables| {
            let input = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
            Some(Link {
                input: Some(pipe::Receiver::from_owned_fd(input).ok()?),
                variables: serde_json::from_str(&variables).unwrap_or_default(),
            })
        });
        Self { link }
    }

    /// The variables of the app, which come before all others.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let link = self.link.as_ref();
        link.map(|link| link.variables.clone()).unwrap_or_default()
    }

    pub(super) fn tell(&self, report: Report) {
        if self.link.is_some() {
            lines::print(REPORT, report.to_string().as_bytes());
        }
    }

    /// Waits until the app may start; false when it never may.
    pub(super) async fn go(&mut self) -> bool {
        match &mut self.link {
            Some(link) => link.next().await.is_some(),
            None => true,
        }
    }

    /// Resolves when the process that started this one is gone.
    pub(super) async fn gone(&mut self) {
        match &mut self.link {
            Some(link) => while link.next().await.is_some() {},
            None => std::future::pending().await,
        }
    }
}

impl Link {
    async fn next(&mut self) -> Option<u8> {
        let byte = self.input.as_mut()?.read_u8().await;
        if byte.is_err() {
            self.input = None;
        }
        byte.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_is_written() {
        for report in [Report::Up, Report::App(12), Report::Ended, Report::Asked] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        assert_eq!("app x".parse::<Report>(), Err(()));
    }
}
