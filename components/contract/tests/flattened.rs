//! Structs that are flattened into the settings (`x-flatten`): pieces that several bindings share.

use bindery_contract::settings::{
    Conventions, GoDuration, Properties, Remark, Secret, SettingsError, decode, fields, remarks,
};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;

/// A binding's own settings, and a piece among them.
#[derive(Debug, Deserialize, JsonSchema)]
struct Sample {
    /// Where it is.
    host: String,
    /// The piece.
    #[schemars(extend("x-flatten" = true))]
    piece: Piece,
    /// How many.
    #[serde(default)]
    count: i32,
}

/// One field of each kind that is more than its text.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Piece {
    /// Whose it is.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["spnTenant", "owner"]))]
    tenant: String,
    /// Never printed.
    #[serde(default)]
    tenant_key: Secret,
    /// How long, if anybody said so.
    lifetime: Option<GoDuration>,
    /// Whether.
    #[serde(default)]
    checked: bool,
    /// Many.
    #[serde(default)]
    ways: Vec<String>,
    /// A piece of the piece.
    #[schemars(extend("x-flatten" = true))]
    inner: Inner,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Inner {
    /// How far.
    #[serde(default = "seven")]
    depth: i32,
    /// Which of two.
    color: Option<Color>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Blue,
}

fn seven() -> i32 {
    7
}

