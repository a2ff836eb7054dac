//! Connection strings: libpq's keywords (`host=db user=app password='a b'`) or a URL
//! (`postgres://app:secret@db:5432/orders?sslmode=require`), into one map of keys.
//!
//! What the keys mean is [`target`](crate::target)'s business.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// The keys of a connection string. Has no `Debug`, because a password is among them.
#[derive(Default)]
pub(crate) struct Keys(BTreeMap<String, String>);

/// What is wrong with a connection string. Never shows a part of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// A word stands alone.
    #[error("a keyword without '=' at byte {at}; a value with spaces must be in single quotes")]
    NoEquals { at: usize },
    /// Nothing, or several words, before an `=`.
    #[error(
        "no single keyword before the '=' at byte {at}; a value with spaces must be in single quotes"
    )]
    NoKeyword { at: usize },
    /// A quote is opened and never closed.
    #[error("the quoted value of {key} has no end")]
    Unterminated { key: String },
    /// A backslash is the last character.
    #[error("the value of {key} ends with a backslash; write \\\\ for one")]
    Backslash { key: String },
    /// A `[` of an address in a URL is never closed, or something else follows it than a port.
    #[error("an IPv6 address in the URL is not written as [address] or [address]:port")]
    Address,
    /// Percent-encoded bytes that are no text.
    #[error("a percent-encoded part of the URL is not UTF-8")]
    NotText,
}

impl Keys {
    /// Reads a connection string of either form; an empty one has no keys.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        let url = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        match url {
            Some(rest) => Self::from_url(rest),
            None => Self::from_keywords(text),
        }
    }

    /// Sets a key, which may have two names; an empty value means the same as no value, as in
    /// libpq.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        let key = match key {
            "database" => "dbname",
            "keepalives_count" => "keepalives_retries",
            key => key,
        };
        let value = value.into();
        if value.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.to_owned(), value);
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Takes a key out.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// What is left.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }

    fn from_keywords(text: &str) -> Result<Self, ParseError> {
        let mut keys = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let (key, after) = rest.split_once('=').ok_or(ParseError::NoEquals { at })?;
            let key = key.trim_end();
            if key.is_empty() || key.contains(char::is_whitespace) {
                return Err(ParseError::NoKeyword {
                    at: text.len() - after.len() - 1,
                });
            }
            let (value, after) = keyword_value(key, after.trim_start())?;
            keys.set(key, value);
            rest = after.trim_start();
        }
        Ok(keys)
    }

    fn from_url(rest: &str) -> Result<Self, ParseError> {
        let mut keys = Self::default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        keys.set("dbname", decode(database)?);
        let hosts = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => {
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                keys.set("user", decode(user)?);
                keys.set("password", decode(password)?);
                hosts
            }
            None => authority,
        };
        keys.set_hosts(hosts)?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            keys.set(&decode(key)?, decode(&value.replace('+', " "))?);
        }
        Ok(keys)
    }

    /// `one:5432,two,[::1]:5433`: as many ports as hosts, an empty one being the usual one.
    fn set_hosts(&mut self, list: &str) -> Result<(), ParseError> {
        let pairs: Vec<(&str, &str)> = list
            .split(',')
            .map(host_and_port)
            .collect::<Result<_, _>>()?;
        let hosts: Vec<String> = pairs
            .iter()
            .map(|(host, _)| decode(host))
            .collect::<Result<_, _>>()?;
        let ports: Vec<&str> = pairs.iter().map(|(_, port)| *port).collect();
        self.set("host", hosts.join(","));
        if ports.iter().any(|port| !port.is_empty()) {
            self.set("port", ports.join(","));
        }
        Ok(())
    }
}

/// Reads the value that `text` begins with, and returns what follows it.
fn keyword_value<'a>(key: &str, text: &'a str) -> Result<(String, &'a str), ParseError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => {
                    return Err(ParseError::Backslash {
                        key: key.to_owned(),
                    });
                }
            },
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted {
        return Err(ParseError::Unterminated {
            key: key.to_owned(),
        });
    }
    Ok((value, ""))
}

fn host_and_port(text: &str) -> Result<(&str, &str), ParseError> {
    let Some(address) = text.strip_prefix('[') else {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    };
    let (address, after) = address.split_once(']').ok_or(ParseError::Address)?;
    match after.strip_prefix(':') {
        Some(port) => Ok((address, port)),
        None if after.is_empty() => Ok((address, "")),
        None => Err(ParseError::Address),
    }
}

