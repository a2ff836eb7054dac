//! How a statement is sent, by the mode that the component asks for, and how its rows are read.

use std::pin::Pin;

use bindery_contract::{InvokeError, Sent};
use deadpool_postgres::ClientWrapper;
use futures_util::TryStreamExt;
use tokio::task::coop::consume_budget;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Column, Error, RowStream, SimpleQueryMessage, SimpleQueryStream, Statement};

use crate::described::{Described, Descriptions, KEPT};
use crate::encode::EncodeError;
use crate::error::{Condition, Fault};
use crate::json::{self, Raw, ValueError, Writer};
use crate::params::{Encoded, Param};
use crate::settings::QueryExecMode;
use crate::sql;

/// What a call asks for.
pub(crate) struct Request {
    pub(crate) wants: Wants,
    pub(crate) sql: String,
    pub(crate) params: Vec<Param>,
}

/// What of a statement's outcome the caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// How many rows it affected.
    Count,
    /// Its rows.
    Rows,
}

/// What became of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It affected this many rows.
    Count(u64),
    /// Its rows, as a JSON array of arrays.
    Rows(String),
}

/// Sends statements in one mode.
pub(crate) struct Statements {
    mode: QueryExecMode,
    writer: Writer,
    described: Descriptions,
}

/// A statement that lacks nothing but sending.
enum Ready {
    Prepared(Statement, Vec<Encoded>),
    Unnamed(String, Vec<(Encoded, Type)>),
    Simple(String),
}

/// The rows of a statement on their way, with their types or as text.
enum Rows {
    Typed(Pin<Box<RowStream>>),
    Text(Pin<Box<SimpleQueryStream>>),
}

impl Statements {
    pub(crate) fn new(mode: QueryExecMode, writer: Writer) -> Self {
        Self {
            mode,
            writer,
            described: Descriptions::default(),
        }
    }

    /// Does what the request asks, on this connection.
    pub(crate) async fn run(
        &self,
        client: &ClientWrapper,
        request: &Request,
    ) -> Result<Outcome, Fault> {
        let perhaps = |error| Fault::of(error, client, Sent::Perhaps);
        let mut ready = self.ready(client, request).await?;
        match request.wants {
            Wants::Count => {
                let mut count = ready.count(client).await;
                if self.is_stale(client, request, count.as_ref().err()) {
                    ready = self.ready(client, request).await?;
                    count = ready.count(client).await;
                }
                count.map(Outcome::Count).map_err(perhaps)
            }
            Wants::Rows => {
                let mut rows = ready.rows(client).await;
                if self.is_stale(client, request, rows.as_ref().err()) {
                    ready = self.ready(client, request).await?;
                    rows = ready.rows(client).await;
                }
                let json = match rows.map_err(perhaps)? {
                    Rows::Typed(rows) => self.typed_rows(rows, perhaps).await?,
                    Rows::Text(messages) => text_rows(messages, perhaps).await?,
                };
                Ok(Outcome::Rows(json))
            }
        }
    }

    async fn ready(&self, client: &ClientWrapper, request: &Request) -> Result<Ready, Fault> {
        let Request { wants, sql, params } = request;
        match self.mode {
            QueryExecMode::CacheStatement | QueryExecMode::DescribeExec => {
                let (statement, _) = self.prepare(client, *wants, sql).await?;
                let arguments = encode(params, statement.params())?;
                Ok(Ready::Prepared(statement, arguments))
            }
            QueryExecMode::CacheDescribe => {
                let described = match self.described.get(*wants, sql) {
                    Some(described) => described,
                    None => {
                        let (statement, other) = self.prepare(client, *wants, sql).await?;
                        let described = Described {
                            sql: other.unwrap_or_else(|| sql.clone()),
                            types: statement.params().to_vec(),
                        };
                        self.described.keep(*wants, sql, described)
                    }
                };
                let arguments = encode(params, &described.types)?.into_iter();
                let arguments = arguments.zip(described.types.iter().cloned()).collect();
                Ok(Ready::Unnamed(described.sql.clone(), arguments))
            }
            QueryExecMode::Exec => {
                expect(sql::placeholders(sql), params)?;
                let arguments = params.iter().map(|param| (param.untyped(), Type::UNKNOWN));
                Ok(Ready::Unnamed(sql.clone(), arguments.collect()))
            }
            QueryExecMode::SimpleProtocol => {
                expect(sql::placeholders(sql), params)?;
                let literals = each(params, |_, param| param.literal())?;
                let sql = sql::inline(sql, &literals);
                let is_single = sql::statements(&sql).len() == 1;
                Ok(match wants {
                    Wants::Rows if is_single => Ready::Unnamed(sql, Vec::new()),
                    Wants::Rows | Wants::Count => Ready::Simple(sql),
                })
            }
        }
    }

