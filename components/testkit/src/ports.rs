//! Loopback ports.

use std::net::{Ipv4Addr, TcpListener};

/// A port of the loopback address that nobody listens on now.
///
/// # Panics
/// When the system has none left.
pub fn free() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
