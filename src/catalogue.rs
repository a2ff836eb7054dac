//! Every binding type, one line each: the only file that names them all.

use bindery_contract::Registration;

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

/// All binding types that a sidecar knows: those built in, and an embedder's own.
#[derive(Clone)]
pub struct Catalogue {
    rows: Vec<Registration>,
}

/// What a type name means.
pub enum Lookup {
    /// A binding of the catalogue.
    Found(Registration),
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
        Self { rows: built_in() }
    }
}

impl Catalogue {
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
        match self.rows.iter().find(is) {
            Some(row) if matches!(version.to_ascii_lowercase().as_str(), "" | "v0" | "v1") => {
                Lookup::Found(row.clone())
            }
            Some(_) => unknown(format!("there is no version {version}"), "write v1".into()),
            None => {
                let (problem, hint) = self.why_unknown(&lower);
                unknown(problem.into(), hint)
            }
        }
    }

    fn why_unknown(&self, lower: &str) -> (&'static str, String) {
        const LIST: &str = "bindery components lists the types";
        if let Some((feature, _)) = FEATURES.iter().find(|(_, types)| types.contains(&lower)) {
            let hint = format!("build with the cargo feature \"{feature}\"");
            return ("this build leaves it out", hint);
        }
        if NOT_YET.contains(&lower) {
            let problem = "Dapr has this type, this version of Bindery does not";
            return (problem, LIST.into());
        }
        let known = self
            .rows
            .iter()
            .flat_map(|row| row.aliases.iter().copied().chain([row.type_name]))
            .chain(NOT_YET.iter().copied());
        let nearest = known
            .map(|name| (strsim::osa_distance(name, lower), name))
            .filter(|(distance, _)| *distance <= 4)
            .min();
        let hint = match nearest {
            Some((_, name)) => format!("did you mean {name}?"),
            None => LIST.into(),
        };
        ("there is no such type", hint)
    }
}
