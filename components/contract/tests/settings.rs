//! The metadata conventions of the catalogue, Part 4, each rule with a test: what a settings
//! struct makes of the strings of a YAML file.

use bindery_contract::Role;
use bindery_contract::settings::{
    ByteSize, Conventions, GoDuration, Properties, RetryPolicy, RetrySettings, Secret,
    SettingsError, decode, fields, remarks,
};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;

/// One field of each kind.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Sample {
    /// Where it is.
    #[schemars(extend("x-aliases" = ["address", "url"]))]
    host: String,
    /// How many.
    #[serde(default = "seven")]
    count: i32,
    /// How many, if anybody said so.
    limit: Option<u16>,
    /// Whether.
    #[serde(default = "yes")]
    enabled: bool,
    /// How long.
    #[serde(default)]
    timeout: GoDuration,
    /// How much.
    #[serde(default)]
    size: ByteSize,
    /// Which of two.
    #[serde(default)]
    mode: Mode,
    /// Many.
    #[serde(default)]
    topics: Vec<String>,
    /// A part.
    #[serde(default)]
    share: f64,
    /// Compared exactly.
    #[serde(default)]
    #[schemars(extend("x-exact-case" = true, "x-role" = "output"))]
    exact_case: Option<String>,
    /// Never printed.
    #[serde(default)]
    password: Secret,
    /// Never printed, and a number.
    #[serde(default)]
    pin: Pin,
    /// How it tries again.
    #[serde(default)]
    #[schemars(extend("x-prefix" = true))]
    back_off: RetrySettings,
}

#[derive(Debug, Default, Deserialize)]
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Mode {
    #[default]
    FirstOne,
    SecondOne,
}

fn seven() -> i32 {
    7
}

