//! `bindings.postgresql`: statements for a `PostgreSQL` database.

mod aws;
mod connection_string;
mod database;
mod described;
mod encode;
mod error;
mod json;
mod output;
mod params;
mod pool;
mod settings;
mod sign_in;
mod sql;
mod statement;
mod target;
mod tls;

use bindery_contract::settings::SettingsError;
use bindery_contract::{Binding, OpenContext, OpenError, Opened, Operation};
use jiff::tz::TimeZone;

use self::database::Database;
use self::output::Operations;
pub use self::settings::{PostgresSettings, QueryExecMode};
use self::target::Target;

/// The binding.
pub struct Postgres;

impl Binding for Postgres {
    const TYPE: &'static str = "bindings.postgresql";
    const ALIASES: &'static [&'static str] = &["bindings.postgres"];
    const SUMMARY: &'static str = "Runs statements in a PostgreSQL database.";
    const OPERATIONS: &'static [Operation] = &[
        Operation {
            name: "exec",
            summary: "Runs the statement metadata.sql with the arguments metadata.params, a JSON \
                      array for $1, $2 and so on. Answers with metadata: operation, sql, \
                      start-time, end-time, duration, rows-affected.",
        },
        Operation {
            name: "query",
            summary: "Runs the statement metadata.sql with the arguments metadata.params, a JSON \
                      array for $1, $2 and so on. Answers with the rows as a JSON array of \
                      arrays, and metadata: operation, sql, start-time, end-time, duration.",
        },
        Operation {
            name: "close",
            summary: "Closes the component for good: until it is loaded anew, exec and query fail.",
        },
    ];
    type Settings = PostgresSettings;

    fn check(settings: &PostgresSettings) -> Result<(), SettingsError> {
        Target::of(settings).map(drop).map_err(Into::into)
    }

    async fn open(settings: PostgresSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        let target = Target::of(&settings).map_err(OpenError::invalid)?;
        let passwords = target.sign_in.passwords(&cx);
        for key in &target.ignored {
            tracing::warn!(
                component = cx.component(),
                "{key} in the connection string is ignored"
            );
        }
        if target.ssl.root_cert.is_some() && !target.ssl.checks_authority() {
            tracing::warn!(
                component = cx.component(),
                "the root certificate is not used: set sslmode to verify-full"
            );
        }
        // Certificates and time zones are files.
        let reading = cx.blocking(move || {
            let tls = tls::connector(&target.ssl).map_err(OpenError::invalid)?;
            Ok((target, tls, TimeZone::system()))
        });
        let (target, tls, zone) = reading.await.map_err(OpenError::disconnected)??;
        let database = Database::open(&target, passwords, tls, zone, &cx).await?;
        Ok(Opened::shared(Operations::new(
            database,
            cx.clock().clone(),
        )))
    }
}
