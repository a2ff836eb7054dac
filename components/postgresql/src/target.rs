//! Where to connect to and how: what the settings and the connection string say together.
//! Decided without the network and without reading a file.

use std::str::FromStr;
use std::time::Duration;

use bindery_contract::settings::{GoDuration, Secret, SettingsError};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode as Wire};

use crate::connection_string::{Keys, ParseError};
use crate::settings::{PostgresSettings, QueryExecMode};
use crate::sign_in::SignIn;

/// Keys that mean nothing here and do no harm.
const IGNORED: [&str; 8] = [
    "client_encoding",
    "description_cache_capacity",
    "fallback_application_name",
    "min_read_buffer_size",
    "pool_max_conn_lifetime_jitter",
    "pool_min_idle_conns",
    "sslcompression",
    "statement_cache_capacity",
];
/// Keys that would change how we sign in or how that is secured, and that cannot be honoured.
const UNSUPPORTED: [&str; 15] = [
    "gssencmode",
    "krbspn",
    "krbsrvname",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcrl",
    "sslnegotiation",
    "sslpassword",
];
/// Keys that the client library reads itself.
const LIBRARY: [&str; 17] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Everything that is decided before the first connection.
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) ssl: Ssl,
    pub(crate) limits: Limits,
    pub(crate) mode: QueryExecMode,
    /// How long making a connection may take.
    pub(crate) timeout: Duration,
    pub(crate) sign_in: SignIn,
    /// Keys of the connection string that mean nothing here.
    pub(crate) ignored: Vec<&'static str>,
}

/// How TLS is used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ssl {
    pub(crate) mode: SslMode,
    /// Path of the authorities' certificates; none means the system's.
    pub(crate) root_cert: Option<String>,
    /// Paths of our own certificate and its key.
    pub(crate) identity: Option<(String, String)>,
    pub(crate) no_server_name: bool,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    Allow,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// How many connections there are, and how long one lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// None: the default, which depends on the machine.
    pub(crate) max: Option<usize>,
    pub(crate) min: usize,
    pub(crate) lifetime: Duration,
    pub(crate) idle: Duration,
    pub(crate) check_every: Duration,
}

/// Why the settings can never work. Never shows a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error(
        "missing connection string: set connectionString (or url), or host with user, password and database"
    )]
    Missing,
    #[error("failed to parse connection string: {0}")]
    Unreadable(#[from] ParseError),
    #[error("failed to parse connection string: {}", bindery_contract::Chain(.0))]
    Library(#[from] tokio_postgres::Error),
    #[error("failed to parse connection string: {key} {problem}")]
    Value { key: &'static str, problem: String },
    #[error("failed to parse connection string: {0} is not supported")]
    Unsupported(&'static str),
    #[error(
        "failed to parse connection string: a key is neither libpq's nor the name of a server parameter"
    )]
    NoKey,
    #[error("invalid value for 'timeout': must be 1s or more")]
    Timeout,
    #[error(transparent)]
    SignIn(#[from] SettingsError),
}

impl From<TargetError> for SettingsError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::SignIn(error) => error,
            other => Self::general(other),
        }
    }
}

impl Target {
    pub(crate) fn of(settings: &PostgresSettings) -> Result<Self, TargetError> {
        let timeout = settings
            .timeout
            .positive()
            .filter(|timeout| *timeout >= Duration::from_secs(1));
        let timeout = timeout.ok_or(TargetError::Timeout)?;
        let mut keys = merged(settings)?;
        for key in UNSUPPORTED {
            if keys.take(key).is_some() {
                return Err(TargetError::Unsupported(key));
            }
        }
        let ignored = IGNORED
            .into_iter()
            .filter(|key| keys.take(key).is_some())
            .collect();
        let limits = Limits::of(settings, &mut keys)?;
        let mode = mode(settings, &mut keys)?;
        let ssl = Ssl::of(&mut keys)?;
        let config = config(keys, &ssl)?;
        Ok(Self {
            sign_in: SignIn::of(settings, &config)?,
            config,
            ssl,
            limits,
            mode,
            timeout,
            ignored,
        })
    }
}

/// The connection string's keys, with the settings beside it on top.
fn merged(settings: &PostgresSettings) -> Result<Keys, TargetError> {
    let string = settings
        .connection_string
        .as_ref()
        .map_or("", Secret::expose);
    let mut keys = Keys::parse(string)?;
    let beside = [
        ("host", &settings.host),
        ("hostaddr", &settings.hostaddr),
        ("port", &settings.port),
        ("dbname", &settings.database),
        ("user", &settings.user),
        ("sslrootcert", &settings.ssl_root_cert),
    ];
    let beside = beside.map(|(key, value)| (key, value.as_deref().unwrap_or_default()));
    let password = (
        "password",
        settings.password.as_ref().map_or("", Secret::expose),
    );
    for (key, value) in beside
        .into_iter()
        .chain([password])
        .filter(|(_, value)| !value.is_empty())
    {
        keys.set(key, value);
    }
    let nowhere = keys.get("host").is_none() && keys.get("hostaddr").is_none();
    if nowhere && string.trim().is_empty() {
        return Err(TargetError::Missing);
    }
    if nowhere {
        keys.set("host", "localhost");
    } else if let (None, Some(addresses)) = (keys.get("host"), keys.get("hostaddr")) {
        // The name that a certificate is checked against.
        keys.set("host", addresses.to_owned());
    }
    Ok(keys)
}

