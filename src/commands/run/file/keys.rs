//! The keys of a run file, as the documentation of Dapr's CLI lists them.

use super::super::logs::Destination;

/// A key of `common` or of an app.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    /// Whether `common` may have it too.
    pub(super) shared: bool,
    pub(super) does: Does,
}

/// What values a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Text,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// A number from 0 to 65535; 0 and less is none.
    Port,
    Number,
    Switch,
    /// Something of its own.
    Else,
}

/// What a key comes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// A flag of the sidecar.
    Flag(&'static str),
    /// Read by us.
    Ours,
    /// Read by us, and less than elsewhere.
    Partly(&'static str),
    /// Nothing, and why.
    Nothing(&'static str),
}

use Does::{Flag, Nothing, Ours, Partly};
use Takes::{Else, Number, OneOf, Port, Switch, Text};

const PROTOCOLS: Takes = OneOf(&["http", "https", "h2c", "grpc", "grpcs"]);
const LEVELS: Takes = OneOf(&["debug", "info", "warn", "error", "fatal"]);
const KUBERNETES: Does = Nothing("it is for Kubernetes, and apps are run on this machine");
const NO_ACTORS: Does = Nothing("this sidecar serves bindings only");
const RUNTIME: Does =
    Partly("components and config.yaml are taken from there; the sidecar is this program");
const NO_PROFILES: Does = Nothing("this version serves no profiles");

const fn own(name: &'static str, takes: Takes, does: Does) -> Key {
    Key {
        name,
        takes,
        shared: false,
        does,
    }
}

const fn shared(name: &'static str, takes: Takes, does: Does) -> Key {
    Key {
        name,
        takes,
        shared: true,
        does,
    }
}

/// All of them.
pub(super) const KEYS: &[Key] = &[
    own("appID", Text, Ours),
    own("appDirPath", Text, Ours),
    own("appPort", Port, Flag("app-port")),
    own("appChannelAddress", Text, Flag("app-channel-address")),
    own("daprHTTPPort", Port, Flag("dapr-http-port")),
    own("daprGRPCPort", Port, Flag("dapr-grpc-port")),
    own(
        "daprInternalGRPCPort",
        Port,
        Flag("dapr-internal-grpc-port"),
    ),
    own("metricsPort", Port, Flag("metrics-port")),
    own("profilePort", Port, NO_PROFILES),
    own("unixDomainSocket", Text, Flag("unix-domain-socket")),
    own("command", Else, Ours),
    own("containerImage", Text, KUBERNETES),
    own("containerImagePullPolicy", Text, KUBERNETES),
    own("createService", Switch, KUBERNETES),
    shared("configFilePath", Text, Ours),
    shared("resourcesPath", Else, Ours),
    shared("resourcesPaths", Else, Ours),
    shared("runtimePath", Text, RUNTIME),
    shared("env", Else, Ours),
    shared("appLogDestination", OneOf(&Destination::NAMES), Ours),
    shared("daprdLogDestination", OneOf(&Destination::NAMES), Ours),
    shared("appProtocol", PROTOCOLS, Flag("app-protocol")),
    shared("apiListenAddresses", Text, Flag("dapr-listen-addresses")),
    shared("enableProfiling", Switch, NO_PROFILES),
    shared("logLevel", LEVELS, Flag("log-level")),
    shared("appMaxConcurrency", Number, Flag("app-max-concurrency")),
    shared("appSSL", Switch, Flag("app-ssl")),
    shared("maxBodySize", Text, Flag("max-body-size")),
    shared("readBufferSize", Text, Flag("read-buffer-size")),
    shared(
        "daprHTTPMaxRequestSize",
        Number,
        Flag("dapr-http-max-request-size"),
    ),
    shared(
        "daprHTTPReadBufferSize",
        Number,
        Flag("dapr-http-read-buffer-size"),
    ),
    shared(
        "enableAppHealthCheck",
        Switch,
        Flag("enable-app-health-check"),
    ),
    shared("appHealthCheckPath", Text, Flag("app-health-check-path")),
    shared(
        "appHealthProbeInterval",
        Number,
        Flag("app-health-probe-interval"),
    ),
    shared(
        "appHealthProbeTimeout",
        Number,
        Flag("app-health-probe-timeout"),
    ),
    shared("appHealthThreshold", Number, Flag("app-health-threshold")),
    shared("enableApiLogging", Switch, Flag("enable-api-logging")),
    shared("placementHostAddress", Text, NO_ACTORS),
    shared("schedulerHostAddress", Text, NO_ACTORS),
];

/// The keys beside `common` and `apps`.
pub(super) const TOP: &[&str] = &["version", "name", "common", "apps"];

/// What keys were called once, or are called elsewhere.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("componentsPath", "resourcesPaths"),
    ("daprPath", "runtimePath"),
    ("maxConcurrency", "appMaxConcurrency"),
    ("config", "configFilePath"),
    ("environment", "env"),
];

/// The key of this name, if a section has it.
pub(super) fn key(name: &str, common: bool) -> Option<&'static Key> {
    let mut keys = KEYS.iter();
    keys.find(|key| key.name == name && (key.shared || !common))
}

/// What to say of a key that a section does not have.
pub(super) fn hint(name: &str, common: bool) -> String {
    let elsewhere = OTHER_NAMES.iter().find(|(other, _)| *other == name);
    let names: Vec<&str> = KEYS
        .iter()
        .filter(|key| key.shared || !common)
        .map(|key| key.name)
        .collect();
    let near = elsewhere.map(|(_, name)| *name);
    if common && key(name, false).is_some() {
        "it belongs to an app: write it under apps".to_owned()
    } else if let Some(name) = near.or_else(|| crate::resources::nearest(name, &names)) {
        format!("did you mean \"{name}\"?")
    } else {
        format!("there are {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args;

    #[test]
    fn every_flag_of_the_table_exists() {
        let command = crate::commands::SidecarFlags::augment_args(clap::Command::new("daprd"));
        for key in KEYS {
            if let Flag(flag) = key.does {
                let known = command
                    .get_arguments()
                    .any(|one| one.get_long() == Some(flag));
                assert!(known, "--{flag}");
            }
        }
    }

    #[test]
    fn other_names_lead_to_a_key() {
        for (_, name) in OTHER_NAMES {
            assert!(key(name, false).is_some(), "{name}");
        }
        assert_eq!(hint("appid", false), "did you mean \"appID\"?");
        assert_eq!(
            hint("appPort", true),
            "it belongs to an app: write it under apps"
        );
    }
}