    /// Prepares a statement. Columns that only the server can show are asked for as text: then
    /// another statement is sent, and its text is returned, too.
    async fn prepare(
        &self,
        client: &ClientWrapper,
        wants: Wants,
        sql: &str,
    ) -> Result<(Statement, Option<String>), Fault> {
        let statement = self
            .prepare_text(client, sql)
            .await
            .map_err(|error| Fault::of(error, client, Sent::No))?;
        let unknown = statement
            .columns()
            .iter()
            .find(|column| !Writer::knows(column.type_()));
        let Some(unknown) = unknown.filter(|_| wants == Wants::Rows) else {
            return Ok((statement, None));
        };
        let with_text = with_text_columns(sql, statement.columns());
        match self.prepare_text(client, &with_text).await {
            Ok(statement) => Ok((statement, Some(with_text))),
            Err(error) => match Fault::of(error, client, Sent::No) {
                // It is not a statement that can stand inside another one.
                fault if fault.connection == Condition::Good => Err(no_form(unknown)),
                fault => Err(fault),
            },
        }
    }

    async fn prepare_text(&self, client: &ClientWrapper, sql: &str) -> Result<Statement, Error> {
        if self.mode != QueryExecMode::CacheStatement {
            return client.prepare(sql).await;
        }
        let cache = &client.statement_cache;
        if cache.size() >= KEPT {
            cache.clear();
        }
        let prepared = client.prepare_cached(sql).await;
        if prepared.is_err() {
            // The cache keeps a place for it, and nothing would ever fill or free that.
            cache.remove(sql, &[]);
        }
        prepared
    }

    /// Forgets what was kept of a statement that failed for it, and says whether it can be sent
    /// again at once: it was refused before it did anything.
    fn is_stale(&self, client: &ClientWrapper, request: &Request, error: Option<&Error>) -> bool {
        let Some(answer) = error.and_then(Error::as_db_error) else {
            return false;
        };
        match self.mode {
            QueryExecMode::CacheStatement => {
                let changed = answer.routine() == Some("RevalidateCachedQuery");
                let is_stale = changed || *answer.code() == SqlState::INVALID_SQL_STATEMENT_NAME;
                if is_stale {
                    client.statement_cache.clear();
                }
                is_stale
            }
            QueryExecMode::CacheDescribe => {
                self.described.forget(request.wants, &request.sql);
                false
            }
            _ => false,
        }
    }

    async fn typed_rows(
        &self,
        mut rows: Pin<Box<RowStream>>,
        fault: impl Fn(Error) -> Fault,
    ) -> Result<String, Fault> {
        let mut out = String::from("[");
        while let Some(row) = rows.try_next().await.map_err(&fault)? {
            // Many rows are ready at once, and others want the thread, too.
            consume_budget().await;
            separate(&mut out);
            out.push('[');
            for (index, column) in row.columns().iter().enumerate() {
                separate(&mut out);
                let raw: Option<Raw<'_>> = row.try_get(index).map_err(&fault)?;
                self.writer
                    .value(column.type_(), raw.map(|raw| raw.0), &mut out)
                    .map_err(Fault::value)?;
            }
            out.push(']');
        }
        out.push(']');
        Ok(out)
    }
}

