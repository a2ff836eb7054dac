//! `PgBouncer`.

use std::process::Command;

use tempfile::TempDir;

use super::postgres::{as_nobody, own};
use super::{Postgres, Process, program};
use crate::ports;

/// A `PgBouncer` in front of a [`Postgres`], which gives each transaction another connection.
pub struct PgBouncer {
    process: Process,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts one with a pool of so many connections.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn in_front_of(server: &Postgres, connections: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = program("BINDERY_TEST_PGBOUNCER", "pgbouncer", &["/usr/sbin".into()]);
        let port = ports::free();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("our own folder");
            own(&path);
            path
        };
        own(folder.path());
        let users = file("users", "\"tester\" \"secret\"\n");
        let settings = file(
            "pgbouncer.ini",
            &format!(
                "[databases]\n\
                 * = host=127.0.0.1 port={server_port}\n\
                 [pgbouncer]\n\
                 listen_addr = 127.0.0.1\n\
                 listen_port = {port}\n\
                 unix_socket_dir =\n\
                 auth_type = scram-sha-256\n\
                 auth_file = {users}\n\
                 pool_mode = transaction\n\
                 server_round_robin = 1\n\
                 default_pool_size = {connections}\n",
                server_port = server.port(),
                users = users.display(),
            ),
        );
        let process = Process::start("pgbouncer", port, folder.path().join("log"), move || {
            let mut command = as_nobody(Command::new(&program));
            command.arg(&settings);
            command
        });
        Self {
            process,
            _folder: folder,
        }
    }

    /// A connection string for the database `tester`.
    pub fn url(&self) -> String {
        let port = self.process.port();
        format!("postgres://tester:secret@127.0.0.1:{port}/tester")
    }
}
