//! A binding of your own, registered from outside: it shouts what it is given.
//!
//! `cargo run --example own-binding` uses it; `cargo test --example own-binding` runs it through
//! the conformance suite.

use bindery::contract::{
    Binding, Invocation, InvokeError, OpenContext, OpenError, Opened, Operation, Output,
};
use bindery::{Component, NO_METADATA, Reply, Sidecar};

/// The settings: parser, JSON schema and documentation in one declaration.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Settings {
    /// What a shout ends with.
    #[serde(default = "exclamation")]
    end: String,
}

fn exclamation() -> String {
    "!".into()
}

/// The binding, and its output.
struct Shout {
    end: String,
}

impl Binding for Shout {
    const TYPE: &'static str = "bindings.example.shout";
    const SUMMARY: &'static str = "Shouts what it is given.";
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "create",
        summary: "Answers with the data in capitals.",
    }];
    type Settings = Settings;

    async fn open(settings: Settings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::shared(Self { end: settings.end }))
    }
}

impl Output for Shout {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        let text = std::str::from_utf8(&call.data)
            .map_err(|_| InvokeError::bad_request("the data is not text"))?;
        let shout = format!("{}{}", text.to_uppercase(), self.end);
        Ok(Some(Reply::new(shout)))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sidecar = Sidecar::builder("demo")
        .binding::<Shout>()
        .component(Component::new("shout", Shout::TYPE).set("end", "!!"))
        .start()
        .await?;
    let reply = sidecar
        .invoke("shout", "create", "hello", NO_METADATA)
        .await?;
    let data = reply.expect("it always answers").data.collect(1024).await?;
    println!("{}", String::from_utf8_lossy(&data));
    sidecar.shutdown().await;
    Ok(())
}

#[cfg(test)]
#[path = "../tests/conformance/own_binding.rs"]
mod tests;
