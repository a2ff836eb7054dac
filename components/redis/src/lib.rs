//! `bindings.redis`: values under keys in Redis, on one server, behind sentinels, or in a
//! cluster.

mod address;
mod auth;
mod cluster;
mod connect;
mod errors;
mod link;
mod node;
mod output;
mod retries;
mod settings;
mod target;

use std::sync::Arc;

use bindery_contract::settings::{Conventions, SettingsError};
use bindery_contract::{Binding, OpenContext, OpenError, Opened, Operation};

use self::connect::Connector;
use self::output::Keys;
pub use self::settings::{RedisSettings, RedisType};
use self::target::Target;

/// The binding.
pub struct Redis;

impl Binding for Redis {
    const TYPE: &'static str = "bindings.redis";
    const SUMMARY: &'static str = "Stores, reads, removes and counts values in Redis.";
    const OPERATIONS: &'static [Operation] = &[
        Operation {
            name: "create",
            summary: "Sets metadata.key to the data, for metadata.ttl (a duration, or seconds) if \
                      there is one; whole seconds count.",
        },
        Operation {
            name: "get",
            summary: "Answers with the value of metadata.key, empty if there is none; with \
                      metadata.delete \"true\" the key is removed as well.",
        },
        Operation {
            name: "delete",
            summary: "Removes metadata.key; that there is none is no error.",
        },
        Operation {
            name: "increment",
            summary: "Adds one to the number at metadata.key, and lets the key live for \
                      metadata.ttl if there is one. The new number is not in the answer.",
        },
    ];
    const CONVENTIONS: Conventions = Conventions::Strict;
    type Settings = RedisSettings;

    fn check(settings: &RedisSettings) -> Result<(), SettingsError> {
        Target::of(settings).map(drop)
    }

    async fn open(settings: RedisSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        let target = Arc::new(Target::of(&settings).map_err(OpenError::invalid)?);
        let login = target.proof.log_in(&cx).await?;
        let connector = Connector {
            target,
            clock: cx.clock().clone(),
        };
        // Whether it works is known now; each worker opens a connection of its own when needed.
        connector.connect(login.clone().now().as_ref()).await?;
        Ok(Opened::per_thread(move |thread| {
            Keys::open(connector.clone(), login.clone(), cx.clone(), thread)
        }))
    }
}
