//! The addresses in `redisHost`.

use std::fmt;

use bindery_contract::settings::SettingsError;

const DEFAULT_PORT: u16 = 6379;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Reads the addresses of a list; `port` is that of addresses without one, 0 if none is set.
    pub(crate) fn list(text: &str, port: u16) -> Result<Vec<Self>, SettingsError> {
        let addresses = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let addresses: Vec<_> = addresses
            .map(|one| {
                Self::parse(one, port).map_err(|error| SettingsError::new("redisHost", error))
            })
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(SettingsError::new(
                "redisHost",
                "is empty: write the server's host, or host:port",
            ));
        }
        Ok(addresses)
    }

    fn parse(text: &str, port: u16) -> Result<Self, String> {
        let (host, own) = split(text)?;
        if host.is_empty() || host.contains(['/', '@', ' ', '[', ']']) {
            return Err(format!(
                "{text:?} is not an address: write host or host:port"
            ));
        }
        match own {
            Some(own) if port != 0 && own != port => Err(format!(
                "{text:?} has port {own} and redisPort is {port}: remove one of them"
            )),
            Some(own) => Ok(Self::new(host, own)),
            None if port == 0 => Ok(Self::new(host, DEFAULT_PORT)),
            None => Ok(Self::new(host, port)),
        }
    }
}

/// The host, without the brackets of an IPv6 address, and the port if there is one.
fn split(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| format!("{text:?} has a bracket that is not closed"))?;
            (host, rest.strip_prefix(':'))
        }
        // More than one colon without brackets is an IPv6 address, and all of it.
        None if text.matches(':').count() > 1 => (text, None),
        None => text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!(
            "{text:?} has no port from 1 to 65535 after its colon"
        )),
    });
    Ok((host, port.transpose()?))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, port: u16) -> Result<String, String> {
        let list = Address::list(text, port).map_err(|error| error.to_string())?;
        let list: Vec<_> = list.iter().map(Address::to_string).collect();
        Ok(list.join(" "))
    }

    #[test]
    fn a_port_is_taken_from_the_address_the_setting_or_the_default() {
        for (text, port, expected) in [
            ("redis", 0, "redis:6379"),
            ("redis", 7000, "redis:7000"),
            ("redis:7000", 0, "redis:7000"),
            ("redis:7000", 7000, "redis:7000"),
            ("a, b:1 ,,c,", 0, "a:6379 b:1 c:6379"),
            ("a,b", 26379, "a:26379 b:26379"),
            ("10.0.0.1:6380", 0, "10.0.0.1:6380"),
            ("[::1]:6380", 0, "[::1]:6380"),
            ("[::1]", 0, "[::1]:6379"),
            ("fe80::1", 9, "[fe80::1]:9"),
        ] {
            assert_eq!(read(text, port).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_so() {
        for (text, port, says) in [
            ("", 0, "is empty"),
            (" , ", 0, "is empty"),
            ("redis:7000", 7001, "has port 7000 and redisPort is 7001"),
            ("a,b:7", 8, "\"b:7\" has port 7 and redisPort is 8"),
            ("redis:", 0, "no port from 1 to 65535"),
            ("redis:0", 0, "no port from 1 to 65535"),
            ("redis:99999", 0, "no port from 1 to 65535"),
            ("redis:port", 0, "no port from 1 to 65535"),
            (":6379", 0, "is not an address"),
            ("redis://host", 0, "no port from 1 to 65535"),
            ("user@host", 0, "is not an address"),
            ("[::1", 0, "not closed"),
            ("[]:1", 0, "is not an address"),
        ] {
            let error = read(text, port).unwrap_err();
            assert!(
                error.contains(says) && error.contains("redisHost"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(host in "[a-z0-9.-]{1,20}|[0-9a-f]{1,4}::[0-9a-f]{1,4}", port in 1u16..) {
            let printed = Address::new(host, port).to_string();
            prop_assert_eq!(read(&printed, 0), Ok(printed.clone()));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", port: u16) {
            let _ = read(&text, port);
        }
    }
}
