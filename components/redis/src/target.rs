//! The settings, checked and put into the form that the rest works with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::settings::{GoDuration, Secret, SettingsError};
use bindery_contract::tls::{ClientTls, TlsError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::address::Address;
use crate::auth::{Credentials, Proof};
use crate::retries::Retries;
use crate::settings::{RedisSettings, RedisType};

/// Where the servers are, and how they are talked to.
pub(crate) struct Target {
    pub servers: Servers,
    pub proof: Proof,
    /// The number of the database; 0 in a cluster.
    pub db: i64,
    pub tls: Option<Tls>,
    pub limits: Limits,
    pub retries: Retries,
}

/// The servers.
#[derive(Debug)]
pub(crate) enum Servers {
    /// The one.
    Node(Address),
    /// Those that know where the one is now.
    Sentinels(Sentinels),
    /// Some of many.
    Cluster(Vec<Address>),
}

/// Who knows which server is the master.
#[derive(Debug)]
pub(crate) struct Sentinels {
    pub addresses: Vec<Address>,
    /// Their name for it.
    pub master: String,
    /// What they want to see; the servers may want something else.
    pub credentials: Option<Credentials>,
}

/// How connections are encrypted.
pub(crate) struct Tls {
    pub config: Arc<ClientConfig>,
    /// Whether any certificate is taken.
    pub insecure: bool,
    /// The client's own certificate and key, as PEM.
    pub identity: Option<(String, Secret)>,
}

/// How long things may take; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connecting, encryption included.
    pub dial: Option<Duration>,
    /// One command and its answer.
    pub answer: Option<Duration>,
    /// An operation that writes, as a whole.
    pub write: Option<Duration>,
}

impl Target {
    pub(crate) fn of(settings: &RedisSettings) -> Result<Self, SettingsError> {
        let servers = Servers::of(settings)?;
        let tls = settings.enable_tls.then(|| Tls::of(settings)).transpose()?;
        if tls.is_some() {
            servers.can_be_verified()?;
        }
        if settings.redis_db < 0 {
            let problem = format!("{} is not a database: they count from 0", settings.redis_db);
            return Err(SettingsError::new("redisDB", problem));
        }
        let db = match servers {
            Servers::Cluster(_) => 0,
            Servers::Node(_) | Servers::Sentinels(_) => settings.redis_db,
        };
        Ok(Self {
            servers,
            proof: Proof::of(settings)?,
            db,
            tls,
            limits: Limits {
                dial: limit(settings.dial_timeout, Some(Duration::from_secs(5))),
                answer: limit(settings.read_timeout, Some(Duration::from_secs(3))),
                write: limit(settings.write_timeout, None),
            },
            retries: Retries::of(settings)?,
        })
    }
}

/// The limit that a setting means: 0 is the default, less is none.
fn limit(setting: Option<GoDuration>, default: Option<Duration>) -> Option<Duration> {
    match setting.unwrap_or_default() {
        GoDuration::ZERO => default,
        duration => duration.positive(),
    }
}

impl Servers {
    fn of(settings: &RedisSettings) -> Result<Self, SettingsError> {
        let mut addresses = Address::list(&settings.redis_host, settings.redis_port)?;
        if settings.failover {
            if settings.sentinel_master_name.is_empty() {
                return Err(SettingsError::new(
                    "sentinelMasterName",
                    "is needed with failover: the name that the sentinels have for the master",
                ));
            }
            let (username, password) = (&settings.sentinel_username, &settings.sentinel_password);
            return Ok(Self::Sentinels(Sentinels {
                addresses,
                master: settings.sentinel_master_name.clone(),
                credentials: Credentials::of(username, password),
            }));
        }
        match settings.redis_type {
            RedisType::Cluster => Ok(Self::Cluster(addresses)),
            RedisType::Node if addresses.len() == 1 => Ok(Self::Node(addresses.remove(0))),
            RedisType::Node => Err(SettingsError::new(
                "redisHost",
                "has several addresses: set redisType to cluster, or failover with sentinels, or \
                 write one address",
            )),
        }
    }

    pub(crate) fn addresses(&self) -> &[Address] {
        match self {
            Self::Node(address) => std::slice::from_ref(address),
            Self::Sentinels(Sentinels { addresses, .. }) | Self::Cluster(addresses) => addresses,
        }
    }

