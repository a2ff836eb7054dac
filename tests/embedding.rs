//! Bindery as a library, inside a service (DESIGN "Embedding").

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::{App, HttpResponse, post, test as web_test, web};
use bindery::{CallError, Component, Event, NO_METADATA, Sidecar};
use bindery_testkit::puppet::{Act, Log, Puppet, Queue, Strings};

type Tester = Puppet<Log>;

fn puppet(name: &str, strings: &Strings) -> Component {
    with_settings(name, Tester::registration().type_name, strings)
}

fn with_settings(name: &str, type_name: &str, strings: &Strings) -> Component {
    let settings = strings.per_thread();
    settings.iter().fold(
        Component::new(name, type_name),
        |component, (key, value)| component.set(key, value),
    )
}

async fn echo(sidecar: &Sidecar, binding: &str, data: &str) -> Result<String, CallError> {
    let data = data.to_owned();
    let reply = sidecar.invoke(binding, "create", data, NO_METADATA).await?;
    let data = reply.unwrap().data.collect(1 << 20).await.unwrap();
    Ok(String::from_utf8(data.to_vec()).unwrap())
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_under_load_while_a_binding_panics() {
    let (steady, shaky) = (Strings::new(), Strings::new());
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let sidecar = Sidecar::builder("shop")
        .binding::<Tester>()
        .component(puppet("steady", &steady))
        .component(puppet("shaky", &shaky))
        .on("steady", move |_: Event| {
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<(), String>(())
            }
        })
        .start()
        .await
        .unwrap();
    sidecar.wait_until_ready().await;
    // Every tenth call of the shaky one panics, and its reader does so twice.
    shaky.next_call((0..400).map(|n| if n % 10 == 0 { Act::Panic } else { Act::Well }));
    shaky.next_read([Act::Panic, Act::Panic]);
    let calls = (0..8).map(|_| {
        let sidecar = sidecar.clone();
        tokio::spawn(async move {
            let mut panics = 0;
            for number in 0..50 {
                let data = format!("call {number}");
                assert_eq!(echo(&sidecar, "steady", &data).await.unwrap(), data);
                match echo(&sidecar, "shaky", &data).await {
                    Ok(answer) => assert_eq!(answer, data),
                    Err(CallError::Panicked(_)) => panics += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            panics
        })
    });
    for number in 0..200 {
        steady.emit(Event::new(format!("event {number}")));
    }
    let mut panics = 0;
    for call in calls {
        panics += call.await.unwrap();
    }
    assert_eq!(panics, 40, "each panic cost one call, and nobody else's");
    until("all events", || taken.load(Ordering::SeqCst) == 200).await;
    assert_eq!(steady.committed(), 200);
    let status = sidecar.status();
    let sides = status.iter().flat_map(|component| &component.sides);
    assert!(sides.clone().all(|side| side.state == "Running"));
    sidecar.shutdown().await;
}

#[tokio::test]
async fn two_sidecars_live_in_one_process() {
    let (a, b) = (Strings::new(), Strings::new());
    let start = async |app_id: &str, strings: &Strings| {
        let builder = Sidecar::builder(app_id).binding::<Tester>();
        builder
            .component(puppet("p", strings))
            .start()
            .await
            .unwrap()
    };
    let first = start("first", &a).await;
    let second = start("second", &b).await;
    assert_eq!(echo(&first, "p", "1").await.unwrap(), "1");
    assert_eq!(echo(&second, "p", "2").await.unwrap(), "2");
    assert_eq!((a.calls(), b.calls()), (1, 1), "each has its own");
    first.shutdown().await;
    assert_eq!(echo(&second, "p", "3").await.unwrap(), "3");
    second.shutdown().await;
}

#[tokio::test]
async fn a_handler_may_come_later_and_an_input_nobody_wants_is_not_read() {
    let strings = Strings::new();
    strings.emit(Event::new("waiting"));
    let sidecar = Sidecar::builder("later")
        .binding::<Tester>()
        .component(puppet("p", &strings))
        .start()
        .await
        .unwrap();
    sidecar.wait_until_ready().await;
    assert_eq!(strings.readers(), 0);
    sidecar.on("p", |event: Event| async move {
        assert_eq!(event.data, "waiting");
        Ok::<(), String>(())
    });
    until("the event", || strings.committed() == 1).await;
    sidecar.shutdown().await;
}

#[tokio::test]
async fn an_error_of_a_handler_refuses_the_event_and_a_panic_does_too() {
    let strings = Strings::new();
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let sidecar = Sidecar::builder("refusing")
        .binding::<Puppet<Queue>>()
        .component(with_settings(
            "p",
            Puppet::<Queue>::registration().type_name,
            &strings,
        ))
        .on("p", move |_: Event| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(nth != 0, "the first time it panics");
                if nth == 1 { Err("not yet") } else { Ok(()) }
            }
        })
        .start()
        .await
        .unwrap();
    strings.emit(Event::new("x"));
    until("the third try", || strings.answered().len() == 3).await;
    let answers: Vec<String> = strings
        .answered()
        .iter()
        .map(|(_, ack)| format!("{ack:?}"))
        .collect();
    assert!(
        answers[0].contains("the first time it panics"),
        "{answers:?}"
    );
    assert!(answers[1].contains("not yet"), "{answers:?}");
    assert!(answers[2].starts_with("Acked"), "{answers:?}");
    sidecar.shutdown().await;
}

