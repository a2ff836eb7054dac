//! The example of a binding of one's own, under the conformance suite.

use bindery_testkit::conformance::{NAME, Suite};
use bindery_testkit::stand::Stand;

use super::Shout;

#[test]
fn conformance() {
    Suite::of::<Shout>(&[("end", "!!")])
        .output(|stand| Box::pin(exercise(stand)))
        .run();
}

async fn exercise(stand: &Stand) {
    let shout = async |data: &'static [u8]| stand.invoke(NAME, "create", data, &[]).await;
    let answer = shout("grüß dich".as_bytes()).await.unwrap().unwrap();
    assert_eq!(answer.text(), "GRÜSS DICH!!");
    let error = shout(b"\xff").await.unwrap_err();
    assert_eq!(error.to_string(), "the data is not text");
}
