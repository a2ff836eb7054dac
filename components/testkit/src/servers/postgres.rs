//! `PostgreSQL`.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Outage, Process, program};
use crate::certs::Authority;
use crate::ports;

/// The user that the server runs as when we are root, which it refuses to be.
const NOBODY: u32 = 65_534;

/// A `PostgreSQL` server with a user `tester`, password `secret`, and a database `tester`.
pub struct Postgres {
    process: Process,
    folder: TempDir,
}

/// How it is set up.
#[derive(Clone, Default)]
pub struct PostgresOptions {
    /// Whether it also speaks TLS, with a certificate of this authority for `localhost`; it
    /// trusts clients' certificates of the same authority.
    pub tls: Option<Arc<Authority>>,
    /// Lines of `pg_hba.conf` instead of those that ask everybody for a password.
    pub access: Vec<String>,
    /// Further settings, `name=value`.
    pub settings: Vec<String>,
}

impl Postgres {
    /// A server without TLS.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn start() -> Self {
        Self::with(PostgresOptions::default())
    }

    /// A server that is set up like this.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn with(options: PostgresOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folders = versions();
        let variable = "BINDERY_TEST_POSTGRES";
        let (initdb, server) = (
            program(variable, "initdb", &folders),
            program(variable, "postgres", &folders),
        );
        own(folder.path());
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, "secret").expect("our own folder");
        own(&password);
        let made = as_nobody(Command::new(initdb))
            .arg("--pgdata")
            .arg(&data)
            .args([
                "--username",
                "tester",
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
            ])
            .args(["--no-sync", "--no-locale", "--pwfile"])
            .arg(&password)
            .output()
            .expect("initdb can be run");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        if !options.access.is_empty() {
            let own_socket = String::from("local all all trust");
            let lines: Vec<String> = [own_socket].into_iter().chain(options.access).collect();
            std::fs::write(data.join("pg_hba.conf"), lines.join("\n") + "\n")
                .expect("our own folder");
        }
        let mut settings = options.settings;
        settings.extend([
            "fsync=off".to_owned(),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", folder.path().display()),
        ]);
        if let Some(authority) = &options.tls {
            let signed = authority.sign("localhost");
            let file = |name: &str, pem: &str| {
                let path = crate::certs::write(folder.path(), name, pem);
                own(&path);
                path.display().to_string()
            };
            settings.push("ssl=on".into());
            settings.push(format!(
                "ssl_cert_file={}",
                file("cert.pem", &signed.certificate)
            ));
            settings.push(format!("ssl_key_file={}", file("key.pem", &signed.key)));
            settings.push(format!(
                "ssl_ca_file={}",
                file("ca.pem", &authority.certificate())
            ));
        }
        let port = ports::free();
        let log = folder.path().join("log");
        let process = Process::start("postgres", port, log, move || {
            // A server that was killed leaves its lock behind.
            let _ = std::fs::remove_file(data.join("postmaster.pid"));
            let mut command = as_nobody(Command::new(&server));
            command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
            for setting in &settings {
                command.args(["-c", setting]);
            }
            command
        });
        let postgres = Self { process, folder };
        postgres.create_database();
        postgres
    }

    fn create_database(&self) {
        let folders = versions();
        let createdb = program("BINDERY_TEST_POSTGRES", "createdb", &folders);
        let made = Command::new(createdb)
            .arg("-h")
            .arg(self.socket_folder())
            .args(["-p", &self.port().to_string(), "-U", "tester", "tester"])
            .env("PGPASSWORD", "secret")
            .output()
            .expect("createdb can be run");
        assert!(
            made.status.success(),
            "createdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    /// A connection string for the database `tester`.
    pub fn url(&self) -> String {
        format!("postgres://tester:secret@127.0.0.1:{}/tester", self.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Outage for Postgres {
    fn stop(&mut self) {
        // Its children go on for a moment when only the first process is killed; a group of
        // their own would be theirs to choose, so the server is asked to end at once instead.
        if let Some(id) = self.process.id() {
            let _ = Command::new("kill")
                .args(["-QUIT", &id.to_string()])
                .status();
        }
        self.process.wait();
    }

    fn start(&mut self) {
        self.process.spawn();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where Debian puts it, the newest first.
fn versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

pub(super) fn own(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may do this");
    }
}

pub(super) fn as_nobody(mut command: Command) -> Command {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY).env("HOME", "/");
    }
    command.current_dir("/");
    command
}
