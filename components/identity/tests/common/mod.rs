//! What the tests of Entra ID have in common. Where it is, the environment says, so each of them
//! has a process of its own.

#![allow(dead_code, reason = "each test program uses a part")]

use bindery_contract::settings::{Conventions, Properties, SettingsError, decode};
use bindery_contract::{Clock, OpenError};
use bindery_identity::{Entra, EntraSettings, Provider, Token};
use bindery_testkit::alone::{is_alone, run_alone};
use bindery_testkit::identity::{Identity, Reply};
use bindery_testkit::ports;

/// The variables that say where Entra ID is.
pub const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
pub const MACHINE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

pub const RESOURCE: &str = "https://db.example.com";

pub type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Runs a test in a process of its own, with an authority and a machine that are not there yet.
pub fn alone(test: &str, body: impl AsyncFnOnce()) {
    alone_with(test, &[], body);
}

/// The same, with more variables.
pub fn alone_with(test: &str, variables: Pairs<'_>, body: impl AsyncFnOnce()) {
    if !is_alone(test) {
        let url = || format!("http://127.0.0.1:{}", ports::free());
        let (authority, machine) = (url(), url());
        let places = [(AUTHORITY, &*authority), (MACHINE, &*machine)];
        return run_alone(test, &[&places, variables].concat());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(body());
}

pub async fn provider(variable: &str, reply: Reply) -> Identity {
    let url = std::env::var(variable).unwrap();
    Identity::start_at(&url, None, move |_| reply.clone()).await
}

pub fn entra(settings: Pairs<'_>) -> Result<Entra, SettingsError> {
    let properties: Properties = settings.iter().copied().collect();
    let settings = decode::<EntraSettings>(&properties, Conventions::Usual).unwrap();
    Entra::of(&settings, RESOURCE)
}

pub async fn ask(settings: Pairs<'_>) -> Result<Token, OpenError> {
    entra(settings).unwrap().fetch(&Clock::system()).await
}
