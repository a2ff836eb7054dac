//! `bindings.kafka`: records of Kafka topics, read as a member of a consumer group, in the order
//! of each partition; and written.
//!
//! librdkafka does the talking. It has threads of its own, so nothing here runs on the bindings
//! thread but waiting.

mod assignment;
mod budget;
mod client;
mod config;
mod error;
mod event;
mod group;
mod input;
mod off_thread;
mod output;
mod partition;
mod record;
mod security;
mod settings;

use bindery_contract::settings::SettingsError;
use bindery_contract::{
    Binding, EventMetadata, OpenContext, OpenError, Opened, Operation, Role, Source,
};

pub use self::settings::{AuthType, Compression, InitialOffset, KafkaSettings, RequiredAcks};

/// The binding.
pub struct Kafka;

impl Binding for Kafka {
    const TYPE: &'static str = "bindings.kafka";
    const SUMMARY: &'static str = "Reads records from Apache Kafka topics and writes them.";
    const INPUT: Option<Source> = Some(Source::Log);
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "create",
        summary: "Writes data as a record to publishTopic; null and no data are a tombstone. \
                  metadata.partitionKey (or __key) is the record's key, metadata.partitionNumber \
                  its partition. All metadata are headers of the record too. Answers nothing.",
    }];
    const EVENT_METADATA: &'static [EventMetadata] = &[
        EventMetadata {
            name: "__topic",
            summary: "The record's topic.",
        },
        EventMetadata {
            name: "__partition",
            summary: "The number of its partition.",
        },
        EventMetadata {
            name: "__offset",
            summary: "Its place in the partition.",
        },
        EventMetadata {
            name: "__timestamp",
            summary: "When it was made or appended, in milliseconds since 1970.",
        },
        EventMetadata {
            name: "__key",
            summary: "Its key, if it has one.",
        },
        EventMetadata {
            name: "<header>",
            summary: "Each of its headers, by its own name. One that has a name of the above \
                      takes its place.",
        },
    ];
    type Settings = KafkaSettings;

    fn check(settings: &KafkaSettings) -> Result<(), SettingsError> {
        config::check(settings)
    }

    async fn open(settings: KafkaSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        for warning in config::warnings(&settings, cx.role()) {
            tracing::warn!("{}: {warning}", cx.component());
        }
        match cx.role() {
            Role::Output => Ok(Opened::shared(output::open(settings, cx).await?)),
            Role::Input => {
                let retry = settings
                    .consume_retry_enabled
                    .then(|| settings.back_off.clone());
                let reader = input::open(settings, cx).await?;
                Ok(match retry {
                    Some(retry) => Opened::input_with_retry(reader, retry),
                    None => Opened::input(reader),
                })
            }
        }
    }
}
