//! The line of the log that says where something listens, how far that reaches, and which flag
//! changes it.

use std::net::{IpAddr, SocketAddr};

use crate::http::{Address, Listener};

/// What somebody has, or has not, said about addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// They were chosen.
    #[default]
    Chosen,
    /// Nothing was said: this machine only.
    ThisMachine,
    /// Nothing was said: everybody.
    Everybody,
}

impl Reach {
    /// This one, unless addresses were chosen.
    pub(super) fn unless_chosen(self, addresses: &[IpAddr]) -> Self {
        if addresses.is_empty() {
            self
        } else {
            Self::Chosen
        }
    }

    /// Where it listens, as the end of a line of the log; nothing where it does not.
    pub(super) fn of(self, addresses: &[Address], flag: &str) -> Option<String> {
        let port = match addresses.first()? {
            Address::Port(address) => address.port(),
            Address::File(path) => return Some(format!("unix domain socket {}", path.display())),
        };
        let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let reach = match self {
            Self::Chosen => String::new(),
            Self::ThisMachine => {
                format!(" (this machine only; --{flag}=0.0.0.0 opens it to others)")
            }
            Self::Everybody => format!(" (open to others; --{flag}=127.0.0.1 closes it to them)"),
        };
        Some(format!("port {port}: {}{reach}", all.join(", ")))
    }
}

/// Where listeners are.
pub(super) fn addresses(listeners: &[Listener]) -> Vec<Address> {
    let addresses = listeners.iter().map(|listener| listener.address.clone());
    addresses.collect()
}

/// Those of them that are ports.
pub(super) fn ports(listeners: &[Listener]) -> Vec<SocketAddr> {
    let addresses = listeners.iter().map(|listener| &listener.address);
    addresses.filter_map(Address::port).collect()
}

/// What opens both APIs to others.
pub(super) const API_FLAG: &str = "dapr-listen-addresses";
