//! How flags may be spelt, and what is said of those that are old or have no effect here.

use std::ffi::OsString;
use std::str::FromStr;

use bindery_contract::settings::parse_bool;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use super::SidecarFlags;

/// A switch, as Go reads it: 1, t, T, TRUE, true, True, 0, f, F, FALSE, false, False.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoBool(pub bool);

impl FromStr for GoBool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_bool(text)
            .map(Self)
            .ok_or_else(|| String::from("write true or false"))
    }
}

/// A port; nothing at all is none, as the injector writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub Option<u16>);

impl Port {
    /// The port, unless there is none or it is 0.
    pub fn positive(self) -> Option<u16> {
        self.0.filter(|port| *port != 0)
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let port = text
            .parse()
            .map_err(|_| String::from("a port is a number from 0 to 65535"))?;
        Ok(Self(Some(port)))
    }
}

/// Takes Go's single-dash spelling too: `-app-id x` means `--app-id x`. What follows a bare `--`
/// is left alone.
pub fn normalise(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let command = SidecarFlags::augment_args(clap::Command::new("flags"));
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(str::to_owned))
        .chain(["help", "version", "build-info", "wait"].map(str::to_owned))
        .collect();
    let mut rest_is_theirs = false;
    arguments
        .map(|argument| {
            rest_is_theirs |= argument == "--";
            let Some(text) = argument.to_str().filter(|_| !rest_is_theirs) else {
                return argument;
            };
            let Some(name) = text.strip_prefix('-').filter(|name| !name.starts_with('-')) else {
                return argument;
            };
            let flag = name.split('=').next().unwrap_or(name);
            if known.iter().any(|known| known == flag) {
                format!("-{text}").into()
            } else {
                argument
            }
        })
        .collect()
}

/// A flag that is old: its name, and what to write instead.
pub type Deprecated = (&'static str, &'static str);

const DEPRECATED: &[Deprecated] = &[
    ("components-path", "use --resources-path"),
    (
        "app-ssl",
        "use --app-protocol=https or --app-protocol=grpcs",
    ),
    ("dapr-http-max-request-size", "use --max-body-size"),
    ("dapr-http-read-buffer-size", "use --read-buffer-size"),
    ("dapr-http-stream-request-body", "it has no effect"),
];

/// Flags that this version takes and does nothing about. Those of Dapr's control plane are not
/// among them: nobody who starts a sidecar by hand would miss them.
const INEFFECTIVE: &[&str] = &["enable-profiling", "profile-port", "enable-mtls"];

/// The old flags on a command line.
pub fn deprecated(matches: &ArgMatches) -> Vec<Deprecated> {
    DEPRECATED
        .iter()
        .filter(|(name, _)| is_given(matches, name))
        .copied()
        .collect()
}

/// The flags on a command line that have no effect.
pub fn ineffective(matches: &ArgMatches) -> Vec<&'static str> {
    INEFFECTIVE
        .iter()
        .filter(|name| is_given(matches, name) && !is_none(matches, name))
        .copied()
        .collect()
}

/// A port of -1 asks for nothing.
fn is_none(matches: &ArgMatches, flag: &str) -> bool {
    let values = matches.get_raw(&flag.replace('-', "_"));
    values
        .and_then(Iterator::last)
        .is_some_and(|value| value == "-1")
}

fn is_given(matches: &ArgMatches, flag: &str) -> bool {
    matches.value_source(&flag.replace('-', "_")) == Some(ValueSource::CommandLine)
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn parse(line: &str) -> (ArgMatches, SidecarFlags) {
        let command = SidecarFlags::augment_args(clap::Command::new("daprd"));
        let words = std::iter::once("daprd")
            .chain(line.split_whitespace())
            .map(OsString::from);
        let matches = command.try_get_matches_from(normalise(words)).unwrap();
        let flags = SidecarFlags::from_arg_matches(&matches).unwrap();
        (matches, flags)
    }

    #[test]
    fn a_flag_may_be_spelt_in_four_ways() {
        for line in ["--app-id x", "--app-id=x", "-app-id x", "-app-id=x"] {
            assert_eq!(parse(line).1.app_id, "x", "{line}");
        }
        for (line, is) in [
            ("--enable-metrics", true),
            ("-enable-metrics=f", false),
            ("--enable-metrics=TRUE", true),
            ("", true),
        ] {
            assert_eq!(parse(line).1.enable_metrics, GoBool(is), "{line}");
        }
    }

    #[test]
    fn what_follows_two_dashes_is_left_alone() {
        let words = ["daprd", "--", "-app-id", "x"].map(OsString::from);
        assert_eq!(normalise(words.clone().into_iter()), words);
    }

    #[test]
    fn a_port_may_be_nothing() {
        assert_eq!(
            parse("--dapr-public-port= --app-port 0")
                .1
                .app_port
                .positive(),
            None
        );
        assert_eq!(
            "65536".parse::<Port>().unwrap_err(),
            "a port is a number from 0 to 65535"
        );
    }

    #[test]
    fn every_flag_of_the_two_lists_exists() {
        let command = SidecarFlags::augment_args(clap::Command::new("daprd"));
        let names = DEPRECATED.iter().map(|(name, _)| name).chain(INEFFECTIVE);
        for name in names {
            assert!(
                command
                    .get_arguments()
                    .any(|argument| argument.get_long() == Some(name)),
                "{name}"
            );
        }
        let (matches, _) = parse("--components-path c --profile-port 1 --app-id x");
        assert_eq!(
            deprecated(&matches),
            [("components-path", "use --resources-path")]
        );
        assert_eq!(ineffective(&matches), ["profile-port"]);
        let (matches, _) = parse("--profile-port -1 --app-id x");
        assert!(ineffective(&matches).is_empty(), "nobody asked for it");
    }
}
