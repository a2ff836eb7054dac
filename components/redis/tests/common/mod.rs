//! What the tests share: the binding on a stand, and a second client beside it.
#![allow(dead_code, reason = "each test takes what it needs")]

use bindery_contract::settings::Properties;
use bindery_contract::{Registration, Role};
use bindery_redis::Redis as Binding;
use bindery_testkit::SideStatus;
use bindery_testkit::stand::{Stand, on_a_stand};
use bindery_testkit::{FailureClass, Limits};

pub mod client_key;
pub mod fake;

/// The component's name.
pub const NAME: &str = "subject";

/// Runs a test on a stand.
pub fn on_stand(test: impl AsyncFnOnce(&Stand) + Send + 'static) {
    on_a_stand(Limits::default(), test);
}

/// Runs a test with the binding open.
pub fn with_binding(settings: &[(&str, &str)], test: impl AsyncFnOnce(&Stand) + Send + 'static) {
    let settings: Vec<_> = settings
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    on_stand(async move |stand| {
        let settings: Vec<_> = settings
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        open(stand, &settings).await;
        test(stand).await;
    });
}

/// Loads the binding and waits until it is open.
pub async fn open(stand: &Stand, settings: &[(&str, &str)]) {
    load(stand, settings);
    stand.until_state(NAME, Role::Output, "Running").await;
}

/// Loads the binding, which must fail with this class, saying this.
pub async fn must_fail(stand: &Stand, settings: &[(&str, &str)], class: FailureClass, says: &str) {
    load(stand, settings);
    let side = until_failed(stand).await;
    let error = side.last_error.as_deref().unwrap_or_default();
    assert_eq!(side.failure, Some(class), "{error}");
    assert!(error.contains(says), "{error}");
}

/// Waits until the binding has failed.
pub async fn until_failed(stand: &Stand) -> SideStatus {
    let failed = || {
        stand
            .side(NAME, Role::Output)
            .filter(|side| side.failure.is_some())
    };
    stand.until("it to fail", failed).await
}

fn load(stand: &Stand, settings: &[(&str, &str)]) {
    let settings: Properties = settings.iter().copied().collect();
    let registration = Registration::of::<Binding>();
    stand.load_sides(NAME, &registration, &settings, vec![Role::Output]);
}

/// Calls the binding: the text of its reply, `None` without one, or its error.
pub async fn call(
    stand: &Stand,
    operation: &str,
    data: &str,
    metadata: &[(&str, &str)],
) -> Result<Option<String>, String> {
    match stand
        .invoke(NAME, operation, data.to_owned(), metadata)
        .await
    {
        Ok(reply) => Ok(reply.map(|reply| reply.text())),
        Err(error) => Err(error.to_string()),
    }
}

/// Calls the binding until it does as it is told: right after an outage, a call may still meet it.
pub async fn call_until_done(
    stand: &Stand,
    operation: &str,
    data: &str,
    metadata: &[(&str, &str)],
) {
    let clock = stand.clock();
    let deadline = clock.now() + std::time::Duration::from_secs(30);
    while let Err(error) = call(stand, operation, data, metadata).await {
        assert!(clock.now() < deadline, "{error}");
        clock.sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// How often the binding was opened anew.
pub fn restarts(stand: &Stand) -> u64 {
    stand
        .side(NAME, Role::Output)
        .expect("it is loaded")
        .restarts
}

/// A client of its own, to see what the binding did.
pub async fn client(address: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{address}")).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}
