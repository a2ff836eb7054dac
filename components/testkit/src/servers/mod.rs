//! Real servers for tests: on free loopback ports, with data in temporary folders, stopped when
//! they are dropped. A service that runs already is never touched.

mod kafka;
mod moto;
mod pgbouncer;
mod postgres;
mod process;
mod redis;

use std::path::PathBuf;

pub use self::kafka::{Kafka, KafkaSecurity};
pub use self::moto::Moto;
pub use self::pgbouncer::PgBouncer;
pub use self::postgres::{Postgres, PostgresOptions};
pub use self::process::Process;
pub use self::redis::{Redis, RedisCluster, RedisFailover, RedisOptions};

/// A server that can go away and come back.
pub trait Outage: Send {
    /// Takes it away, without a word to its clients.
    fn stop(&mut self);
    /// Brings it back: same address, same data. Returns when it answers.
    fn start(&mut self);
}

/// What `tests/servers/install.sh` has put below the cache folder, or where a variable says that
/// it is. Whether it is there is not looked at.
pub fn installed(variable: &str, place: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
            let cache = cache.or_else(home).unwrap_or_default();
            cache.join("bindery").join(place)
        },
        PathBuf::from,
    )
}

/// Finds a program: where an environment variable says, on the PATH, or in `folders`.
///
/// # Panics
/// When it is nowhere, with a sentence that says how to get it.
fn program(variable: &str, name: &str, folders: &[PathBuf]) -> PathBuf {
    if let Some(folder) = std::env::var_os(variable) {
        return PathBuf::from(folder).join(name);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = on_path
        .chain(folders.iter().map(|folder| folder.join(name)))
        .find(|p| p.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not installed; tests/run.sh installs it, or set {variable} to its folder")
    })
}
