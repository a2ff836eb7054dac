//! The settings of `bindings.postgresql`.

use bindery_contract::settings::{GoDuration, Secret};
use bindery_identity::{AwsSettings, EntraSettings};
use schemars::JsonSchema;
use serde::de::value::StrDeserializer;
use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

/// Settings of `bindings.postgresql`.
///
/// Where the database is and who we are there comes from `connectionString`, from the settings
/// beside it (`host`, `user` and so on, each of which wins over the string), or from both. The
/// `PG*` environment variables, password files and service files of libpq are not read.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresSettings {
    /// The database: libpq's keywords (`host=db user=app password='a b' dbname=orders`) or a URL
    /// (`postgres://app:secret@db:5432/orders?sslmode=verify-full`). Required unless `host` or
    /// `hostaddr` is set. Without a host in it, localhost.
    ///
    /// Besides libpq's keys it takes `pool_max_conns`, `pool_min_conns` (default 0),
    /// `pool_max_conn_lifetime` (default 1h), `pool_max_conn_idle_time` (default 30m) and
    /// `pool_health_check_period` (default 1m). A key that is none of these is a parameter of the
    /// server, such as `search_path` or `statement_timeout`.
    ///
    /// `sslmode` is `disable`, `allow`, `prefer` (the default), `require`, `verify-ca` or
    /// `verify-full`. Only the last two check the server's certificate, and `require` does, as
    /// `verify-ca`, when there is a root certificate. `sslrootcert`, `sslcert` and `sslkey` are
    /// paths of PEM files; without `sslrootcert` the system's authorities are trusted.
    #[serde(default)]
    #[schemars(extend(
        "x-aliases" = ["url"],
        "x-example" = "postgres://app:secret@localhost:5432/orders"
    ))]
    pub connection_string: Option<Secret>,
    /// The server's name, several separated by commas (tried in order), or the folder of its
    /// Unix socket. Wins over the connection string.
    pub host: Option<String>,
    /// The server's IP address, which saves looking `host` up. Wins over the connection string.
    pub hostaddr: Option<String>,
    /// The server's port, 1 to 65535. Wins over the connection string; default 5432.
    pub port: Option<String>,
    /// The database's name. Wins over the connection string; default: that of the user.
    pub database: Option<String>,
    /// The user's name. Wins over the connection string; default: the user of this process.
    pub user: Option<String>,
    /// The user's password. Wins over the connection string.
    pub password: Option<Secret>,
    /// The path of a PEM file with the authorities that the server's certificate is checked
    /// against. Wins over the connection string's `sslrootcert`. Checked only if `sslmode` is
    /// `require` or stricter.
    pub ssl_root_cert: Option<String>,
    /// How long making a connection may take, 1s or more; the first one has to be there within
    /// the component's `initTimeout`, too. It does not limit statements: their limit is that of
    /// the call (resiliency, or the caller's deadline).
    #[serde(default = "twenty_seconds")]
    #[schemars(extend("x-aliases" = ["timeoutInSeconds"]))]
    pub timeout: GoDuration,
    /// How many connections there may be, 1 or more. A call that finds all of them busy waits.
    /// 0 or less means the default: that of the connection string, else as many as there are
    /// worker threads and at least 4.
    #[serde(default)]
    pub max_conns: i32,
    /// After how long an unused connection is closed. 0 means the default: that of the
    /// connection string, else 30m.
    #[serde(default)]
    pub connection_max_idle_time: GoDuration,
    /// How statements are sent. Default: what `default_query_exec_mode` in the connection string
    /// says, else `cache_statement`. Behind a pooler that gives each transaction another
    /// connection (`PgBouncer`), choose `exec` or `simple_protocol`.
    #[serde(default, deserialize_with = "query_exec_mode")]
    pub query_exec_mode: Option<QueryExecMode>,
    /// Signs in with a token of Microsoft Entra ID instead of a password. It is shown to each new
    /// connection as it is, so let `sslmode` be `verify-full`, and replaced before it ends. Needs
    /// a user: the name that the identity has in the database.
    #[serde(default, rename = "useAzureAD")]
    pub use_azure_ad: bool,
    /// Who the binding is to Entra ID.
    #[schemars(extend("x-flatten" = true))]
    pub entra: EntraSettings,
    /// Signs in to Amazon RDS or Aurora with AWS IAM instead of a password, made anew for each
    /// connection. Needs `region`, a user and exactly one host: the one that the database is
    /// known by. Whose keys sign is said by the settings that follow.
    #[serde(default, rename = "useAWSIAM")]
    pub use_aws_iam: bool,
    /// Who the binding is to AWS.
    #[schemars(extend("x-flatten" = true))]
    pub aws: AwsSettings,
}

