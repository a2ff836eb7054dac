//! Log lines as the reference writes them (runtime §6.8), so that what reads them goes on
//! working: logfmt by default, JSON on demand, to standard output or a file.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use bindery_actors::Pulse;
use bindery_contract::Clock;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::api_log::SCOPES;
use super::repeats::{Repeats, Said};

/// The marker field of a line that ends the process: its level reads `fatal`.
pub const FATAL: &str = "fatal";

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What should not happen.
    Warn,
    /// What went wrong.
    Error,
    /// Only what ends the process.
    Fatal,
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            "fatal" => Ok(Self::Fatal),
            _ => Err(format!(
                "invalid value for --log-level: {text} (debug, info, warn, error or fatal)"
            )),
        }
    }
}

/// How the log is set up.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// How much.
    pub level: LogLevel,
    /// One JSON object a line.
    pub json: bool,
    /// Appended to instead of standard output.
    pub file: Option<std::path::PathBuf>,
    /// `app_id` of every line.
    pub app_id: String,
    /// Put before every line.
    pub prefix: String,
}

/// Installs the log for this process. Only a binary does this, never the library.
///
/// # Errors
/// When the log file cannot be opened.
pub fn install(config: &LogConfig) -> io::Result<()> {
    let output = match &config.file {
        None => Output::Stdout,
        Some(path) => Output::File(Mutex::new(open(path)?)),
    };
    let ours = match config.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
    };
    // Libraries speak only when something is wrong.
    let targets = Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_target("dapr", ours)
        .with_target("bindery", ours)
        .with_targets(SCOPES.map(|scope| (scope, LevelFilter::INFO)));
    let lines = Lines {
        json: config.json,
        fatal_only: config.level == LogLevel::Fatal,
        app_id: config.app_id.clone(),
        instance: hostname(),
        prefix: config.prefix.clone(),
        output,
        clock: Clock::system(),
        repeats: Mutex::default(),
    };
    // A second sidecar of the same process keeps the first one's log.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .try_init();
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

enum Output {
    Stdout,
    File(Mutex<File>),
}

struct Lines {
    json: bool,
    fatal_only: bool,
    app_id: String,
    instance: String,
    prefix: String,
    output: Output,
    clock: Clock,
    repeats: Mutex<Repeats>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let fatal = fields.values.remove(FATAL).is_some();
        if self.fatal_only && !fatal && !SCOPES.contains(&event.metadata().target()) {
            return;
        }
        let level = *event.metadata().level();
        let (scope, component) = scope(event.metadata().target());
        let mut more = fields.values;
        let said = Said {
            level: if fatal { FATAL } else { level_name(level) },
            scope,
            component,
            message: fields.message,
        };
        let may_collapse = !fatal && level <= Level::WARN;
        let (expired, count) = self.repeats(&said, may_collapse);
        for (said, count) in expired {
            let repeated = BTreeMap::from([("repeated", count.into())]);
            self.write(&self.line(said, repeated));
        }
        match count {
            None => return,
            Some(0) => {}
            Some(count) => drop(more.insert("repeated", count.into())),
        }
        self.write(&self.line(said, more));
    }
}

impl Lines {
    /// What became of lines that were only counted, and whether this one is written.
    fn repeats(&self, said: &Said, may_collapse: bool) -> (Vec<(Said, u64)>, Option<u64>) {
        let now = self.clock.now();
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        let count = if may_collapse {
            repeats.take(said, now)
        } else {
            Some(0)
        };
        (repeats.expired(now), count)
    }

    fn line(&self, said: Said, mut entries: BTreeMap<&'static str, Value>) -> String {
        entries.insert("app_id", self.app_id.clone().into());
        entries.insert("instance", self.instance.clone().into());
        entries.insert("scope", said.scope.into());
        entries.extend(
            said.component
                .map(|component| ("component", component.into())),
        );
        entries.insert("type", "log".into());
        entries.insert("ver", env!("CARGO_PKG_VERSION").into());
        let time = jiff::Timestamp::try_from(self.clock.wall())
            .unwrap_or_default()
            .to_string();
        let mut line = self.prefix.clone();
        if self.json {
            entries.insert("level", said.level.into());
            entries.insert("msg", said.message.into());
            entries.insert("time", time.into());
            line.push_str(&serde_json::to_string(&entries).unwrap_or_default());
        } else {
            let _ = write!(line, "time=\"{time}\" level={} msg=", said.level);
            push_value(&mut line, &said.message);
            for (key, value) in &entries {
                let _ = write!(line, " {key}=");
                match value {
                    Value::String(text) => push_value(&mut line, text),
                    number => drop(write!(line, "{number}")),
                }
            }
        }
        line.push('\n');
        line
    }
}

impl Lines {
    /// One write for each line, so that lines never mix. A log that cannot be written is no
    /// reason to stop working.
    fn write(&self, line: &str) {
        let _ = match &self.output {
            Output::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Output::File(file) => file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(line.as_bytes()),
        };
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// The reference's scope of a line, and the component whose code wrote it.
fn scope(target: &str) -> (String, Option<String>) {
    if target.starts_with("dapr.") {
        return (target.to_owned(), None);
    }
    match Pulse::running_here() {
        Some(component) => ("dapr.contrib".into(), Some(component.display().to_string())),
        None => (format!("dapr.runtime ({target})"), None),
    }
}

/// A value in logfmt: quoted when it has to be, as the reference's library does it.
fn push_value(line: &mut String, value: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for c in value.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(line, "\\x{:02x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[derive(Default)]
struct Fields {
    message: String,
    values: BTreeMap<&'static str, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => drop(self.values.insert(name, value.into())),
        }
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.values.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.values.insert(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_when_they_have_to_be() {
        let logfmt = |value: &str| {
            let mut line = String::new();
            push_value(&mut line, value);
            line
        };
        assert_eq!(logfmt("dapr.runtime"), "dapr.runtime");
        assert_eq!(logfmt(""), "\"\"");
        assert_eq!(logfmt("two words"), "\"two words\"");
        assert_eq!(logfmt("a \"b\"\nc"), "\"a \\\"b\\\"\\nc\"");
    }

    #[test]
    fn levels_are_known_in_any_case() {
        assert_eq!("WARN".parse(), Ok(LogLevel::Warn));
        assert!(
            "loud"
                .parse::<LogLevel>()
                .unwrap_err()
                .contains("--log-level: loud")
        );
    }
}
