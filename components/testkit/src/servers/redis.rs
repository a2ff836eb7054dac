//! Redis.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{Outage, Process, program};
use crate::certs::{Authority, write};
use crate::ports;

/// A Redis server.
pub struct Redis {
    process: Process,
    _folder: TempDir,
}

/// How it is set up.
#[derive(Clone, Default)]
pub struct RedisOptions {
    /// A password that clients must give.
    pub password: Option<String>,
    /// Whether it speaks TLS only, with a certificate of this authority.
    pub tls: Option<std::sync::Arc<Authority>>,
    /// Whether clients must show a certificate of the same authority.
    pub client_certificates: bool,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl Redis {
    /// A server without a password.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn start() -> Self {
        Self::with(RedisOptions::default())
    }

    /// A server that is set up like this.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn with(options: RedisOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = program("BINDERY_TEST_REDIS", "redis-server", &["/usr/bin".into()]);
        let port = ports::free();
        let mut arguments: Vec<String> = [
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]
        .map(String::from)
        .to_vec();
        arguments.extend(["--dir".into(), folder.path().display().to_string()]);
        match &options.tls {
            None => arguments.extend(["--port".into(), port.to_string()]),
            Some(authority) => {
                let signed = authority.sign("localhost");
                let file =
                    |name: &str, pem: &str| write(folder.path(), name, pem).display().to_string();
                arguments.extend(["--port".into(), "0".into()]);
                arguments.extend(["--tls-port".into(), port.to_string()]);
                arguments.extend([
                    "--tls-cert-file".into(),
                    file("cert.pem", &signed.certificate),
                ]);
                arguments.extend(["--tls-key-file".into(), file("key.pem", &signed.key)]);
                arguments.extend([
                    "--tls-ca-cert-file".into(),
                    file("ca.pem", &authority.certificate()),
                ]);
                let clients = if options.client_certificates {
                    "yes"
                } else {
                    "no"
                };
                arguments.extend(["--tls-auth-clients".into(), clients.into()]);
            }
        }
        if let Some(password) = &options.password {
            arguments.extend(["--requirepass".into(), password.clone()]);
        }
        arguments.extend(options.arguments);
        let log: PathBuf = folder.path().join("log");
        let process = Process::start("redis-server", port, log, move || {
            let mut command = Command::new(&program);
            command.args(&arguments);
            command
        });
        Self {
            process,
            _folder: folder,
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.process.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.process.port()
    }
}

impl Outage for Redis {
    fn stop(&mut self) {
        self.process.kill();
    }

    fn start(&mut self) {
        self.process.spawn();
    }
}
