//! A connection to one server.

use bindery_contract::Sent;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisResult, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::address::Address;
use crate::auth::Credentials;
use crate::errors::{Answer, Failure};

/// How many calls may wait to be written.
const WAITING: usize = 1024;

/// A connection that many calls use at once. It lives on the thread that opened it, and is
/// closed when it is dropped.
pub(crate) struct Node {
    pub address: Address,
    pub role: Role,
    connection: MultiplexedConnection,
    closed: CancellationToken,
    _driver: AbortOnDropHandle<()>,
}

/// What a server is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Replica,
    /// The user may not ask.
    Unknown,
}

impl Node {
    /// Speaks Redis over `stream`. Nothing is sent yet.
    pub(crate) async fn over<S>(stream: S, address: Address) -> RedisResult<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Authentication, database and timeouts are ours, so that errors stay as they came.
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, config).await?;
        let closed = CancellationToken::new();
        let closing = closed.clone();
        let driver = tokio::spawn(async move {
            driver.await;
            closing.cancel();
        });
        Ok(Self {
            address,
            role: Role::Unknown,
            connection,
            closed,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    /// Logs in, chooses the database, and sees whether the server is ready.
    pub(crate) async fn greet(
        &mut self,
        credentials: Option<&Credentials>,
        db: i64,
    ) -> RedisResult<()> {
        if let Some(credentials) = credentials {
            self.authenticate(credentials).await?;
        }
        if db != 0 {
            self.send(redis::cmd("SELECT").arg(db)).await?;
        }
        self.send(&redis::cmd("PING")).await?;
        // Not every user may ask, and servers that are not Redis may not know.
        self.role = match self.send(&redis::cmd("ROLE")).await {
            Ok(Value::Array(reply)) => match reply.first() {
                Some(Value::BulkString(role)) if role == b"master" => Role::Master,
                Some(Value::BulkString(role)) if role == b"slave" => Role::Replica,
                _ => Role::Unknown,
            },
            Err(error) if error.code().is_none() => return Err(error),
            _ => Role::Unknown,
        };
        Ok(())
    }

    /// Logs in, or logs in anew with what is valid now.
    pub(crate) async fn authenticate(&self, credentials: &Credentials) -> RedisResult<()> {
        let password = credentials.password.expose();
        let mut auth = redis::cmd("AUTH");
        auth.arg(&credentials.username).arg(password);
        let Err(refused) = self.send(&auth).await else {
            return Ok(());
        };
        // A server that does not know the command says back what came with it.
        match (refused.code(), refused.detail()) {
            (Some(code), Some(detail)) if detail.contains(password) => {
                let detail = detail.replace(password, "***");
                Err(redis::make_extension_error(code.into(), Some(detail)))
            }
            _ => Err(refused),
        }
    }

    /// Sends a command; an error that the server answers is an error.
    pub(crate) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let mut connection = self.connection.clone();
        connection
            .send_packed_command(command)
            .await?
            .extract_error()
    }

    /// Does what a call asks.
    pub(crate) async fn call(&self, command: &Cmd) -> Result<Value, Failure> {
        let lost = |cause: String, sent| Failure::Lost {
            cause: format!("the connection to {} is lost: {cause}", self.address),
            sent,
        };
        if self.closed.is_cancelled() {
            return Err(lost("the server closed it".into(), Sent::No));
        }
        let error = match self.send(command).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match Answer::in_error(error) {
            // The server was a master when this connection was opened: somebody else is now.
            Ok(answer) if answer.is_demotion() && self.role != Role::Replica => {
                Err(lost(answer.to_string(), Sent::No))
            }
            Ok(answer) => Err(Failure::Answered(answer)),
            Err(error) => Err(lost(error.to_string(), Sent::Perhaps)),
        }
    }

    /// Resolves when the connection is gone.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::Secret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    async fn node() -> (Node, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        let node = Node::over(ours, Address::new("h", 1)).await.unwrap();
        (node, theirs)
    }

    /// Calls, and has the server answer with `line`, or close the connection.
    async fn call(role: Role, line: Option<&str>) -> Result<Value, Failure> {
        let (mut node, mut server) = node().await;
        node.role = role;
        let answer = async {
            server.read_u8().await.unwrap();
            match line {
                Some(line) => server
                    .write_all(format!("{line}\r\n").as_bytes())
                    .await
                    .unwrap(),
                None => drop(server),
            }
        };
        let command = redis::cmd("PING");
        tokio::join!(node.call(&command), answer).0
    }

    #[tokio::test]
    async fn a_command_was_certainly_not_sent_over_a_connection_that_was_closed_before() {
        let (node, server) = node().await;
        drop(server);
        node.closed().await;
        let outcome = node.call(&redis::cmd("PING")).await;
        assert!(
            matches!(outcome, Err(Failure::Lost { sent: Sent::No, .. })),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn a_command_may_have_been_sent_over_a_connection_that_breaks() {
        let outcome = call(Role::Master, None).await;
        assert!(
            matches!(
                outcome,
                Err(Failure::Lost {
                    sent: Sent::Perhaps,
                    ..
                })
            ),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn a_demotion_is_news_unless_it_was_known() {
        for (role, is_news) in [
            (Role::Master, true),
            (Role::Unknown, true),
            (Role::Replica, false),
        ] {
            let outcome = call(role, Some("-READONLY no")).await;
            let lost = matches!(outcome, Err(Failure::Lost { sent: Sent::No, .. }));
            assert_eq!(lost, is_news, "{role:?} {outcome:?}");
        }
    }

    #[tokio::test]
    async fn a_password_that_is_said_back_is_not_passed_on() {
        let (node, mut server) = node().await;
        let answer = async {
            server.read_u8().await.unwrap();
            let line = "-ERR unknown command `AUTH`, with args beginning with: `hunter2`\r\n";
            server.write_all(line.as_bytes()).await.unwrap();
        };
        let credentials = Credentials::of("", &Secret::new("hunter2")).unwrap();
        let refused = tokio::join!(node.authenticate(&credentials), answer).0;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Some("ERR"));
        let detail = refused.detail().unwrap();
        assert!(detail.ends_with("beginning with: `***`"), "{detail}");
    }

    #[tokio::test]
    async fn an_error_is_an_answer() {
        let outcome = call(Role::Master, Some("-ERR no")).await;
        assert!(matches!(outcome, Err(Failure::Answered(_))), "{outcome:?}");
        assert_eq!(call(Role::Master, Some("+OK")).await.unwrap(), Value::Okay);
    }
}
