//! The decoder of settings: what each opening of a component costs before it connects.

use std::hint::black_box;

use bindery_contract::settings::{ByteSize, Conventions, GoDuration, Properties, Secret};
use criterion::Criterion;
use schemars::JsonSchema;
use serde::Deserialize;

/// Twenty settings of the kinds that bindings have.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only decoding them counts")]
struct Cache {
    host: String,
    port: u16,
    username: String,
    password: Secret,
    database: i64,
    kind: Kind,
    failover: bool,
    sentinel_name: String,
    #[serde(rename = "enableTLS")]
    enable_tls: bool,
    #[serde(default)]
    client_cert: String,
    #[serde(default)]
    client_key: Secret,
    max_retries: i32,
    min_retry_interval: GoDuration,
    max_retry_interval: Option<GoDuration>,
    dial_timeout: GoDuration,
    read_timeout: GoDuration,
    write_timeout: Option<GoDuration>,
    pool_size: u32,
    max_value_size: ByteSize,
    #[schemars(extend("x-aliases" = ["prefix"]))]
    key_prefix: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Node,
    Cluster,
}

pub fn decode(criterion: &mut Criterion) {
    let properties: Properties = [
        ("host", "cache-1.example.com:6379,cache-2.example.com:6379"),
        ("port", "6379"),
        ("username", "orders"),
        ("password", "a rather long password"),
        ("database", "3"),
        ("kind", "cluster"),
        ("failover", "true"),
        ("sentinelName", "main"),
        ("ENABLETLS", "yes"),
        ("clientCert", "-----BEGIN CERTIFICATE-----"),
        ("clientKey", "-----BEGIN PRIVATE KEY-----"),
        ("maxRetries", "5"),
        ("minRetryInterval", "8ms"),
        ("maxRetryInterval", "512ms"),
        ("dialTimeout", "5"),
        ("readTimeout", "1m30s"),
        ("writeTimeout", "3s"),
        ("poolSize", "20"),
        ("maxValueSize", "10Mi"),
        ("prefix", "orders/"),
    ]
    .into_iter()
    .collect();
    criterion.bench_function("settings/20 of them", |bencher| {
        bencher.iter(|| {
            let properties = black_box(&properties);
            bindery_contract::settings::decode::<Cache>(properties, Conventions::Usual).unwrap()
        });
    });
}