#[post("/p")]
async fn take(body: String, request: actix_web::HttpRequest) -> HttpResponse {
    let color = request
        .headers()
        .get("color")
        .map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(color.as_deref(), Some("red"));
    HttpResponse::Ok().body(format!(
        r#"{{"to": ["out"], "data": {{"took": "{body}"}}}}"#
    ))
}

#[tokio::test]
async fn routes_of_the_service_get_events_without_a_socket() {
    let (input, output, unrouted) = (Strings::new(), Strings::new(), Strings::new());
    let sidecar = Sidecar::builder("routes")
        .binding::<Tester>()
        .component(puppet("p", &input))
        .component(puppet("out", &output).output())
        .component(puppet("unrouted", &unrouted).input())
        .routes(|| App::new().service(take))
        .start()
        .await
        .unwrap();
    sidecar.wait_until_ready().await;
    let metadata = bindery::Metadata::new().with("Color", "red");
    input.emit(Event::new("it").with_metadata(metadata));
    until("the event", || input.committed() == 1).await;
    assert_eq!(output.calls(), 1, "the answer was executed");
    unrouted.emit(Event::new("lost?"));
    let blocked = || {
        let status = sidecar.status();
        let input = status
            .iter()
            .find(|component| &*component.name == "unrouted");
        let input = input.and_then(|component| component.sides[0].input.as_ref());
        input.is_some_and(|input| {
            let blocked = input.counters.blocked();
            blocked
                .iter()
                .any(|event| event.error.contains("status code: 404"))
        })
    };
    until("the missing route to show", blocked).await;
    sidecar.shutdown().await;
}

#[actix_web::test]
async fn the_api_is_mounted_into_a_service_of_ones_own() {
    let strings = Strings::new();
    let sidecar = Sidecar::builder("mounted")
        .binding::<Tester>()
        .component(puppet("p", &strings))
        .start()
        .await
        .unwrap();
    let app = App::new()
        .route("/mine", web::get().to(|| async { "mine" }))
        .configure(sidecar.api());
    let service = web_test::init_service(app).await;
    let mine = web_test::TestRequest::get().uri("/mine").to_request();
    assert_eq!(web_test::call_and_read_body(&service, mine).await, "mine");
    let call = web_test::TestRequest::post()
        .uri("/v1.0/bindings/p")
        .set_payload(r#"{"operation":"create","data":{"a":1.10}}"#)
        .to_request();
    assert_eq!(
        web_test::call_and_read_body(&service, call).await,
        r#"{"a":1.10}"#
    );
    let metadata = web_test::TestRequest::get()
        .uri("/v1.0/metadata")
        .to_request();
    let document = web_test::call_and_read_body(&service, metadata).await;
    assert!(String::from_utf8_lossy(&document).contains("\"id\":\"mounted\""));
    let unknown = web_test::TestRequest::get()
        .uri("/v1.0/nonsense")
        .to_request();
    assert_eq!(
        web_test::call_service(&service, unknown).await.status(),
        404
    );
    sidecar.shutdown().await;
}

#[tokio::test]
async fn what_can_never_work_is_an_error() {
    let start = async |component: Component| {
        let started = Sidecar::builder("wrong").component(component).start().await;
        started.err().expect("it cannot start").to_string()
    };
    let error = start(Component::new("x", "bindings.nonsense")).await;
    assert!(
        error.contains("component \"x\": couldn't find binding x"),
        "{error}"
    );
    let error = start(Component::new("tick", "bindings.cron").set("schedule", "never")).await;
    assert!(error.contains("setting \"schedule\""), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let builder = Sidecar::builder("wrong").configure(|config| {
        let port = taken.local_addr().unwrap().port();
        config.http = Some(bindery::sidecar::HttpConfig {
            listen: vec!["127.0.0.1".parse().unwrap()],
            ..bindery::sidecar::HttpConfig::port(port)
        });
    });
    let error = builder
        .start()
        .await
        .err()
        .expect("the port is taken")
        .to_string();
    assert!(error.contains("could not listen"), "{error}");
}
