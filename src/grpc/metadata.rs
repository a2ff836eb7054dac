//! `GetMetadata`: what HTTP answers, as a message (runtime §6.2).

use super::proto::runtime::v1::actor_runtime::ActorRuntimeStatus;
use super::proto::runtime::v1::{
    ActorRuntime, AppConnectionHealthProperties, AppConnectionProperties, GetMetadataResponse,
    MetadataResiliency, RegisteredComponents,
};
use crate::http::{AppConnection, AppHealth, Metadata};

impl From<Metadata<'_>> for GetMetadataResponse {
    fn from(metadata: Metadata<'_>) -> Self {
        let components = metadata.components.into_iter();
        let resiliencies = metadata.resiliencies.into_iter();
        Self {
            id: metadata.id.to_owned(),
            registered_components: components
                .map(|component| RegisteredComponents {
                    name: component.name,
                    r#type: component.type_name,
                    version: component.version,
                    capabilities: component
                        .capabilities
                        .into_iter()
                        .map(str::to_owned)
                        .collect(),
                })
                .collect(),
            extended_metadata: metadata.extended.into_iter().collect(),
            app_connection_properties: Some(metadata.app_connection_properties.into()),
            runtime_version: metadata.runtime_version.to_owned(),
            enabled_features: metadata
                .enabled_features
                .iter()
                .map(ToString::to_string)
                .collect(),
            actor_runtime: Some(ActorRuntime {
                runtime_status: ActorRuntimeStatus::Disabled.into(),
                placement: metadata.actor_runtime.placement.to_owned(),
                ..ActorRuntime::default()
            }),
            resiliencies: resiliencies
                .map(|named| MetadataResiliency { name: named.name })
                .collect(),
            ..Self::default()
        }
    }
}

impl From<&AppConnection> for AppConnectionProperties {
    fn from(app: &AppConnection) -> Self {
        let max_concurrency = app.max_concurrency.map(i32::try_from);
        Self {
            port: app.port.map_or(0, i32::from),
            protocol: app.protocol.clone(),
            channel_address: app.channel_address.clone(),
            max_concurrency: max_concurrency.map_or(0, |max| max.unwrap_or(i32::MAX)),
            health: app.health.as_ref().map(Into::into),
        }
    }
}

impl From<&AppHealth> for AppConnectionHealthProperties {
    fn from(health: &AppHealth) -> Self {
        Self {
            health_check_path: health.health_check_path.clone(),
            health_probe_interval: health.health_probe_interval.clone(),
            health_probe_timeout: health.health_probe_timeout.clone(),
            health_threshold: i32::try_from(health.health_threshold).unwrap_or(i32::MAX),
        }
    }
}
