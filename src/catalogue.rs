//! Every binding type, one line each: the only file that names them all.

use bindery_contract::Registration;
#[cfg(feature = "pluggable")]
use bindery_pluggable::Sockets;

use crate::resources::Env;

/// The bindings that are built in.
fn built_in() -> Vec<Registration> {
    vec![
        #[cfg(feature = "cron")]
        Registration::of::<bindery_cron::Cron>(),
        #[cfg(feature = "http")]
        Registration::of::<bindery_http::Http>(),
        #[cfg(feature = "kafka")]
        Registration::of::<bindery_kafka::Kafka>(),
        #[cfg(feature = "localstorage")]
        Registration::of::<bindery_localstorage::LocalStorage>(),
        #[cfg(feature = "postgresql")]
        Registration::of::<bindery_postgresql::Postgres>(),
        #[cfg(feature = "redis")]
        Registration::of::<bindery_redis::Redis>(),
    ]
}

/// Bindings that exist, by the cargo feature that builds them in.
const FEATURES: &[(&str, &[&str])] = &[
    ("cron", &["bindings.cron"]),
    ("http", &["bindings.http"]),
    ("kafka", &["bindings.kafka"]),
    ("localstorage", &["bindings.localstorage"]),
    ("postgresql", &["bindings.postgresql", "bindings.postgres"]),
    ("redis", &["bindings.redis"]),
];

/// Binding types that Dapr has and this version has not.
const NOT_YET: &[&str] = &[
    "bindings.alicloud.dingtalk.webhook",
    "bindings.alicloud.dubbo",
    "bindings.alicloud.oss",
    "bindings.alicloud.sls",
    "bindings.alicloud.tablestore",
    "bindings.apns",
    "bindings.aws.dynamodb",
    "bindings.aws.kinesis",
    "bindings.aws.s3",
    "bindings.aws.ses",
    "bindings.aws.sns",
    "bindings.aws.sqs",
    "bindings.azure.blobstorage",
    "bindings.azure.cosmosdb",
    "bindings.azure.cosmosdb.gremlinapi",
    "bindings.azure.eventgrid",
    "bindings.azure.eventhubs",
    "bindings.azure.openai",
    "bindings.azure.servicebus.queues",
    "bindings.azure.servicebusqueues",
    "bindings.azure.signalr",
    "bindings.azure.storagequeues",
    "bindings.cloudflare.queues",
    "bindings.commercetools",
    "bindings.dingtalk.webhook",
    "bindings.dubbo",
    "bindings.gcp.bucket",
    "bindings.gcp.pubsub",
    "bindings.graphql",
    "bindings.huawei.obs",
    "bindings.influx",
    "bindings.kitex",
    "bindings.kubemq",
    "bindings.kubernetes",
    "bindings.mqtt",
    "bindings.mqtt3",
    "bindings.mysql",
    "bindings.postmark",
    "bindings.rabbitmq",
    "bindings.rethinkdb.statechange",
    "bindings.rocketmq",
    "bindings.sftp",
    "bindings.smtp",
    "bindings.twilio.sendgrid",
    "bindings.twilio.sms",
    "bindings.twitter",
    "bindings.wasm",
    "bindings.zeebe.command",
    "bindings.zeebe.jobworker",
];

/// All binding types that a sidecar knows: those built in, an embedder's own, and those of
/// pluggable components.
#[derive(Clone)]
pub struct Catalogue {
    rows: Vec<Registration>,
    /// Where pluggable components are.
    #[cfg(feature = "pluggable")]
    sockets: Option<Sockets>,
}

/// What a type name means.
pub enum Lookup {
    /// A binding of the catalogue.
    Found(Registration),
    /// No binding yet, and perhaps that of a pluggable component whose process is still to come.
    Awaited {
        /// What connects to it then.
        registration: Registration,
        /// Where it is awaited.
        problem: String,
        /// What may have been meant instead.
        hint: String,
    },
    /// A component of another building block: state, pub/sub and so on.
    OtherBuildingBlock,
    /// Nothing we know.
    Unknown {
        /// What is wrong with it.
        problem: String,
        /// What would be right.
        hint: String,
    },
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            rows: built_in(),
            #[cfg(feature = "pluggable")]
            sockets: None,
        }
    }
}

