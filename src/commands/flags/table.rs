//! The table of runtime §6.9, line by line: every flag of the reference is declared here, with
//! its default, and with what is said where it is old or has no effect.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use super::SidecarFlags;
use super::spelling::{deprecated, ineffective};

/// What is said of a flag that is given.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Nothing: it does what it is for.
    Nothing,
    /// That it is old.
    Deprecated,
    /// That it has no effect.
    Ineffective,
    /// Nothing: it is of Dapr's control plane, and nobody would miss it.
    Accepted,
}
use Said::{Accepted, Deprecated, Ineffective, Nothing};

/// A flag, its default, a value for it, and what is said then.
const TABLE: &[(&str, &str, &str, Said)] = &[
    ("app-id", "", "x", Nothing),
    ("mode", "standalone", "standalone", Nothing),
    ("resources-path", "", "x", Nothing),
    ("components-path", "", "x", Deprecated),
    ("config", "", "x", Nothing),
    ("dapr-http-port", "3500", "1", Nothing),
    ("dapr-grpc-port", "50001", "1", Nothing),
    ("dapr-internal-grpc-port", "", "1", Nothing),
    ("dapr-internal-grpc-listen-address", "", "::1", Nothing),
    ("dapr-public-port", "", "1", Nothing),
    ("dapr-public-listen-address", "", "::1", Nothing),
    ("dapr-listen-addresses", "", "::1", Nothing),
    ("unix-domain-socket", "", "x", Nothing),
    ("app-port", "", "1", Nothing),
    ("app-protocol", "http", "grpc", Nothing),
    ("app-channel-address", "127.0.0.1", "x", Nothing),
    ("app-ssl", "false", "true", Deprecated),
    ("app-max-concurrency", "-1", "1", Nothing),
    ("app-binding-options-timeout", "3s", "1s", Nothing),
    ("enable-app-health-check", "false", "true", Nothing),
    ("app-health-check-path", "/healthz", "/x", Nothing),
    ("app-health-probe-interval", "5", "1", Nothing),
    ("app-health-probe-timeout", "500", "1", Nothing),
    ("app-health-threshold", "3", "1", Nothing),
    // The defaults of sizes are where they are read.
    ("max-body-size", "", "1Mi", Nothing),
    ("dapr-http-max-request-size", "", "1", Deprecated),
    ("read-buffer-size", "", "1Ki", Nothing),
    ("dapr-http-read-buffer-size", "", "1", Deprecated),
    ("dapr-graceful-shutdown-seconds", "5", "-1", Nothing),
    ("dapr-block-shutdown-duration", "", "1s", Nothing),
    ("enable-metrics", "true", "true", Nothing),
    ("metrics-port", "", "1", Nothing),
    ("metrics-listen-address", "0.0.0.0", "::1", Nothing),
    ("enable-profiling", "false", "true", Ineffective),
    ("profile-port", "7777", "1", Ineffective),
    ("enable-api-logging", "", "true", Nothing),
    ("log-level", "info", "warn", Nothing),
    ("log-as-json", "false", "true", Nothing),
    ("log-file", "", "x", Nothing),
    ("allowed-origins", "", "*", Nothing),
    ("disable-init-endpoints", "", "config", Nothing),
    ("hot-reload-reconcile-interval", "0", "1s", Nothing),
    ("enable-mtls", "false", "true", Ineffective),
    ("sentry-address", "", "x", Accepted),
    ("control-plane-address", "", "x", Accepted),
    ("control-plane-trust-domain", "localhost", "x", Accepted),
    ("control-plane-namespace", "default", "x", Accepted),
    ("sentry-request-jwt-audiences", "", "x", Accepted),
    ("placement-host-address", "", "x", Accepted),
    ("scheduler-host-address", "", "x", Accepted),
    ("scheduler-job-streams", "3", "1", Accepted),
    ("actors-disseminate-timeout", "30s", "1s", Accepted),
    ("actors-service", "", "x", Accepted),
    ("reminders-service", "", "x", Accepted),
    ("disable-builtin-k8s-secret-store", "false", "true", Nothing),
    // Of version 1.8.
    ("dapr-http-stream-request-body", "false", "true", Deprecated),
];

fn command() -> clap::Command {
    SidecarFlags::augment_args(clap::Command::new("daprd"))
}

fn parse(flag: &str, value: &str) -> ArgMatches {
    let words = ["daprd".to_owned(), format!("--{flag}={value}")];
    command().try_get_matches_from(words).unwrap()
}

#[test]
fn every_flag_of_the_reference_has_its_default() {
    let command = command();
    for (flag, default, ..) in TABLE {
        let argument = command
            .get_arguments()
            .find(|argument| argument.get_long() == Some(flag));
        let argument = argument.unwrap_or_else(|| panic!("--{flag} is missing"));
        let values = argument.get_default_values().first();
        let value = values.map_or_else(String::new, |value| value.to_string_lossy().into_owned());
        assert_eq!(value, *default, "--{flag}");
    }
}

#[test]
fn no_flag_is_declared_that_is_not_in_the_table() {
    for argument in command().get_arguments() {
        let flag = argument.get_long().unwrap();
        assert!(TABLE.iter().any(|(known, ..)| *known == flag), "--{flag}");
    }
}

#[test]
fn what_a_flag_comes_to_is_said() {
    for (flag, _, value, said) in TABLE {
        let matches = parse(flag, value);
        let id = flag.replace('-', "_");
        assert_eq!(matches.value_source(&id), Some(ValueSource::CommandLine));
        let is = match (deprecated(&matches).first(), ineffective(&matches).first()) {
            (Some((old, _)), _) if old == flag => Deprecated,
            (_, Some(idle)) if idle == flag => Ineffective,
            (None, None) if *said == Accepted => Accepted,
            _ => Nothing,
        };
        assert_eq!(is, *said, "--{flag}");
    }
}
