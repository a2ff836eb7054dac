//! Loopback ports.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below what the system gives to outgoing connections, which would otherwise take a port between
/// its choice and its use; and with room for a second port 10 000 above, where a Redis cluster has
/// its bus.
const RANGE: std::ops::Range<u16> = 12_000..22_000;

/// A port of the loopback address that nobody listens on now, and that nobody else who asks here
/// is given while this process lives.
///
/// # Panics
/// When there is none left.
pub fn free() -> u16 {
    // The same number for UDP, which no server here uses, keeps it from other test processes.
    static RESERVED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    for _ in 0..1000 {
        let port = fastrand::u16(RANGE);
        let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
            reserved.push(reservation);
            return port;
        }
    }
    panic!(
        "there is no free port from {} to {}",
        RANGE.start, RANGE.end
    );
}
