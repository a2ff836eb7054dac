//! A call of an output that lives on the thread of its caller: directly, and through the mailbox of
//! the router.

use bindery::app::InProcessApp;
use bindery_actors::{Call, Threads};
use bindery_contract::{
    Binding, Invocation, InvokeError, Metadata, OpenContext, OpenError, Opened, Operation, Output,
    Reply, Role,
};
use criterion::{Criterion, Throughput};
use futures_util::future::join_all;

use crate::bed::Bed;

/// Answers with what it is sent.
struct Echo;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct EchoSettings {}

impl Binding for Echo {
    const TYPE: &'static str = "bindings.bench.echo";
    const SUMMARY: &'static str = "Answers with what it is sent.";
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "create",
        summary: "Answers with the request's data.",
    }];
    type Settings = EchoSettings;

    async fn open(_: EchoSettings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::per_thread(|_| async { Ok(Self) }))
    }
}

impl Output for Echo {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        Ok(Some(Reply::new(call.data)))
    }
}

pub fn invoke(criterion: &mut Criterion) {
    const AT_ONCE: u64 = 32;
    let bed = Bed::new::<Echo>(Role::Output, Threads::Current, InProcessApp::default());
    let call = Call {
        binding: "it".into(),
        operation: "create".into(),
        data: "\"hello\"".into(),
        metadata: Metadata::new().with("fileName", "1.json"),
        deadline: None,
    };
    let mut group = criterion.benchmark_group("routing");
    group.throughput(Throughput::Elements(1));
    group.bench_function("on the thread of its caller", |bencher| {
        bencher.iter_custom(|count| {
            bed.time(async |core| {
                for _ in 0..count {
                    core.invoke_here(&call).await.unwrap();
                }
            })
        });
    });
    group.bench_function("by mailbox, one at a time", |bencher| {
        bencher.iter_custom(|count| {
            bed.time(async |core| {
                for _ in 0..count {
                    core.invoke(call.clone()).await.unwrap();
                }
            })
        });
    });
    group.throughput(Throughput::Elements(AT_ONCE));
    group.bench_function("by mailbox, 32 at once", |bencher| {
        bencher.iter_custom(|count| {
            bed.time(async |core| {
                for _ in 0..count {
                    let calls = (0..AT_ONCE).map(|_| core.invoke(call.clone()));
                    for reply in join_all(calls).await {
                        reply.unwrap();
                    }
                }
            })
        });
    });
    group.finish();
}
