//! A database that lets a role in with a token only, and the Entra ID that gives it. The
//! environment says where both are, so such tests run in processes of their own.

use bindery_contract::OpenError;
use bindery_testkit::alone::{is_alone, run_alone};
use bindery_testkit::identity::{Identity, Reply};
use bindery_testkit::ports;

use crate::database::{Database, server};

/// Says where Entra ID is.
pub const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
/// Says where the server is that all these processes share.
pub const DATABASE: &str = "BINDERY_TEST_DATABASE";

pub fn free_url() -> String {
    format!("http://127.0.0.1:{}", ports::free())
}

/// Runs a test of `entra.rs` in a process of its own, with an Entra ID that is not there yet.
pub fn alone(test: &str, body: impl AsyncFnOnce()) {
    alone_with(test, &[(AUTHORITY, &free_url())], body);
}

/// The same with this environment.
pub fn alone_with(test: &str, environment: &[(&str, &str)], body: impl AsyncFnOnce()) {
    let test = format!("entra::{test}");
    if !is_alone(&test) {
        let server = server();
        let database = [(DATABASE, &*server.url())];
        return run_alone(&test, &[environment, &database].concat());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(body());
}

pub async fn entra(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Identity {
    Identity::start_at(&std::env::var(AUTHORITY).unwrap(), None, reply).await
}

/// A role of a test's own, whom a token lets in.
pub struct Guarded {
    role: String,
    /// Where it is let in.
    pub url: String,
    /// Who may do everything there.
    pub admin: Database,
}

impl Guarded {
    pub async fn by(token: &str) -> Self {
        let url = std::env::var(DATABASE).unwrap();
        let role = format!("app_{}", std::process::id());
        let admin = Database::open(&[("url", &url)]).await.unwrap();
        admin.exec(&format!("CREATE ROLE {role} LOGIN")).await;
        let url = url.replace("tester:secret", &role);
        let guarded = Self { role, url, admin };
        guarded.let_in(token).await;
        guarded
    }

    /// Lets the role in with this token only.
    pub async fn let_in(&self, token: &str) {
        let sql = format!("ALTER ROLE {} PASSWORD '{token}'", self.role);
        self.admin.exec(&sql).await;
    }

    /// Opens the binding for the role.
    pub async fn open(&self, settings: &[(&str, &str)]) -> Result<Database, OpenError> {
        open(&self.url, settings).await
    }

    /// A question about the connections that the role has.
    pub fn connections(&self, what: &str) -> String {
        let role = &self.role;
        format!("SELECT {what} FROM pg_stat_activity WHERE usename = '{role}'")
    }

    /// What `WHO` answers when the role is let in.
    pub fn is_in(&self) -> String {
        format!("[[\"{}\"]]", self.role)
    }
}

pub async fn open(url: &str, settings: &[(&str, &str)]) -> Result<Database, OpenError> {
    Database::open(&[&[("url", url)], settings].concat()).await
}
