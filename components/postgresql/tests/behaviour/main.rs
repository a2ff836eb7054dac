//! What `bindings.postgresql` does, seen from outside, against real servers.

mod aws;
mod connections;
mod database;
mod entra;
mod guarded;
mod modes;
mod operations;
mod params;
mod settings;
mod tls;
mod types;