impl Catalogue {
    /// Knows pluggable components too, if the environment names the folder of their sockets, or
    /// the folder is where it is by default (runtime §8). What else is in it is told to the log.
    #[cfg(feature = "pluggable")]
    pub fn with_pluggable(mut self, env: &Env) -> Self {
        let by_default = || Some(Sockets::of(Sockets::FOLDER)).filter(Sockets::exist);
        let named = env.non_empty(Sockets::VARIABLE).map(Sockets::of);
        self.sockets = named.or_else(by_default);
        if let Some(sockets) = &self.sockets {
            sockets.tell_others();
        }
        self
    }

    /// This build leaves pluggable components out.
    #[cfg(not(feature = "pluggable"))]
    pub fn with_pluggable(self, _: &Env) -> Self {
        self
    }

    /// Adds a binding type; a type of the same name is replaced.
    pub fn register(&mut self, registration: Registration) {
        self.rows
            .retain(|row| row.type_name != registration.type_name);
        self.rows.push(registration);
    }

    /// All rows.
    pub fn rows(&self) -> &[Registration] {
        &self.rows
    }

    /// The row of a type. Types and versions are compared without case; the versions nothing,
    /// `v0` and `v1` are the same (runtime §3.4).
    pub fn find(&self, type_name: &str, version: &str) -> Lookup {
        let unknown = |problem: String, hint: String| Lookup::Unknown { problem, hint };
        if !type_name.starts_with("bindings.") {
            let lower = type_name.to_ascii_lowercase();
            return if lower.starts_with("bindings.") || !lower.contains('.') {
                unknown(
                    format!("incorrect type {type_name}"),
                    "a type looks like bindings.cron".into(),
                )
            } else {
                Lookup::OtherBuildingBlock
            };
        }
        let lower = type_name.to_ascii_lowercase();
        let is =
            |row: &&Registration| row.type_name == lower || row.aliases.contains(&lower.as_str());
        let own = || self.rows.iter().find(is).cloned();
        let is_first = matches!(version.to_ascii_lowercase().as_str(), "" | "v0" | "v1");
        match self.plugged(&lower).or_else(own) {
            Some(row) if is_first => Lookup::Found(row),
            Some(_) => unknown(format!("there is no version {version}"), "write v1".into()),
            None => match left_out(&lower) {
                Some((problem, hint)) => unknown(problem.into(), hint),
                None => self.awaited(&lower).unwrap_or_else(|| {
                    unknown("there is no such type".into(), self.nearest(&lower))
                }),
            },
        }
    }

    /// The pluggable component of a type that is there. It takes the place of a binding that is
    /// built in (runtime §3.4).
    #[cfg(feature = "pluggable")]
    fn plugged(&self, lower: &str) -> Option<Registration> {
        let sockets = self.sockets.as_ref()?;
        sockets.has(lower).then(|| sockets.registration(lower))
    }

    /// The pluggable component of a type that may come.
    #[cfg(feature = "pluggable")]
    fn awaited(&self, lower: &str) -> Option<Lookup> {
        let sockets = self.sockets.as_ref()?;
        Some(Lookup::Awaited {
            registration: sockets.registration(lower),
            problem: format!(
                "no pluggable component of this type is in {} yet; it is connected when it comes",
                sockets.folder().display()
            ),
            hint: self.nearest(lower),
        })
    }

    #[cfg(not(feature = "pluggable"))]
    fn plugged(&self, _: &str) -> Option<Registration> {
        None
    }

    #[cfg(not(feature = "pluggable"))]
    fn awaited(&self, _: &str) -> Option<Lookup> {
        None
    }

    /// What may have been meant by a type that does not exist.
    fn nearest(&self, lower: &str) -> String {
        let known = self
            .rows
            .iter()
            .flat_map(|row| row.aliases.iter().copied().chain([row.type_name]))
            .chain(NOT_YET.iter().copied());
        let is_near = |distance: usize, name: &str| {
            let own = name.trim_start_matches("bindings.");
            distance <= (own.len() / 3).max(2)
        };
        let nearest = known
            .map(|name| (strsim::osa_distance(name, lower), name))
            .filter(|(distance, name)| is_near(*distance, name))
            .min();
        match nearest {
            Some((_, name)) => format!("did you mean {name}?"),
            None => LIST.into(),
        }
    }
}

const LIST: &str = "bindery components lists the types";

/// Why a type that exists is not here, and what helps.
fn left_out(lower: &str) -> Option<(&'static str, String)> {
    if let Some((feature, _)) = FEATURES.iter().find(|(_, types)| types.contains(&lower)) {
        let hint = format!("build with the cargo feature \"{feature}\"");
        return Some(("this build leaves it out", hint));
    }
    let problem = "Dapr has this type, this version of Bindery does not";
    NOT_YET.contains(&lower).then(|| (problem, LIST.into()))
}