fn yes() -> bool {
    true
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn properties(pairs: Pairs<'_>) -> Properties {
    pairs.iter().copied().collect()
}

fn usual(pairs: Pairs<'_>) -> Result<Sample, SettingsError> {
    decode(&properties(pairs), Conventions::Usual)
}

fn strict(pairs: Pairs<'_>) -> Result<Sample, SettingsError> {
    decode(&properties(pairs), Conventions::Strict)
}

/// What is said of one bad setting beside a good host.
fn problem(
    decode: fn(Pairs<'_>) -> Result<Sample, SettingsError>,
    key: &str,
    value: &str,
) -> String {
    let error = decode(&[("host", "h"), (key, value)]).expect_err(&format!("{key}={value}"));
    assert_eq!(error.key.as_deref(), Some(key));
    error.problem
}

#[test]
fn m1_the_last_of_two_equal_names_wins() {
    assert_eq!(usual(&[("host", "a"), ("host", "b")]).unwrap().host, "b");
}

#[test]
fn m3_names_match_without_case_and_two_that_differ_only_in_case_are_refused() {
    assert_eq!(usual(&[("HoSt", "a"), ("COUNT", "3")]).unwrap().count, 3);
    let error = usual(&[("host", "a"), ("Host", "b")]).unwrap_err();
    assert!(
        error
            .problem
            .contains("key host is duplicate in the metadata"),
        "{error}"
    );
}

#[test]
fn m3_some_names_are_compared_exactly() {
    let exact = |key| usual(&[("host", "h"), (key, "x")]).unwrap().exact_case;
    assert_eq!(exact("exactCase").as_deref(), Some("x"));
    assert_eq!(exact("exactcase"), None);
}

#[test]
fn m3_unknown_names_are_ignored_and_a_near_one_is_suggested() {
    let pairs = [
        ("host", "h"),
        ("tiemout", "1s"),
        ("backOffMaxRetrys", "1"),
        ("somethingElse", "x"),
        ("Direction", "input"),
        ("route", "/x"),
    ];
    let remarks = remarks::<Sample>(&properties(&pairs), Conventions::Usual);
    let remarks: Vec<_> = remarks
        .iter()
        .map(|remark| (remark.key.as_str(), remark.hint.as_deref()))
        .collect();
    assert_eq!(
        remarks,
        [
            ("tiemout", Some("did you mean \"timeout\"?")),
            (
                "backOffMaxRetrys",
                Some("did you mean \"backOffMaxRetries\"?")
            ),
            ("somethingElse", None),
        ]
    );
}

#[test]
fn m4_aliases_count_only_where_the_name_itself_is_absent_and_in_their_order() {
    assert_eq!(usual(&[("URL", "u")]).unwrap().host, "u");
    assert_eq!(usual(&[("url", "u"), ("address", "a")]).unwrap().host, "a");
    assert_eq!(usual(&[("url", "u"), ("host", "h")]).unwrap().host, "h");
}

#[test]
fn a_required_setting_that_is_missing_is_named_with_what_it_may_be_called() {
    let error = usual(&[("hots", "h")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "setting \"host\": is required and missing (it may also be called address, url); did you \
         mean it by \"hots\"?"
    );
}

#[test]
fn m5_truthy_words_are_true_and_everything_else_is_false_without_error() {
    let enabled = |word| usual(&[("host", "h"), ("enabled", word)]).unwrap().enabled;
    for word in ["y", "Yes", "TRUE", "t", "on", "1", " true "] {
        assert!(enabled(word), "{word}");
    }
    for word in ["", "no", "0", "false", "maybe"] {
        assert!(!enabled(word), "{word}");
    }
    assert!(usual(&[("host", "h")]).unwrap().enabled, "its default");
}

#[test]
fn m5_a_word_that_is_no_boolean_is_remarked_on() {
    let remarks_on = |conventions, word: &str| {
        let properties = properties(&[("host", "h"), ("Enabled", word)]);
        remarks::<Sample>(&properties, conventions)
    };
    for word in ["yes", "No", " off ", "0", ""] {
        assert_eq!(remarks_on(Conventions::Usual, word), [], "{word}");
    }
    assert_eq!(remarks_on(Conventions::Strict, "ture"), [], "an error");
    let remarks = remarks_on(Conventions::Usual, "ture");
    assert_eq!((remarks.len(), remarks[0].key.as_str()), (1, "Enabled"));
    assert_eq!(
        remarks[0].problem,
        "\"ture\" is no boolean and counts as false"
    );
}

#[test]
fn m6_a_duration_is_go_syntax_or_seconds_and_nothing_is_zero() {
    let timeout = |value| usual(&[("host", "h"), ("timeout", value)]).unwrap().timeout;
    assert_eq!(timeout("1m30s"), GoDuration::from_secs(90));
    assert_eq!(timeout("5"), GoDuration::from_secs(5));
    assert_eq!(timeout(""), GoDuration::from_secs(0));
    assert_eq!(timeout("-2s"), GoDuration::from_secs(-2));
    for bad in ["PT5S", "soon", "5 s", "1.5"] {
        assert!(problem(usual, "timeout", bad).contains(bad), "{bad}");
    }
}

#[test]
fn m7_a_number_has_a_base_and_nothing_is_zero() {
    let count = |value| usual(&[("host", "h"), ("count", value)]).unwrap().count;
    let counts = ["12", "0x1F", "-0b11", "0o17", ""].map(count);
    assert_eq!(counts, [12, 31, -3, 15, 0]);
    assert_eq!(
        problem(usual, "count", "many"),
        "\"many\" is not a whole number from -2147483648 to 2147483647"
    );
    assert_eq!(
        problem(usual, "limit", "65536"),
        "\"65536\" is not a whole number from 0 to 65535"
    );
    let share = |value| usual(&[("host", "h"), ("share", value)]).unwrap().share;
    assert_eq!(
        ["0.25", ""].map(share).map(f64::to_bits),
        [0.25, 0.0].map(f64::to_bits)
    );
    assert_eq!(problem(usual, "share", "NaN"), "\"NaN\" is not a number");
}

#[test]
fn m7_an_optional_field_knows_unset_from_zero() {
    assert_eq!(usual(&[("host", "h")]).unwrap().limit, None);
    let zero = usual(&[("host", "h"), ("limit", "0")]).unwrap();
    assert_eq!(zero.limit, Some(0));
}

#[test]
fn m8_a_byte_size_is_a_quantity() {
    let size = |value| usual(&[("host", "h"), ("size", value)]).unwrap().size.0;
    assert_eq!(
        ["10Ki", "1k", "1.5Mi"].map(size),
        [10_240, 1_000, 1_572_864]
    );
    assert!(problem(usual, "size", "10 apples").contains("10 apples"));
}

#[test]
fn m9_a_list_is_split_at_commas_and_not_trimmed() {
    let topics = |value| usual(&[("host", "h"), ("topics", value)]).unwrap().topics;
    assert_eq!(topics("a, b,"), ["a", " b", ""]);
    assert_eq!(topics(""), [""]);
}

#[test]
fn an_enum_takes_its_words_in_any_case_and_names_them_otherwise() {
    let second = usual(&[("host", "h"), ("mode", "SECONDone")]).unwrap();
    assert_eq!(second.mode, Mode::SecondOne);
    assert_eq!(
        problem(usual, "mode", "third"),
        "\"third\" is not one of firstOne, secondOne"
    );
}

#[test]
fn m10_the_strict_decoder_follows_go() {
    let pairs = [
        ("host", "h"),
        ("enabled", "T"),
        ("timeout", "250"),
        ("count", "12"),
    ];
    let settings = strict(&pairs).unwrap();
    assert!(settings.enabled);
    assert_eq!(
        settings.timeout,
        GoDuration::from_millis(250),
        "plain numbers are milliseconds"
    );
    let off = strict(&[("host", "h"), ("timeout", "-1")]).unwrap();
    assert_eq!(off.timeout, GoDuration::OFF);
    assert!(problem(strict, "enabled", "yes").contains("is not a boolean"));
    assert!(problem(strict, "count", "0x1F").contains("is not a whole number"));
    assert!(problem(strict, "count", "").contains("is not a whole number"));
    let error = strict(&[("url", "u")]).unwrap_err();
    assert_eq!(error.key.as_deref(), Some("host"), "aliases do not count");
}

#[test]
fn a_secret_is_in_no_error_and_no_debug_text() {
    let settings = usual(&[("host", "h"), ("password", "hunter2")]).unwrap();
    assert_eq!(settings.password.expose(), "hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
    let properties = properties(&[("password", "hunter2")]);
    assert!(!format!("{properties:?}").contains("hunter2"));
    assert_eq!(usual(&[("host", "h"), ("pin", "7")]).unwrap().pin.0, 7);
    assert_eq!(
        problem(usual, "pin", "hunter2"),
        "is not a whole number from 0 to 65535"
    );
}

#[test]
fn what_a_secret_store_gave_is_in_no_error_whatever_it_is_for() {
    let said = |properties: &Properties| match decode::<Sample>(properties, Conventions::Usual) {
        Ok(_) => format!("{:?}", remarks::<Sample>(properties, Conventions::Usual)),
        Err(error) => error.to_string(),
    };
    for key in [
        "count",
        "limit",
        "enabled",
        "timeout",
        "size",
        "mode",
        "share",
        "backOffDuration",
    ] {
        let mut properties = properties(&[("host", "h")]);
        properties.set_secret(key, "hunter2");
        let hidden = said(&properties);
        assert!(
            hidden.contains(key) && !hidden.contains("hunter2"),
            "{hidden}"
        );
        properties.set(key, "hunter2");
        let shown = said(&properties);
        assert!(
            shown.contains("hunter2"),
            "it is no secret any more: {shown}"
        );
    }
}

#[test]
fn rt_retry_settings_are_found_by_their_prefix() {
    let settings = usual(&[
        ("host", "h"),
        ("backOffPolicy", "exponential"),
        ("BackOffMaxRetries", "3"),
        ("backoffinitialinterval", "200"),
        ("backOffMaxInterval", "10s"),
        ("backOffRandomizationFactor", "0.1"),
    ])
    .unwrap()
    .back_off;
    assert_eq!(settings.policy, RetryPolicy::Exponential);
    assert_eq!(settings.max_retries, 3);
    assert_eq!(settings.initial_interval, GoDuration::from_millis(200));
    assert_eq!(settings.max_interval, GoDuration::from_secs(10));
    assert_eq!(settings.multiplier.to_string(), "1.5", "its default");
    let error = usual(&[("host", "h"), ("backOffMaxRetries", "0x2")]).unwrap_err();
    assert_eq!(error.key.as_deref(), Some("backOffMaxRetries"), "{error}");
    let none = usual(&[("host", "h")]).unwrap();
    assert_eq!(none.back_off, RetrySettings::default());
}

#[test]
fn the_declaration_is_the_documentation_too() {
    let fields = fields::<Sample>();
    let field = |name: &str| fields.iter().find(|field| field.name == name).unwrap();
    assert_eq!(field("host").description, "Where it is.");
    assert_eq!(field("host").aliases, ["address", "url"]);
    assert!(field("host").required && !field("count").required);
    assert_eq!(field("count").default.as_deref(), Some("7"));
    assert_eq!(field("timeout").kind, "duration");
    assert_eq!(field("size").kind, "bytesize");
    assert_eq!(field("topics").kind, "list");
    assert_eq!(field("mode").values, ["firstOne", "secondOne"]);
    assert!(field("password").secret && !field("host").secret);
    assert_eq!(field("exactCase").role, Some(Role::Output));
    let inner = &field("backOff").prefix;
    assert!(inner.iter().any(|inner| inner.name == "maxRetries"));
}

fn names() -> impl Strategy<Value = String> {
    let known = [
        "host",
        "count",
        "limit",
        "enabled",
        "timeout",
        "size",
        "mode",
        "topics",
        "share",
        "pin",
        "backOffPolicy",
        "backOffMaxRetries",
        "backOff",
        "backOffÄ",
        "exactCase",
    ];
    prop_oneof![
        "[a-zA-Z]{0,12}",
        prop::sample::select(known.map(String::from).to_vec()),
        "\\PC{0,6}",
    ]
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,20}", "-?[0-9a-fx._]{0,24}[a-zµ]{0,3}"]
}

proptest! {
    /// Whatever stands in a component: an answer or an error, never a panic, and no secret in
    /// either.
    #[test]
    fn no_string_map_makes_the_decoder_panic(
        pairs in prop::collection::vec((names(), values()), 0..12),
    ) {
        let mut properties: Properties = pairs.into_iter().collect();
        properties.set("password", "hunter2");
        for conventions in [Conventions::Usual, Conventions::Strict] {
            remarks::<Sample>(&properties, conventions);
            if let Err(error) = decode::<Sample>(&properties, conventions) {
                prop_assert!(!error.to_string().contains("hunter2"));
            }
        }
    }
}
