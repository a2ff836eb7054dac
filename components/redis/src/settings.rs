//! The settings of `bindings.redis`.
//!
//! The strict decoder reads them (M10): a plain integer as a duration counts milliseconds, a
//! negative one means "off", and booleans are Go's words.

use bindery_contract::settings::{GoDuration, Secret};
use bindery_identity::{EntraSettings, OidcSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of `bindings.redis`.
///
/// Each worker thread has one connection to a node, and sends all its calls over it at once;
/// there is no pool. The settings of a pool are therefore read, checked for their form, and
/// without effect.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisSettings {
    /// The server, `host` or `host:port`. For a cluster some of its nodes, for `failover` the
    /// sentinels, separated by commas. Without a port, `redisPort` counts.
    #[schemars(extend("examples" = ["localhost:6379", "sentinel-1:26379,sentinel-2:26379"]))]
    pub redis_host: String,
    /// The port of each address in `redisHost` that has none; 6379 if this is absent or 0. An
    /// address with another port is an error.
    #[serde(default)]
    pub redis_port: u16,
    /// The user, for servers with access control lists (version 6 and later). Empty: the
    /// server's default user.
    #[serde(default)]
    pub redis_username: String,
    /// The password of the user, or the server's single password. Empty: no authentication.
    #[serde(default)]
    pub redis_password: Secret,
    /// The user at the sentinels, with `failover`. Empty: their default user.
    #[serde(default)]
    pub sentinel_username: String,
    /// The password at the sentinels, with `failover`. Empty: no authentication there.
    #[serde(default)]
    pub sentinel_password: Secret,
    /// The number of the database, from 0, which is the default. A cluster has one only.
    #[serde(default, rename = "redisDB")]
    pub redis_db: i64,
    /// Whether `redisHost` is one server or a cluster. Without effect on `failover`.
    #[serde(default)]
    pub redis_type: RedisType,
    /// Whether `redisHost` names sentinels, which know where the master is now.
    #[serde(default)]
    pub failover: bool,
    /// The name that the sentinels have for the master; needed with `failover`.
    #[serde(default)]
    pub sentinel_master_name: String,

    /// Whether connections are encrypted. The server's certificate is checked against the
    /// authorities that the system trusts.
    #[serde(default, rename = "enableTLS")]
    pub enable_tls: bool,
    /// Takes any certificate of the server, with `enableTLS`: for tests only.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    pub insecure_skip_tls_verify: bool,
    /// The certificate that is shown to the server, as PEM; used when `clientKey` is there too.
    #[serde(default)]
    pub client_cert: String,
    /// The key of `clientCert`, as PEM.
    #[serde(default)]
    pub client_key: Secret,

    /// Whether the password is a token that an identity provider gives to who can sign for
    /// `oidcClientID` (`private_key_jwt`, RFC 7523). It is replaced before it ends. Cannot be used
    /// with `redisPassword`; `redisUsername` is the user at Redis.
    #[serde(default, rename = "useOIDC")]
    pub use_oidc: bool,
    /// Who the binding is to the identity provider.
    #[schemars(extend("x-flatten" = true))]
    pub oidc: OidcSettings,

    /// Whether the password is a token of Microsoft Entra ID, and the user the object id that it
    /// names. It is replaced before it ends. Cannot be used with `redisUsername` or
    /// `redisPassword`.
    #[serde(default, rename = "useEntraID")]
    pub use_entra_id: bool,
    /// Who the binding is to Entra ID.
    #[schemars(extend("x-flatten" = true))]
    pub entra: EntraSettings,

    /// How often a command is sent again that the server turned away for the moment (LOADING,
    /// TRYAGAIN, CLUSTERDOWN, MASTERDOWN, a slot that moves). -1 is never, 0 the default of 3.
    /// Such a command was not executed; one whose connection broke is never sent again here.
    #[serde(default)]
    pub redis_max_retries: i32,
    /// The shortest wait before a command is sent again; it doubles each time. Default 8ms, -1
    /// is no wait.
    #[serde(default)]
    pub redis_min_retry_interval: Option<GoDuration>,
    /// The longest wait before a command is sent again. Default 512ms, -1 is no wait.
    #[serde(default)]
    pub redis_max_retry_interval: Option<GoDuration>,
    /// How long connecting may take, encryption included. Default 5s, -1 is no limit.
    #[serde(default)]
    pub dial_timeout: Option<GoDuration>,
    /// How long the server may take to answer a command. Default 3s, -1 is no limit. When it has
    /// passed, the connection is given up.
    #[serde(default)]
    pub read_timeout: Option<GoDuration>,
    /// How long `create` and `increment` may take as a whole, all their commands and retries
    /// included. Default and -1: no limit of their own; a single command has `readTimeout`.
    #[serde(default)]
    pub write_timeout: Option<GoDuration>,

    /// Without effect: there is no pool.
    #[serde(default)]
    pub pool_size: i32,
    /// Without effect: there is no pool.
    #[serde(default)]
    pub min_idle_conns: i32,
    /// Without effect: there is no pool.
    #[serde(default)]
    pub pool_timeout: Option<GoDuration>,
    /// Without effect: a connection is used for as long as it works.
    #[serde(default)]
    pub max_conn_age: Option<GoDuration>,
    /// Without effect: a connection is used for as long as it works.
    #[serde(default)]
    pub idle_timeout: Option<GoDuration>,
    /// Without effect: a connection that breaks is noticed at once.
    #[serde(default)]
    pub idle_check_frequency: Option<GoDuration>,
}

/// What `redisHost` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedisType {
    /// One server.
    #[default]
    Node,
    /// A cluster, of which `redisHost` names some nodes.
    Cluster,
}