fn mode(settings: &PostgresSettings, keys: &mut Keys) -> Result<QueryExecMode, TargetError> {
    let key = "default_query_exec_mode";
    let named = keys.take(key);
    let named = named.map(|name| {
        QueryExecMode::named(&name).ok_or_else(|| TargetError::Value {
            key,
            problem: format!("is {name:?}: it is one of {}", QueryExecMode::NAMES),
        })
    });
    Ok(settings
        .query_exec_mode
        .or(named.transpose()?)
        .unwrap_or_default())
}

/// The client library's configuration: it reads its own keys itself, and says what is wrong with
/// them; every other key is a parameter of the server.
fn config(keys: Keys, ssl: &Ssl) -> Result<Config, TargetError> {
    let (mut own, mut parameters) = (String::new(), String::new());
    for (key, value) in keys.into_iter() {
        if LIBRARY.contains(&key.as_str()) {
            let value = value.replace('\\', r"\\").replace('\'', r"\'");
            own += &format!("{key}='{value}' ");
        } else if is_parameter(&key) {
            let value = value.replace('\\', r"\\").replace(' ', r"\ ");
            parameters += &format!(" -c {key}={value}");
        } else {
            return Err(TargetError::NoKey);
        }
    }
    let mut config = Config::from_str(&own)?;
    if !parameters.is_empty() {
        let options = format!("{}{parameters}", config.get_options().unwrap_or_default());
        config.options(options.trim_start());
    }
    let is_local = config
        .get_hosts()
        .iter()
        .all(|host| matches!(host, Host::Unix(_)));
    config.ssl_mode(match ssl.mode {
        // As in libpq, what stays on this machine needs no TLS.
        _ if is_local => Wire::Disable,
        SslMode::Disable | SslMode::Allow => Wire::Disable,
        SslMode::Prefer => Wire::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Wire::Require,
    });
    let hosts = config.get_hosts().len();
    for (key, count) in [
        ("hostaddr", config.get_hostaddrs().len()),
        ("port", config.get_ports().len()),
    ] {
        let fits = count == 0 || count == hosts || (key == "port" && count == 1);
        if !fits {
            let problem = format!("is a list of {count}, and host is one of {hosts}");
            return Err(TargetError::Value { key, problem });
        }
    }
    Ok(config)
}

fn is_parameter(key: &str) -> bool {
    let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

impl Ssl {
    fn of(keys: &mut Keys) -> Result<Self, TargetError> {
        let key = "sslmode";
        let mode = match keys.take(key).as_deref() {
            None => SslMode::default(),
            Some("disable") => SslMode::Disable,
            Some("allow") => SslMode::Allow,
            Some("prefer") => SslMode::Prefer,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            Some(other) => {
                let problem = format!(
                    "is {other:?}: it is one of disable, allow, prefer, require, verify-ca, verify-full"
                );
                return Err(TargetError::Value { key, problem });
            }
        };
        let identity = match (keys.take("sslcert"), keys.take("sslkey")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => {
                let problem = "and sslkey need each other".to_owned();
                return Err(TargetError::Value {
                    key: "sslcert",
                    problem,
                });
            }
        };
        Ok(Self {
            mode,
            root_cert: keys.take("sslrootcert").filter(|path| path != "system"),
            identity,
            no_server_name: keys.take("sslsni").as_deref() == Some("0"),
        })
    }

    /// Whether the server must show a certificate of an authority that we trust.
    pub(crate) fn checks_authority(&self) -> bool {
        match self.mode {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => false,
            SslMode::Require => self.root_cert.is_some(),
            SslMode::VerifyCa | SslMode::VerifyFull => true,
        }
    }
}

impl Limits {
    fn of(settings: &PostgresSettings, keys: &mut Keys) -> Result<Self, TargetError> {
        let max = count(keys, "pool_max_conns", 1)?;
        let max = usize::try_from(settings.max_conns)
            .ok()
            .filter(|max| *max > 0)
            .or(max);
        let idle = duration(keys, "pool_max_conn_idle_time", 30 * 60)?;
        Ok(Self {
            max,
            min: count(keys, "pool_min_conns", 0)?.unwrap_or(0),
            lifetime: duration(keys, "pool_max_conn_lifetime", 60 * 60)?,
            idle: settings.connection_max_idle_time.positive().unwrap_or(idle),
            check_every: duration(keys, "pool_health_check_period", 60)?,
        })
    }
}

fn count(keys: &mut Keys, key: &'static str, min: usize) -> Result<Option<usize>, TargetError> {
    let Some(text) = keys.take(key) else {
        return Ok(None);
    };
    let number = text.parse().ok().filter(|number| *number >= min);
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(TargetError::Value {
            key,
            problem: format!("is {text:?}: it is a whole number of {min} or more"),
        }),
    }
}

fn duration(keys: &mut Keys, key: &'static str, default: u64) -> Result<Duration, TargetError> {
    let Some(text) = keys.take(key) else {
        return Ok(Duration::from_secs(default));
    };
    let parsed = GoDuration::parse(&text).map_err(|problem| TargetError::Value {
        key,
        problem: format!("is wrong: {problem}"),
    })?;
    let problem = || format!("is {text:?}: it is more than 0");
    parsed.positive().ok_or_else(|| TargetError::Value {
        key,
        problem: problem(),
    })
}
