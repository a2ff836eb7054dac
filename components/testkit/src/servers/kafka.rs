//! Apache Kafka: one node that is its own controller.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{Outage, Process, program};
use crate::certs::{Authority, write};
use crate::ports;

/// What clients have to do to be let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KafkaSecurity {
    /// Nothing.
    #[default]
    Plaintext,
    /// TLS and a client certificate.
    Mtls,
    /// User `tester`, password `secret`, in plain SASL without TLS.
    SaslPlain,
    /// User `tester`, password `secret`, in plain SASL over TLS.
    SaslTls,
    /// User `tester`, password `secret`, SCRAM-SHA-256 or SCRAM-SHA-512 without TLS.
    SaslScram,
}

/// A Kafka broker.
pub struct Kafka {
    process: Process,
    _folder: TempDir,
}

impl Kafka {
    /// A broker that lets everybody in.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn start() -> Self {
        Self::with(KafkaSecurity::Plaintext, None)
    }

    /// A broker that is secured like this; TLS needs an authority.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn with(security: KafkaSecurity, authority: Option<&Authority>) -> Self {
        let port = ports::free();
        Self::at(port, port, security, authority)
    }

    /// A broker at `port` that tells its clients to come to `advertised`: the port of a proxy,
    /// which clients would otherwise leave as soon as they have learned where the broker is.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn behind(port: u16, advertised: u16) -> Self {
        Self::at(port, advertised, KafkaSecurity::Plaintext, None)
    }

    fn at(
        port: u16,
        advertised: u16,
        security: KafkaSecurity,
        authority: Option<&Authority>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let java = program("BINDERY_TEST_JAVA", "java", &["/usr/bin".into()]);
        let libs = libraries();
        let config = folder.path().join("server.properties");
        let places = [port, advertised, ports::free()];
        let text = properties(security, authority, places, folder.path());
        std::fs::write(&config, text).expect("our own folder");
        format(&java, &libs, &config, security);
        let log = folder.path().join("log");
        let process = Process::start("kafka", port, log, move || {
            let mut command = Command::new(&java);
            command.args(["-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-cp", &libs]);
            command.arg("kafka.Kafka").arg(&config);
            command
        });
        Self {
            process,
            _folder: folder,
        }
    }

    /// `127.0.0.1:port`, what `brokers` wants.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.process.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.process.port()
    }
}

impl Outage for Kafka {
    fn stop(&mut self) {
        self.process.kill();
    }

    fn start(&mut self) {
        self.process.spawn();
    }
}

/// The class path: where the environment says, or where the test script puts the jars.
fn libraries() -> String {
    let folder = super::installed("BINDERY_TEST_KAFKA", "kafka/libs");
    match Some(folder).filter(|folder| folder.is_dir()) {
        Some(folder) => folder.join("*").display().to_string(),
        None => panic!(
            "Kafka is not installed; tests/run.sh installs it, or set BINDERY_TEST_KAFKA to the \
             folder of its jars"
        ),
    }
}

fn properties(
    security: KafkaSecurity,
    authority: Option<&Authority>,
    [port, advertised, controller]: [u16; 3],
    folder: &Path,
) -> String {
    let name = match security {
        KafkaSecurity::Plaintext => "PLAINTEXT",
        KafkaSecurity::Mtls => "SSL",
        KafkaSecurity::SaslTls => "SASL_SSL",
        KafkaSecurity::SaslPlain | KafkaSecurity::SaslScram => "SASL_PLAINTEXT",
    };
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners={name}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners={name}://127.0.0.1:{advertised}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name={name}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\
         SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=500\n",
        folder.join("data").display()
    );
    if let (KafkaSecurity::Mtls | KafkaSecurity::SaslTls, Some(authority)) = (security, authority) {
        let clients = if security == KafkaSecurity::Mtls {
            "required"
        } else {
            "none"
        };
        let signed = authority.sign("localhost");
        let both = format!("{}{}", signed.certificate, signed.key);
        let keys = write(folder, "server.pem", &both);
        let trusted = write(folder, "ca.pem", &authority.certificate());
        let _ = write!(
            text,
            "ssl.keystore.type=PEM\nssl.keystore.location={}\n\
             ssl.truststore.type=PEM\nssl.truststore.location={}\n\
             ssl.client.auth={clients}\nssl.endpoint.identification.algorithm=\n",
            keys.display(),
            trusted.display()
        );
    }
    let login = |module: &str, more: &str| {
        format!(
            "org.apache.kafka.common.security.{module} required username=\"tester\" \
             password=\"secret\"{more};"
        )
    };
    match security {
        KafkaSecurity::SaslPlain | KafkaSecurity::SaslTls => {
            let login = login("plain.PlainLoginModule", " user_tester=\"secret\"");
            let _ = write!(
                text,
                "sasl.enabled.mechanisms=PLAIN\n\
                 sasl.mechanism.inter.broker.protocol=PLAIN\n\
                 listener.name.{}.plain.sasl.jaas.config={login}\n",
                name.to_lowercase()
            );
        }
        KafkaSecurity::SaslScram => {
            let login = login("scram.ScramLoginModule", "");
            let _ = write!(
                text,
                "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512\n\
                 sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512\n\
                 listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config={login}\n\
                 listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config={login}\n"
            );
        }
        KafkaSecurity::Plaintext | KafkaSecurity::Mtls => {}
    }
    text
}

/// Makes the data folder what a broker expects.
fn format(java: &Path, libs: &str, config: &Path, security: KafkaSecurity) {
    let mut command = Command::new(java);
    command.args([
        "-cp",
        libs,
        "kafka.tools.StorageTool",
        "format",
        "--ignore-formatted",
    ]);
    command
        .args(["-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"])
        .arg(config);
    if security == KafkaSecurity::SaslScram {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let user = format!("{mechanism}=[name=tester,password=secret]");
            command.args(["--add-scram", &user]);
        }
    }
    let made = command.output().expect("java can be run");
    assert!(
        made.status.success(),
        "StorageTool: {}{}",
        String::from_utf8_lossy(&made.stdout),
        String::from_utf8_lossy(&made.stderr)
    );
}