impl Ready {
    async fn count(&self, client: &ClientWrapper) -> Result<u64, Error> {
        match self {
            Self::Prepared(statement, arguments) => client.execute_raw(statement, arguments).await,
            Self::Unnamed(sql, arguments) => {
                let arguments: Vec<_> = arguments
                    .iter()
                    .map(|(argument, ty)| (argument as &(dyn ToSql + Sync), ty.clone()))
                    .collect();
                client.execute_typed(sql, &arguments).await
            }
            Self::Simple(sql) => {
                let messages = client.simple_query(sql).await?;
                Ok(messages
                    .iter()
                    .rev()
                    .find_map(|message| match message {
                        SimpleQueryMessage::CommandComplete(count) => Some(*count),
                        _ => None,
                    })
                    .unwrap_or(0))
            }
        }
    }

    async fn rows(&self, client: &ClientWrapper) -> Result<Rows, Error> {
        Ok(match self {
            Self::Prepared(statement, arguments) => {
                Rows::Typed(Box::pin(client.query_raw(statement, arguments).await?))
            }
            Self::Unnamed(sql, arguments) => {
                let arguments = arguments
                    .iter()
                    .map(|(argument, ty)| (argument, ty.clone()));
                Rows::Typed(Box::pin(client.query_typed_raw(sql, arguments).await?))
            }
            Self::Simple(sql) => Rows::Text(Box::pin(client.simple_query_raw(sql).await?)),
        })
    }
}

/// The rows of the first statement that has some. All others are waited for, too.
async fn text_rows(
    mut messages: Pin<Box<SimpleQueryStream>>,
    fault: impl Fn(Error) -> Fault,
) -> Result<String, Fault> {
    let mut out = String::from("[");
    let mut with_rows = 0;
    while let Some(message) = messages.try_next().await.map_err(&fault)? {
        consume_budget().await;
        match message {
            SimpleQueryMessage::RowDescription(_) => with_rows += 1,
            SimpleQueryMessage::Row(row) if with_rows == 1 => {
                separate(&mut out);
                out.push('[');
                for index in 0..row.len() {
                    separate(&mut out);
                    json::untyped(row.try_get(index).map_err(&fault)?, &mut out);
                }
                out.push(']');
            }
            _ => {}
        }
    }
    out.push(']');
    Ok(out)
}

/// What comes next is not the first in its array.
fn separate(out: &mut String) {
    if !out.ends_with('[') {
        out.push(',');
    }
}

/// The same statement, with those of its columns cast to text that we cannot read otherwise.
fn with_text_columns(sql: &str, columns: &[Column]) -> String {
    let statement = sql::statements(sql).into_iter().next().unwrap_or(sql);
    let names: Vec<String> = (1..=columns.len())
        .map(|number| format!("c{number}"))
        .collect();
    let shown: Vec<String> = names
        .iter()
        .zip(columns)
        .map(|(name, column)| {
            let cast = if Writer::knows(column.type_()) {
                ""
            } else {
                "::text"
            };
            format!("{name}{cast}")
        })
        .collect();
    // The line break ends a comment that the statement may end with.
    format!(
        "WITH r({}) AS ({statement}\n) SELECT {} FROM r",
        names.join(","),
        shown.join(",")
    )
}

fn no_form(column: &Column) -> Fault {
    let error = ValueError::NoForm(column.type_().name().to_owned());
    Fault::unsent(InvokeError::bad_request(format!(
        "error reading result: {error}"
    )))
}

fn encode(params: &[Param], types: &[Type]) -> Result<Vec<Encoded>, Fault> {
    expect(types.len(), params)?;
    each(params, |index, param| param.encode(&types[index]))
}

fn expect(count: usize, params: &[Param]) -> Result<(), Fault> {
    if count == params.len() {
        return Ok(());
    }
    let cause = format!(
        "error executing query: expected {count} arguments, got {}",
        params.len()
    );
    Err(Fault::unsent(InvokeError::bad_request(cause)))
}

/// Does the same to each argument, and names the one that does not fit.
fn each<T>(
    params: &[Param],
    make: impl Fn(usize, &Param) -> Result<T, EncodeError>,
) -> Result<Vec<T>, Fault> {
    let named = |(index, param)| {
        make(index, param).map_err(|error| {
            let cause = format!("error executing query: failed to encode args[{index}]: {error}");
            Fault::unsent(InvokeError::bad_request(cause))
        })
    };
    params.iter().enumerate().map(named).collect()
}