/// How statements are sent. Values and rows are the same in all modes except where it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryExecMode {
    /// Each connection prepares a statement once and keeps it, at most 512: one round trip from
    /// the second time on. A statement that went stale, because a table was changed, is prepared
    /// anew without a word.
    #[default]
    CacheStatement,
    /// The types of a statement's arguments are asked for once and kept, at most 512 of them;
    /// the statement is then sent unnamed, in one round trip. After a change of the tables, a
    /// statement may fail once.
    CacheDescribe,
    /// The statement is prepared and forgotten each time: two round trips, and always safe when
    /// tables change.
    DescribeExec,
    /// One round trip with an unnamed statement; the server infers the types of the arguments,
    /// which are sent as text. An argument that is a JSON array fits a JSON column only; for an
    /// array of the database, send its text (`"{1,2}"`). A column of a type without a JSON form
    /// (`money`, say) must be cast to text. So should an enum behind a pooler: what it is, is
    /// looked up with a prepared statement the first time.
    Exec,
    /// The arguments are written into the statement, safely quoted; for arrays among them, the
    /// same holds as in `exec` mode. The operation `exec` sends it by the simple protocol, so it
    /// may be several statements separated by `;`, of which the last says how many rows were
    /// affected. The operation `query` sends a single statement unnamed, as in `exec` mode; of
    /// several it answers with the rows of the first that has some, every value as text.
    SimpleProtocol,
}

impl QueryExecMode {
    /// All names, for error messages.
    pub(crate) const NAMES: &'static str =
        "cache_statement, cache_describe, describe_exec, exec, simple_protocol";

    /// The mode by its name in settings.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }
}

fn twenty_seconds() -> GoDuration {
    GoDuration::from_secs(20)
}

/// An empty value is the default, as in the reference.
fn query_exec_mode<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<QueryExecMode>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() {
        return Ok(None);
    }
    match QueryExecMode::named(&name) {
        Some(mode) => Ok(Some(mode)),
        None => Err(D::Error::custom(format!(
            "invalid queryExecMode metadata value: {name}; it is one of {}",
            QueryExecMode::NAMES
        ))),
    }
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::fields;

    use super::*;

    #[test]
    fn the_declaration_says_what_is_secret_and_which_modes_there_are() {
        let declared = fields::<PostgresSettings>();
        let field = |name: &str| declared.iter().find(|field| field.name == name).unwrap();
        for name in [
            "connectionString",
            "password",
            "azureClientSecret",
            "secretKey",
            "sessionToken",
        ] {
            assert!(field(name).secret, "{name}");
        }
        assert_eq!(
            field("queryExecMode").values.join(", "),
            QueryExecMode::NAMES
        );
        assert_eq!(field("timeout").default.as_deref(), Some("20s"));
        assert_eq!(field("connectionString").aliases, ["url"]);
        assert_eq!(field("azureTenantId").aliases, ["spnTenantId", "tenantId"]);
        for name in QueryExecMode::NAMES.split(", ") {
            assert!(QueryExecMode::named(name).is_some(), "{name}");
        }
    }
}
