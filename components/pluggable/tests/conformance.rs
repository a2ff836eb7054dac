//! A pluggable component, made with Dapr's SDK, under the conformance suite.

mod support;

use bindery_contract::Role;
use bindery_testkit::FailureClass;
use bindery_testkit::conformance::{Emitted, NAME, Suite};
use bindery_testkit::stand::Stand;

use self::support::Component;

#[test]
fn conformance() {
    let component = Component::started();
    let spool = component.spool();
    let settings = component.settings("create");
    let settings: Vec<(&str, &str)> = settings.iter().collect();
    Suite::on(component.registration("bindings.spool"), &settings)
        .output(|stand| Box::pin(exercise(stand)))
        .input(move |number| {
            let data = format!("event {number}");
            spool.put(&data);
            let metadata = vec![("from".to_owned(), "the spool".to_owned())];
            async move {
                Emitted {
                    data: data.into_bytes(),
                    metadata,
                }
            }
        })
        .fails(
            "what the component refuses",
            Role::Output,
            &[("operations", "create")],
            FailureClass::Refused,
            "rpc error: code = Unknown desc = setting folder is missing",
        )
        .outage(component)
        .run();
}

async fn exercise(stand: &Stand) {
    let data = "\"quoted\" \u{e9}";
    let answer = stand.invoke(NAME, "create", data, &[("key", "a value")]);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.text(), data);
    let value = |name: &str| {
        let mut metadata = answer.metadata.iter();
        metadata
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (value("key"), value("operation")),
        (Some("a value"), Some("create"))
    );
}
