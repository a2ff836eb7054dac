//! Redis: one server, a master with a replica and a sentinel, a cluster.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Outage, Process, program};
use crate::certs::{Authority, write};
use crate::ports;

/// A Redis server.
pub struct Redis {
    process: Process,
    options: RedisOptions,
    folder: TempDir,
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
        arguments.extend(options.arguments.clone());
        let log: PathBuf = folder.path().join("log");
        let process = Process::start("redis-server", port, log, move || {
            let mut command = Command::new(&program);
            command.args(&arguments);
            command
        });
        Self {
            process,
            options,
            folder,
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

    /// Has the server do a command, and returns what it prints.
    ///
    /// # Panics
    /// When `redis-cli` is not installed.
    pub fn cli(&self, command: &[&str]) -> String {
        let mut cli = cli(self.port());
        if self.options.tls.is_some() {
            // The server's own certificate will do for a client.
            cli.args([
                "--tls",
                "--insecure",
                "--cert",
                "cert.pem",
                "--key",
                "key.pem",
            ]);
            cli.current_dir(self.folder.path());
        }
        if let Some(password) = &self.options.password {
            cli.env("REDISCLI_AUTH", password);
        }
        printed(cli.args(command))
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

/// A master, its replica, and a sentinel that promotes the replica when the master is away for
/// half a second. The sentinel's name for the master is `main`.
pub struct RedisFailover {
    /// The server that is the master at first.
    pub master: Redis,
    /// The server that is its replica at first.
    pub replica: Redis,
    sentinel: Process,
    _folder: TempDir,
}

impl RedisFailover {
    /// All three, knowing of each other. The servers have the password `of-servers`, the
    /// sentinel `of-sentinels`.
    ///
    /// # Panics
    /// When they are not installed or do not start.
    pub fn start() -> Self {
        let server = |arguments: &[&str]| {
            let usual = ["--masterauth", "of-servers"];
            Redis::with(RedisOptions {
                password: Some("of-servers".into()),
                arguments: usual
                    .iter()
                    .chain(arguments)
                    .map(ToString::to_string)
                    .collect(),
                ..RedisOptions::default()
            })
        };
        let master = server(&[]);
        let replica = server(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
        until("the replica to follow its master", || {
            replica
                .cli(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sentinel = sentinel(&folder, master.port());
        let failover = Self {
            master,
            replica,
            sentinel,
            _folder: folder,
        };
        until("the sentinel to know the replica", || {
            failover
                .ask(&["SENTINEL", "replicas", "main"])
                .contains("master-link-status\nok\n")
        });
        failover
    }

    /// The sentinel's address.
    pub fn sentinel(&self) -> String {
        format!("127.0.0.1:{}", self.sentinel.port())
    }

    /// The port of the master that the sentinel knows now.
    ///
    /// # Panics
    /// When the sentinel does not answer.
    pub fn master_port(&self) -> u16 {
        let reply = self.ask(&["SENTINEL", "get-master-addr-by-name", "main"]);
        let port = reply.lines().nth(1).and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("the sentinel said {reply:?}"))
    }

    /// Has the sentinel do a command, and returns what it prints.
    pub fn ask(&self, command: &[&str]) -> String {
        let mut cli = cli(self.sentinel.port());
        printed(cli.env("REDISCLI_AUTH", "of-sentinels").args(command))
    }
}

fn sentinel(folder: &TempDir, master: u16) -> Process {
    let port = ports::free();
    let config = folder.path().join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nrequirepass of-sentinels\n\
         sentinel monitor main 127.0.0.1 {master} 1\n\
         sentinel auth-pass main of-servers\n\
         sentinel down-after-milliseconds main 500\n\
         sentinel failover-timeout main 2000\n",
        folder.path().display()
    );
    std::fs::write(&config, text).expect("our own folder");
    let program = program("BINDERY_TEST_REDIS", "redis-server", &["/usr/bin".into()]);
    Process::start(
        "redis-sentinel",
        port,
        folder.path().join("log"),
        move || {
            let mut command = Command::new(&program);
            command.arg(&config).arg("--sentinel");
            command
        },
    )
}

/// A cluster of three masters without replicas. The slots of a node that is away are away; the
/// others go on.
pub struct RedisCluster {
    /// The nodes, each with a third of the slots, in order.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// A cluster whose nodes are set up like this.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn with(options: &RedisOptions) -> Self {
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        let mut nodes: Vec<Redis> = Vec::new();
        let mut buses = Vec::new();
        for (first, last) in slots {
            let bus = ports::free().to_string();
            let node = cluster_node(options.clone(), &bus);
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
            nodes.push(node);
            buses.push(bus);
        }
        let mut rounds = 0;
        until("the nodes to know each other", || {
            let apart: Vec<_> = nodes.iter().filter(|node| !knows_all(node)).collect();
            // A handshake that takes longer than the node timeout is forgotten by both sides: it
            // is made again, each two seconds or more.
            if rounds % 100 == 0 {
                for node in &apart {
                    introduce(node, &nodes, &buses);
                }
            }
            rounds += 1;
            apart.is_empty()
        });
        Self { nodes }
    }

    /// Some of its addresses, separated by commas.
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.nodes[..2].iter().map(Redis::address).collect();
        addresses.join(",")
    }
}

fn knows_all(node: &Redis) -> bool {
    let info = node.cli(&["CLUSTER", "INFO"]);
    info.contains("cluster_state:ok") && info.contains("cluster_size:3")
}

/// Tells a node of all the others.
fn introduce(node: &Redis, nodes: &[Redis], buses: &[String]) {
    for (other, bus) in nodes.iter().zip(buses) {
        if other.port() != node.port() {
            let port = other.port().to_string();
            node.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
    }
}

fn cluster_node(mut options: RedisOptions, bus: &str) -> Redis {
    let arguments = [
        ["--cluster-enabled", "yes"],
        ["--cluster-port", bus],
        ["--cluster-node-timeout", "1000"],
        ["--cluster-require-full-coverage", "no"],
    ];
    options
        .arguments
        .extend(arguments.concat().iter().map(ToString::to_string));
    if options.tls.is_some() {
        options
            .arguments
            .extend(["--tls-cluster", "yes"].map(String::from));
    }
    Redis::with(options)
}

fn cli(port: u16) -> Command {
    let mut cli = Command::new(program(
        "BINDERY_TEST_REDIS",
        "redis-cli",
        &["/usr/bin".into()],
    ));
    cli.args(["-p", &port.to_string()]);
    cli
}

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("redis-cli can be started");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "tests wait for other processes")]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "waited 30 s for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
