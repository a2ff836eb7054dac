//! A database of a test's own, through the binding.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bindery_contract::settings::Properties;
use bindery_contract::{
    Cause, Clock, ContextParts, DynOutput, Host, Instant, Invocation, InvokeError, OpenContext,
    OpenError, Opened, Placement, Registration, Reply,
};
use bindery_postgresql::Postgres as Binding;
use bindery_testkit::context::parts;
use bindery_testkit::servers::Postgres;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A server that tests share. It ends with the last of them.
pub fn server() -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Postgres::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// An open binding.
pub struct Database {
    output: Arc<dyn DynOutput>,
    disconnects: Arc<Mutex<Vec<String>>>,
    _closing: DropGuard,
}

/// A reply, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub text: String,
    metadata: Vec<(String, String)>,
}

impl Answer {
    pub fn get(&self, key: &str) -> &str {
        let found = self.metadata.iter().find(|(name, _)| name == key);
        found
            .unwrap_or_else(|| panic!("no {key} in {:?}", self.metadata))
            .1
            .as_str()
    }

    pub fn keys(&self) -> Vec<&str> {
        self.metadata.iter().map(|(key, _)| key.as_str()).collect()
    }
}

struct Ear(Arc<Mutex<Vec<String>>>);

impl Host for Ear {
    fn degraded(&self, cause: Cause) {
        self.disconnected(cause);
    }

    fn recovered(&self) {}

    fn disconnected(&self, cause: Cause) {
        self.0.lock().unwrap().push(cause.to_string());
    }

    fn crashed(&self, panic: String) {
        self.0.lock().unwrap().push(panic);
    }
}

impl Database {
    /// Opens a binding whose connections are driven by the current runtime.
    pub async fn open(settings: &[(&str, &str)]) -> Result<Self, OpenError> {
        Self::open_on(Handle::current(), settings).await
    }

    /// Opens a binding whose connections are driven by this runtime.
    pub async fn open_on(runtime: Handle, settings: &[(&str, &str)]) -> Result<Self, OpenError> {
        let properties: Properties = settings.iter().copied().collect();
        let prepared = Registration::of::<Binding>().prepare(&properties);
        let prepared = prepared.map_err(OpenError::invalid)?;
        let (closing, disconnects) = (CancellationToken::new(), Arc::default());
        let cx = OpenContext::new(ContextParts {
            runtime,
            closing: closing.clone(),
            workers: 2,
            ..parts(Arc::new(Ear(Arc::clone(&disconnects))))
        });
        match prepared.open(cx).await? {
            Opened::Output(Placement::Shared(output)) => Ok(Self {
                output,
                disconnects,
                _closing: closing.drop_guard(),
            }),
            _ => panic!("a shared output was expected"),
        }
    }

    /// Opens a binding for the server's database.
    pub async fn of(server: &Postgres) -> Self {
        Self::with(server, &[]).await
    }

    /// Opens a binding for the server's database with further settings.
    pub async fn with(server: &Postgres, settings: &[(&str, &str)]) -> Self {
        let url = server.url();
        let settings = [&[("connectionString", url.as_str())], settings].concat();
        Self::open(&settings).await.unwrap()
    }

    pub async fn invoke(&self, call: Invocation) -> Result<Option<Answer>, InvokeError> {
        let Some(Reply { data, metadata }) = self.output.invoke(call).await? else {
            return Ok(None);
        };
        let data = data.collect(64 << 20).await.unwrap();
        Ok(Some(Answer {
            text: String::from_utf8(data.to_vec()).unwrap(),
            metadata: metadata
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        }))
    }

    /// Runs a statement with these arguments, a JSON array or nothing.
    pub async fn call(
        &self,
        operation: &'static str,
        sql: &str,
        params: &str,
    ) -> Result<Answer, InvokeError> {
        let call = Invocation::new(operation)
            .with("sql", sql)
            .with("params", params);
        self.invoke(call).await.map(Option::unwrap)
    }

    /// As [`call`](Self::call), for a caller that stops waiting.
    pub async fn call_until(
        &self,
        deadline: Instant,
        operation: &'static str,
        sql: &str,
    ) -> Result<Answer, InvokeError> {
        let mut call = Invocation::new(operation).with("sql", sql);
        call.deadline = Some(deadline);
        self.invoke(call).await.map(Option::unwrap)
    }

    /// Runs a statement that must succeed.
    pub async fn exec(&self, sql: &str) -> Answer {
        self.call("exec", sql, "")
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The rows of a statement that must succeed.
    pub async fn rows(&self, sql: &str, params: &str) -> String {
        let answer = self.call("query", sql, params).await;
        answer
            .unwrap_or_else(|error| panic!("{sql} {params}: {error}"))
            .text
    }

    /// Waits until a question to the database is answered like this.
    pub async fn until(&self, sql: &str, expected: &str) {
        let clock = Clock::system();
        let deadline = clock.now() + Duration::from_secs(20);
        loop {
            let rows = self.rows(sql, "").await;
            if rows == expected {
                return;
            }
            assert!(clock.now() < deadline, "{sql}: {rows}, not {expected}");
            clock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// The error of a query that must fail for itself alone.
    pub async fn rejected(&self, sql: &str, params: &str) -> String {
        match self.call("query", sql, params).await {
            Err(error @ InvokeError::Rejected { .. }) => error.to_string(),
            other => panic!("{sql} {params}: {other:?}"),
        }
    }

    /// What it told the runtime on its own account.
    pub fn disconnects(&self) -> Vec<String> {
        self.disconnects.lock().unwrap().clone()
    }
}
