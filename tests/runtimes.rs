//! A sidecar lives under every runtime, and leaves no thread behind. A test of its own, because it
//! counts the threads of its process.

use std::time::Duration;

use bindery::{CallError, Component, Event, NO_METADATA, Sidecar};
use bindery_testkit::puppet::{Log, Puppet, Strings};

type Tester = Puppet<Log>;

async fn call(sidecar: &Sidecar) -> Result<String, CallError> {
    let reply = sidecar.invoke("p", "create", "hello", NO_METADATA).await?;
    let data = reply.unwrap().data.collect(1 << 20).await.unwrap();
    Ok(String::from_utf8(data.to_vec()).unwrap())
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Starts a sidecar, uses it both ways, stops it.
async fn live_once(app_id: &str) {
    let strings = Strings::new();
    let number = strings.per_thread().get("strings").unwrap().to_owned();
    let component = Component::new("p", Tester::registration().type_name).set("strings", number);
    let sidecar = Sidecar::builder(app_id)
        .binding::<Tester>()
        .component(component)
        .on("p", |_: Event| async { Ok::<(), String>(()) })
        .start()
        .await
        .unwrap();
    assert_eq!(call(&sidecar).await.unwrap(), "hello");
    strings.emit(Event::new("x"));
    while strings.committed() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sidecar.shutdown().await;
    let error = call(&sidecar).await.unwrap_err();
    assert_eq!(error.to_string(), "the runtime is shutting down");
    assert_eq!(strings.closed(), 2, "both sides were closed");
}

#[test]
fn it_lives_under_every_runtime_and_leaves_no_thread_behind() {
    let multi = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let before = threads();
    multi.block_on(live_once("multi"));
    drop(multi);
    let single = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    single.block_on(live_once("single"));
    drop(single);
    actix_rt::System::new().block_on(live_once("actix"));
    // The two threads of the first runtime were counted before; they have ended too.
    for _ in 0..500 {
        if threads() <= before - 2 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} threads before, {} after", before, threads());
}