/// A piece with a field that must be there.
#[derive(Debug, Deserialize, JsonSchema)]
struct Demanding {
    /// The piece.
    #[schemars(extend("x-flatten" = true))]
    _piece: Needed,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Needed {
    /// Whose it is.
    #[serde(rename = "tenant")]
    #[schemars(extend("x-aliases" = ["spnTenant"]))]
    _tenant: String,
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn properties(pairs: Pairs<'_>) -> Properties {
    pairs.iter().copied().collect()
}

fn sample(conventions: Conventions, pairs: Pairs<'_>) -> Result<Sample, SettingsError> {
    decode(
        &properties(&[&[("host", "h")], pairs].concat()),
        conventions,
    )
}

#[test]
fn a_piece_is_decoded_like_the_rest() {
    let pairs = [
        ("Tenant", "t"),
        ("tenantKey", "hunter2"),
        ("lifetime", "5"),
        ("checked", "T"),
        ("ways", "a,b"),
        ("depth", "16"),
        ("COLOR", "Blue"),
        ("count", "3"),
    ];
    for (conventions, lifetime) in [
        (Conventions::Usual, GoDuration::from_secs(5)),
        (Conventions::Strict, GoDuration::from_millis(5)),
    ] {
        let settings = sample(conventions, &pairs).unwrap();
        let debug = format!("{settings:?}");
        assert!(!debug.contains("hunter2"), "{debug}");
        let Sample { host, piece, count } = settings;
        assert_eq!((host.as_str(), count), ("h", 3));
        assert_eq!(
            (piece.tenant.as_str(), piece.tenant_key.expose()),
            ("t", "hunter2")
        );
        assert_eq!((piece.lifetime, piece.checked), (Some(lifetime), true));
        assert_eq!(piece.ways, ["a", "b"]);
        assert_eq!(
            (piece.inner.depth, piece.inner.color),
            (16, Some(Color::Blue))
        );
    }
}

#[test]
fn a_piece_of_which_nothing_is_said_has_its_defaults() {
    let piece = sample(Conventions::Usual, &[]).unwrap().piece;
    assert_eq!((piece.lifetime, piece.checked), (None, false));
    assert_eq!((piece.inner.depth, piece.inner.color), (7, None));
}

#[test]
fn what_is_wrong_in_a_piece_names_the_setting_as_it_is_written() {
    let error = sample(Conventions::Usual, &[("Depth", "deep")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "setting \"Depth\": \"deep\" is not a whole number from -2147483648 to 2147483647"
    );
}

#[test]
fn what_is_missing_in_a_piece_is_named_as_it_should_be_written() {
    let missing = |conventions, key| {
        let decoded = decode::<Demanding>(&properties(&[(key, "t")]), conventions);
        decoded.unwrap_err().to_string()
    };
    assert_eq!(
        missing(Conventions::Usual, "tenat"),
        "setting \"tenant\": is required and missing (it may also be called spnTenant); did you \
         mean it by \"tenat\"?"
    );
    assert_eq!(
        missing(Conventions::Strict, "spnTenant"),
        "setting \"tenant\": is required and missing"
    );
}

#[test]
fn aliases_in_a_piece_count_where_the_conventions_have_aliases() {
    let tenant = |conventions, pairs| sample(conventions, pairs).unwrap().piece.tenant;
    let both = [("OWNER", "o"), ("spnTenant", "s")];
    assert_eq!(tenant(Conventions::Usual, &both), "s");
    assert_eq!(tenant(Conventions::Usual, &both[..1]), "o");
    assert_eq!(tenant(Conventions::Strict, &both), "");
}

#[test]
fn the_names_in_a_piece_are_known_and_its_own_is_not() {
    let remarks_on = |conventions, pairs| {
        let remarks = remarks::<Sample>(&properties(pairs), conventions);
        let about = |Remark { key, hint, .. }| (key, hint.unwrap_or_default());
        remarks.into_iter().map(about).collect::<Vec<_>>()
    };
    let remark = |key: &str, hint: &str| (key.to_owned(), hint.to_owned());
    let pairs = [
        ("host", "h"),
        ("tenant", "t"),
        ("depth", "1"),
        ("chekced", "true"),
        ("checked", "maybe"),
        ("piece", "x"),
        ("inner", "x"),
    ];
    let meant = remark("chekced", "did you mean \"checked\"?");
    assert_eq!(
        remarks_on(Conventions::Usual, &pairs),
        [
            meant,
            remark("piece", ""),
            remark("inner", ""),
            remark("checked", "write true or false"),
        ]
    );
    let alias = [("host", "h"), ("spnTenant", "t"), ("spnTenat", "t")];
    assert_eq!(
        remarks_on(Conventions::Usual, &alias),
        [remark("spnTenat", "did you mean \"spnTenant\"?")]
    );
    assert_eq!(
        remarks_on(Conventions::Strict, &alias),
        [remark("spnTenant", ""), remark("spnTenat", "")],
        "there are no aliases"
    );
}

#[test]
fn the_declaration_has_the_fields_of_a_piece_in_its_place() {
    let fields = fields::<Sample>();
    let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "host",
            "tenant",
            "tenantKey",
            "lifetime",
            "checked",
            "ways",
            "depth",
            "color",
            "count"
        ]
    );
    let field = |name: &str| fields.iter().find(|field| field.name == name).unwrap();
    assert_eq!(field("tenant").aliases, ["spnTenant", "owner"]);
    assert_eq!(field("tenant").description, "Whose it is.");
    assert!(field("tenantKey").secret && !field("tenantKey").required);
    assert_eq!(field("lifetime").kind, "duration");
    assert_eq!(field("depth").default.as_deref(), Some("7"));
    assert_eq!(field("color").values, ["red", "blue"]);
    assert_eq!(field("host").within, [""; 0]);
    assert_eq!(field("checked").within, ["piece"]);
    assert_eq!(field("depth").within, ["piece", "inner"]);
}

fn names() -> impl Strategy<Value = String> {
    let known = [
        "host", "tenant", "owner", "lifetime", "depth", "color", "piece",
    ];
    prop_oneof![
        prop::sample::select(known.map(String::from).to_vec()),
        "[a-zA-Z]{0,8}",
    ]
}

proptest! {
    #[test]
    fn no_string_map_makes_the_decoder_panic(
        pairs in prop::collection::vec((names(), "\\PC{0,8}"), 0..10),
    ) {
        let mut properties: Properties = pairs.into_iter().collect();
        properties.set("tenantKey", "hunter2");
        for conventions in [Conventions::Usual, Conventions::Strict] {
            remarks::<Sample>(&properties, conventions);
            if let Err(error) = decode::<Sample>(&properties, conventions) {
                prop_assert!(!error.to_string().contains("hunter2"));
            }
        }
    }
}
