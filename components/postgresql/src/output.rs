//! The operations.

use std::time::{Duration, SystemTime};

use bindery_contract::settings::GoDuration;
use bindery_contract::{
    Clock, Deadline, Invocation, InvokeError, Metadata, Output, Payload, Reply,
};
use jiff::Timestamp;

use crate::database::Database;
use crate::error::closed;
use crate::params;
use crate::statement::{Outcome, Request, Wants};

/// The output, open.
pub(crate) struct Operations {
    database: Database,
    clock: Clock,
}

impl Operations {
    pub(crate) fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock }
    }
}

impl Output for Operations {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        if call.operation == "close" {
            self.database.close();
            return Ok(None);
        }
        if self.database.is_closed() {
            return Err(closed());
        }
        let request = request(&call)?;
        let (started, now) = (self.clock.wall(), self.clock.now());
        let outcome = self.database.run(&request, call.deadline).await?;
        let took = self.clock.now().saturating_duration_since(now);
        let metadata = about(call.operation, request.sql, started, took);
        Ok(Some(match outcome {
            Outcome::Count(rows) => Reply {
                data: Payload::empty(),
                metadata: metadata.with("rows-affected", rows.to_string()),
            },
            Outcome::Rows(json) => Reply::new(json).with_metadata(metadata),
        }))
    }

    async fn close(&self, _: Deadline) {
        self.database.close();
    }
}

fn request(call: &Invocation) -> Result<Request, InvokeError> {
    let wants = match call.operation {
        "exec" => Wants::Count,
        "query" => Wants::Rows,
        other => {
            let cause = format!("invalid operation type: {other}. Expected exec, query, or close");
            return Err(InvokeError::bad_request(cause));
        }
    };
    if call.metadata.is_empty() {
        return Err(InvokeError::bad_request("metadata required"));
    }
    let value = |key| call.metadata.get(key).filter(|value| !value.is_empty());
    let sql =
        value("sql").ok_or_else(|| InvokeError::bad_request("required metadata not set: sql"))?;
    let params = value("params").map_or(Ok(Vec::new()), params::parse);
    let params = params.map_err(|error| {
        InvokeError::bad_request(format!(
            "invalid metadata property params: failed to unserialize into an array: {error}"
        ))
    })?;
    Ok(Request {
        wants,
        sql: sql.to_owned(),
        params,
    })
}

/// What the reply says of the statement besides its outcome.
fn about(operation: &str, sql: String, started: SystemTime, took: Duration) -> Metadata {
    Metadata::new()
        .with("operation", operation)
        .with("sql", sql)
        .with("start-time", rfc3339(started))
        .with("end-time", rfc3339(started + took))
        .with("duration", GoDuration::from(took).to_string())
}

/// In UTC, to the nanosecond, without zeros at the end of the fraction.
fn rfc3339(time: SystemTime) -> String {
    // A clock that is beyond the year 9999 has no other way to say so.
    Timestamp::try_from(time)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_no_zeros_at_the_end() {
        let at = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(at(1_500_000_000)), "1970-01-01T00:00:01.5Z");
        assert_eq!(rfc3339(at(123_456_789)), "1970-01-01T00:00:00.123456789Z");
        let metadata = about("exec", "x".into(), at(0), Duration::from_nanos(294_100));
        assert_eq!(metadata.get("duration"), Some("294.1µs"));
        assert_eq!(
            metadata.get("end-time"),
            Some("1970-01-01T00:00:00.0002941Z")
        );
    }

    #[test]
    fn a_wrong_request_is_told_what_is_missing() {
        let of = |call: Invocation| match request(&call) {
            Ok(_) => panic!("it was taken"),
            Err(error) => error.to_string(),
        };
        assert_eq!(of(Invocation::new("exec")), "metadata required");
        assert_eq!(
            of(Invocation::new("exec").with("x", "y")),
            "required metadata not set: sql"
        );
        assert_eq!(
            of(Invocation::new("query").with("sql", "")),
            "required metadata not set: sql"
        );
        let error = of(Invocation::new("query")
            .with("sql", "x")
            .with("params", "{}"));
        assert!(
            error.starts_with(
                "invalid metadata property params: failed to unserialize into an array: "
            ),
            "{error}"
        );
        assert_eq!(
            of(Invocation::new("get")),
            "invalid operation type: get. Expected exec, query, or close"
        );
    }
}