    /// Whether the hosts are names that a certificate can be for.
    fn can_be_verified(&self) -> Result<(), SettingsError> {
        for Address { host, .. } in self.addresses() {
            if ServerName::try_from(host.as_str()).is_err() {
                let problem = format!("{host:?} is not a name that a certificate can be for");
                return Err(SettingsError::new("redisHost", problem));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.addresses().iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

impl Tls {
    fn of(settings: &RedisSettings) -> Result<Self, SettingsError> {
        let (certificate, key) = (&settings.client_cert, &settings.client_key);
        let identity = (!certificate.is_empty() && !key.is_empty())
            .then(|| (certificate.clone(), key.clone()));
        let insecure = settings.insecure_skip_tls_verify;
        let tls = ClientTls {
            identity: identity
                .as_ref()
                .map(|(certificate, key)| (certificate.as_str(), key.expose())),
            insecure,
            ..ClientTls::default()
        };
        let config = tls.config().map_err(|error| match error {
            TlsError::Key(_) => SettingsError::new("clientKey", error),
            TlsError::Certificate(_) | TlsError::Roots(_) => {
                SettingsError::new("clientCert", error)
            }
        })?;
        Ok(Self {
            config: Arc::new(config),
            insecure,
            identity,
        })
    }
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::{Conventions, Properties, decode};

    use super::*;

    fn target(settings: &[(&str, &str)]) -> Result<Target, String> {
        let mut properties: Properties = [("redisHost", "a")].into_iter().collect();
        for (name, value) in settings {
            properties.set(*name, *value);
        }
        let decoded = decode::<RedisSettings>(&properties, Conventions::Strict);
        let settings = decoded.map_err(|error| error.to_string())?;
        Target::of(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_has_a_default_and_can_be_switched_off() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (setting, [dial, answer, write]) in [
            (None, [seconds(5), seconds(3), None]),
            (Some("0"), [seconds(5), seconds(3), None]),
            (Some("2000"), [seconds(2); 3]),
            (Some("2s"), [seconds(2); 3]),
            (Some("-1"), [None; 3]),
            (Some("-1s"), [None; 3]),
        ] {
            let names = ["dialTimeout", "readTimeout", "writeTimeout"];
            let settings: Vec<_> = setting
                .iter()
                .flat_map(|value| names.map(|name| (name, *value)))
                .collect();
            let limits = target(&settings).unwrap().limits;
            assert_eq!(
                limits,
                Limits {
                    dial,
                    answer,
                    write
                },
                "{setting:?}"
            );
        }
    }

    #[test]
    fn the_servers_are_what_the_settings_say() {
        for (settings, servers, db) in [
            (&[("redisDB", "2")][..], "Node(a:6379)", 2),
            (
                &[
                    ("redisType", "cluster"),
                    ("redisDB", "2"),
                    ("redisHost", "a,b:7"),
                ],
                "Cluster(a:6379,b:7)",
                0,
            ),
            (
                &[
                    ("failover", "true"),
                    ("sentinelMasterName", "m"),
                    ("redisDB", "2"),
                    ("redisType", "cluster"),
                ],
                "Sentinels(a:6379)",
                2,
            ),
        ] {
            let target = target(settings).unwrap();
            let kind = match target.servers {
                Servers::Node(_) => "Node",
                Servers::Sentinels(_) => "Sentinels",
                Servers::Cluster(_) => "Cluster",
            };
            assert_eq!(
                (format!("{kind}({})", target.servers), target.db),
                (servers.into(), db)
            );
        }
    }

    #[test]
    fn what_can_never_work_names_its_setting() {
        for (settings, key) in [
            (&[("redisHost", "a,b")][..], "redisHost"),
            (&[("redisHost", "a!"), ("enableTLS", "true")], "redisHost"),
            (&[("failover", "true")], "sentinelMasterName"),
            (&[("redisDB", "-1")], "redisDB"),
            (&[("redisMaxRetries", "-2")], "redisMaxRetries"),
            (&[("redisType", "ring")], "redisType"),
            (&[("poolSize", "many")], "poolSize"),
            (&[("idleTimeout", "PT5M")], "idleTimeout"),
        ] {
            let error = target(settings).err().expect("an error");
            assert!(error.contains(&format!("setting \"{key}\": ")), "{error}");
        }
    }
}
