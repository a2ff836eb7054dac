//! `bindings.http` against real HTTP servers, as the runtime sees it.

mod bodies;
mod proxies;
mod redirects;
mod requests;
mod responses;
mod tls;
mod upstream;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::settings::Properties;
use bindery_contract::{
    Cause, Clock, CollectError, DynOutput, Host, Invocation, InvokeError, Metadata, OpenContext,
    Opened, Payload, Placement, Registration, ReplicaContext, Reply, Retry,
};
use bindery_http::Http;
use bindery_testkit::context::parts;
use bytes::Bytes;
use tokio::runtime::Handle;

/// The binding, open.
struct Subject(Box<dyn DynOutput>);

/// A reply with its body.
#[derive(Debug)]
struct Whole {
    data: Bytes,
    metadata: Metadata,
}

/// A request that was rejected.
#[derive(Debug)]
struct Rejected {
    says: String,
    retry: Retry,
    reply: Option<Whole>,
}

/// The runtime's ear; nothing here is for it.
struct Deaf;

impl Host for Deaf {
    fn degraded(&self, cause: Cause) {
        panic!("it reported itself degraded: {cause}");
    }

    fn recovered(&self) {
        panic!("it reported itself recovered");
    }

    fn disconnected(&self, cause: Cause) {
        panic!("it reported itself disconnected: {cause}");
    }

    fn crashed(&self, panic: String) {
        panic!("{panic}");
    }
}

impl Subject {
    async fn open(settings: &[(&str, &str)]) -> Self {
        let properties: Properties = settings.iter().copied().collect();
        let prepared = Registration::of::<Http>().prepare(&properties).unwrap();
        let cx = OpenContext::new(parts(Arc::new(Deaf)));
        let opened = prepared.open(cx).await.unwrap();
        let Opened::Output(Placement::PerThread(replicas)) = opened else {
            panic!("each thread has its own")
        };
        let replica = ReplicaContext {
            clock: Clock::system(),
            runtime: Handle::current(),
        };
        Self(replicas.open(replica).await.unwrap())
    }

    /// A reply whose body has perhaps not been read yet.
    async fn reply(&self, call: Invocation) -> Result<Reply, InvokeError> {
        let reply = in_time(self.0.invoke(call)).await?;
        Ok(reply.expect("there is always a reply"))
    }

    async fn call(&self, call: Invocation) -> Whole {
        whole(self.reply(call).await.unwrap()).await
    }

    /// What an echoing upstream saw.
    async fn echoed(&self, call: Invocation) -> serde_json::Value {
        serde_json::from_slice(&self.call(call).await.data).unwrap()
    }

    async fn rejected(&self, call: Invocation) -> Rejected {
        let error = self.reply(call).await.expect_err("it was to be rejected");
        let says = error.to_string();
        match error {
            InvokeError::Rejected { reply, retry, .. } => Rejected {
                says,
                retry,
                reply: match reply {
                    Some(reply) => Some(whole(*reply).await),
                    None => None,
                },
            },
            InvokeError::Disconnected { .. } => panic!("there is no session to open anew: {says}"),
        }
    }
}

async fn whole(Reply { data, metadata }: Reply) -> Whole {
    let data = collect(data).await.unwrap();
    Whole { data, metadata }
}

async fn collect(data: Payload) -> Result<Bytes, CollectError> {
    in_time(data.collect(usize::MAX)).await
}

/// So that a test which waits for nothing fails.
async fn in_time<T>(waits: impl Future<Output = T>) -> T {
    let outcome = Clock::system()
        .timeout(Duration::from_secs(20), waits)
        .await;
    outcome.expect("it ends in time")
}

fn get(path: &str) -> Invocation {
    Invocation::new("get").with("path", path)
}

/// What the log says while a test does something.
async fn log_of<T>(doing: impl Future<Output = T>) -> (T, String) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(false)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let outcome = doing.await;
    drop(guard);
    (outcome, std::fs::read_to_string(log.path()).unwrap())
}