fn decode(text: &str) -> Result<String, ParseError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| ParseError::NotText)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn keys(text: &str) -> Vec<(String, String)> {
        match Keys::parse(text) {
            Ok(keys) => keys.into_iter().collect(),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    #[track_caller]
    fn reads(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(keys(text), expected, "{text}");
    }

    #[test]
    fn keywords_are_read_as_libpq_reads_them() {
        reads("", &[]);
        reads(
            "user=dapr password=secret host=db port=5432 dbname=orders",
            &[
                ("dbname", "orders"),
                ("host", "db"),
                ("password", "secret"),
                ("port", "5432"),
                ("user", "dapr"),
            ],
        );
        reads(
            "  host = db\n\tdatabase=orders ",
            &[("dbname", "orders"), ("host", "db")],
        );
        reads(
            r"password='it\'s a \\ b' user=x",
            &[("password", r"it's a \ b"), ("user", "x")],
        );
        reads(r"password=a\ b\\c'd", &[("password", r"a b\c'd")]);
        reads("password='' host=db", &[("host", "db")]);
        reads("host=one host=two", &[("host", "two")]);
        reads("password=a=b==", &[("password", "a=b==")]);
    }

    #[test]
    fn a_url_is_read_with_all_its_parts() {
        reads("postgres://", &[]);
        reads(
            "postgresql://dapr:p%40ss%20word@db.example.com:5433/orders?sslmode=verify-ca&pool_max_conns=7",
            &[
                ("dbname", "orders"),
                ("host", "db.example.com"),
                ("password", "p@ss word"),
                ("pool_max_conns", "7"),
                ("port", "5433"),
                ("sslmode", "verify-ca"),
                ("user", "dapr"),
            ],
        );
        reads("postgres://db", &[("host", "db")]);
        reads(
            "postgres://u@/orders?host=/var/run/pg",
            &[("dbname", "orders"), ("host", "/var/run/pg"), ("user", "u")],
        );
        reads(
            "postgres://%2Fvar%2Frun%2Fpg/x",
            &[("dbname", "x"), ("host", "/var/run/pg")],
        );
        reads(
            "postgres://a:1,b,[::1]:3/x",
            &[("dbname", "x"), ("host", "a,b,::1"), ("port", "1,,3")],
        );
        reads("postgres://[::1]", &[("host", "::1")]);
        reads(
            "postgres://u:a@b@db",
            &[("host", "db"), ("password", "a@b"), ("user", "u")],
        );
        reads(
            "postgres://db?application_name=my+app",
            &[("application_name", "my app"), ("host", "db")],
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_and_nothing_of_it_is_shown() {
        for (text, says) in [
            ("hunter2", "keyword without '='"),
            ("password=my hunter2 host=x", "no single keyword"),
            ("=hunter2", "no single keyword"),
            ("password='hunter2", "of password has no end"),
            ("password=hunter2\\", "ends with a backslash"),
            ("postgres://u:hunter2@[::1/x", "IPv6"),
            ("postgres://u:hunter2@[::1]x/x", "IPv6"),
            ("postgres://u:hunter2%ff@x", "UTF-8"),
        ] {
            let error = Keys::parse(text)
                .err()
                .unwrap_or_else(|| panic!("{text} was read"))
                .to_string();
            assert!(
                error.contains(says) && !error.contains("hunter2"),
                "{text}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*", scheme in prop_oneof![Just(""), Just("postgres://"), Just("postgresql://u:p@")]) {
            let _ = Keys::parse(&format!("{scheme}{text}"));
        }

        #[test]
        fn any_password_can_be_quoted(password in "\\PC+") {
            let quoted = password.replace('\\', r"\\").replace('\'', r"\'");
            let keys = Keys::parse(&format!("user=x password='{quoted}' host=y")).unwrap();
            prop_assert_eq!(keys.get("password"), Some(password.as_str()));
            prop_assert_eq!(keys.get("host"), Some("y"));
        }

        #[test]
        fn any_password_can_be_percent_encoded(password in "\\PC+") {
            let encoded: Vec<String> = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let encoded = encoded.concat();
            let keys = Keys::parse(&format!("postgres://x:{encoded}@y/z")).unwrap();
            prop_assert_eq!(keys.get("password"), Some(password.as_str()));
        }
    }
}
