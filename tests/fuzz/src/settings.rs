//! The decoder of settings: a struct with one field of each kind, by both conventions. The input
//! is lines of `name=value`. What is wrong names a setting, and never shows a secret.
#![no_main]

use bindery_contract::settings::{
    ByteSize, Conventions, GoDuration, Properties, RetrySettings, Secret, decode, fields, remarks,
};
use libfuzzer_sys::fuzz_target;
use schemars::JsonSchema;
use serde::Deserialize;

/// One field of each kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Sample {
    #[schemars(extend("x-aliases" = ["address", "url"]))]
    text: String,
    flag: bool,
    tiny: i8,
    port: Option<u16>,
    count: i64,
    large: u64,
    share: f64,
    timeout: GoDuration,
    size: ByteSize,
    mode: Mode,
    topics: Vec<String>,
    ports: Vec<u16>,
    #[schemars(extend("x-exact-case" = true))]
    exact_case: Option<String>,
    password: Secret,
    pin: Pin,
    #[schemars(extend("x-prefix" = true))]
    back_off: RetrySettings,
}

/// A secret that not every text can be.
#[derive(Debug, Default, Deserialize)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Pin(u16);

impl JsonSchema for Pin {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pin".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "writeOnly": true })
    }
}

#[derive(Debug, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Mode {
    #[default]
    FirstOne,
    SecondOne,
}

/// Stands in the values of secrets, and nowhere else.
const MARK: char = '\u{1f511}';

fuzz_target!(|text: &str| {
    let mut properties = Properties::new();
    for line in text.lines().filter(|line| !line.contains(MARK)) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let is_secret = ["password", "pin"].contains(&&*name.to_lowercase());
        // A number stays a number.
        let spoilt = is_secret && value.parse::<u16>().is_err();
        let value = if spoilt {
            format!("{value}{MARK}")
        } else {
            value.to_owned()
        };
        properties.set(name, value);
    }
    for conventions in [Conventions::Usual, Conventions::Strict] {
        for remark in remarks::<Sample>(&properties, conventions) {
            assert!(properties.get(&remark.key).is_some(), "{remark:?}");
            assert!(!format!("{remark:?}").contains(MARK), "{remark:?}");
        }
        match decode::<Sample>(&properties, conventions) {
            Ok(sample) => is_sound(&sample),
            Err(error) => {
                let key = error.key.as_deref().expect("it names its setting");
                let declared = fields::<Sample>();
                assert!(
                    properties.get(key).is_some() || declared.iter().any(|f| f.name == key),
                    "{error:?}"
                );
                assert!(!format!("{error} {error:?}").contains(MARK), "{error:?}");
            }
        }
    }
});

fn is_sound(sample: &Sample) {
    assert!(!format!("{sample:?}").contains(MARK));
    assert!(sample.share.is_finite());
    // What is written is read again as the same.
    let timeout = sample.timeout;
    assert_eq!(GoDuration::parse(&timeout.to_string()), Ok(timeout));
    assert_eq!(ByteSize::parse(&sample.size.to_string()), Ok(sample.size));
}
