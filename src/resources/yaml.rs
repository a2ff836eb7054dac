//! YAML, with limits and with positions: the only module that knows a YAML library.
//!
//! `serde_yaml` reads the values. A second, event-wise reader goes first: it enforces the limits
//! before anything is built, and remembers where each value stands, so that an error can name
//! its line, and whether it was quoted, because the reference reads YAML 1.1, in which a bare
//! `yes` or `off` is a boolean.

use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// The largest file: 4 MiB, four times what Kubernetes lets a `ConfigMap` hold.
pub const MAX_BYTES: usize = 4 << 20;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// The most values in a document, aliases expanded.
pub const MAX_VALUES: usize = 100_000;

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A text that is not YAML, or more of it than we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct YamlError {
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub problem: String,
}

impl YamlError {
    /// What to do about it, as far as that can be told.
    pub fn hint(&self) -> &'static str {
        let says = |words: &[&str]| words.iter().any(|word| self.problem.contains(word));
        if says(&["tab", "cannot start any token"]) {
            "YAML is indented with blanks: replace the tab"
        } else if says(&[
            "',' or ']'",
            "',' or '}'",
            "flow construct",
            "illegal placement",
        ]) {
            "close the bracket before the next key"
        } else if says(&["duplicate"]) {
            "a key may stand in a map once: take one of them out"
        } else if says(&["unknown anchor", "undefined alias"]) {
            "an alias *name needs an anchor &name before it"
        } else if says(&["larger than", "more than", "deeper than"]) {
            "split it into several files"
        } else if says(&["end of stream", "quoted scalar"]) {
            "close the quotes"
        } else {
            "compare the indentation with the lines around it, and put a value with \": \" in \
             it into quotes"
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// The value.
    pub value: Value,
    /// Its letters in the file, where it stands there without quotes: `1.10` is not `1.1`.
    written: Option<Box<str>>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as JSON writes it.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in order.
    Map(Vec<(Named, Node)>),
}

/// A key of a map and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The key.
    pub name: String,
    /// Where it begins.
    pub at: Position,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    /// Its first line in the file.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// Splits a file as the reference does (runtime §3.1): where a newline is followed by `---`; the
/// rest of that line is dropped.
pub fn documents(file: &str) -> Vec<Document> {
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let mut documents = vec![Document {
        line: 1,
        text: String::new(),
    }];
    for (number, line) in file.split_inclusive('\n').enumerate() {
        if line.starts_with("---") {
            documents.push(Document {
                line: number + 2,
                text: String::new(),
            });
        } else if let Some(document) = documents.last_mut() {
            document.text.push_str(line);
        }
    }
    documents.retain(|document| {
        document
            .text
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'))
    });
    documents
}

/// Reads one document. Positions are those of the file.
///
/// # Errors
/// When it is not YAML, or beyond a limit.
pub fn parse(document: &Document) -> Result<Node, YamlError> {
    let offset = document.line - 1;
    let in_file = |mut error: YamlError| {
        error.at.line += offset;
        error
    };
    let (places, other) = match Places::read(&document.text) {
        Ok(places) => (places, None),
        // The two readers differ in what they are strict about. Without aliases nothing can
        // grow, so the other one may have its say.
        Err(Unread::Syntax(error)) if !document.text.contains('*') => {
            (Place::unknown(), Some(error))
        }
        Err(Unread::Syntax(error) | Unread::Limit(error)) => return Err(in_file(error)),
    };
    let mut value: serde_yaml::Value = serde_yaml::from_str(&document.text).map_err(|error| {
        let error = syntax_error(&error);
        // Where both stumble, the first place is nearer to the cause.
        let first = other
            .into_iter()
            .chain([error])
            .min_by_key(|error| error.at);
        in_file(at_the_tab(
            first.expect("there is at least one"),
            &document.text,
        ))
    })?;
    value
        .apply_merge()
        .map_err(|error| in_file(syntax_error(&error)))?;
    Ok(node(
        value,
        &places,
        Position { line: 1, column: 1 },
        offset,
    ))
}

fn too_deep() -> String {
    format!("the nesting is deeper than {MAX_DEPTH} levels")
}

/// A tab in the indentation is reported where the value before it begins; it is rather where it
/// stands that is to be shown.
fn at_the_tab(mut error: YamlError, text: &str) -> YamlError {
    let tab = |(line, text): (usize, &str)| {
        let indentation = text.len() - text.trim_start().len();
        let column = text[..indentation].find('\t')? + 1;
        let line = line + 1;
        Some(Position { line, column })
    };
    if error.problem.contains("tab") {
        let from = error.at.line.saturating_sub(1);
        let first = text.lines().enumerate().skip(from).find_map(tab);
        error.at = first.unwrap_or(error.at);
    }
    error
}

fn syntax_error(error: &serde_yaml::Error) -> YamlError {
    let at = error
        .location()
        .map_or(Position { line: 1, column: 1 }, |location| Position {
            line: location.line(),
            column: location.column(),
        });
    // The library puts the position into its text; we say it once, in front.
    let text = error.to_string();
    let problem = match text.split(" at line ").next().unwrap_or(&text) {
        "recursion limit exceeded" => too_deep(),
        problem => problem.to_owned(),
    };
    YamlError { at, problem }
}

fn node(value: serde_yaml::Value, place: &Place, parent: Position, offset: usize) -> Node {
    let here = place.at.unwrap_or(parent);
    let written = place.plain.clone();
    let value = match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(value) => Value::Bool(value),
        serde_yaml::Value::Number(number) => Value::Number(json_number(&number)),
        serde_yaml::Value::String(text) => {
            match yaml_1_1_bool(&text).filter(|_| place.plain.is_some()) {
                Some(value) => Value::Bool(value),
                None => Value::Text(text),
            }
        }
        serde_yaml::Value::Sequence(items) => {
            let mut places = place.items.iter();
            let unknown = Place::unknown();
            let item = |item| node(item, places.next().unwrap_or(&unknown), here, offset);
            Value::List(items.into_iter().map(item).collect())
        }
        serde_yaml::Value::Mapping(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let name = match node(key, &Place::unknown(), here, 0).value {
                        Value::Text(text) | Value::Number(text) => text,
                        Value::Bool(value) => value.to_string(),
                        _ => String::new(),
                    };
                    let unknown = (here, Place::unknown());
                    let (at, place) = place.entries.get(&name).unwrap_or(&unknown);
                    let value = node(value, place, *at, offset);
                    (
                        Named {
                            name,
                            at: Position {
                                line: at.line + offset,
                                ..*at
                            },
                        },
                        value,
                    )
                })
                .collect(),
        ),
        serde_yaml::Value::Tagged(tagged) => return node(tagged.value, place, parent, offset),
    };
    Node {
        at: Position {
            line: here.line + offset,
            ..here
        },
        value,
        written,
    }
}

fn yaml_1_1_bool(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// A number as Go's JSON encoder writes it: whole numbers without a fraction, exponents only
/// for the very large and the very small.
fn json_number(number: &serde_yaml::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.is_finite() => {
            let magnitude = float.abs();
            if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
                let text = format!("{float:e}");
                match text.split_once('e') {
                    Some((digits, exponent)) if !exponent.starts_with('-') => {
                        format!("{digits}e+{exponent}")
                    }
                    _ => text,
                }
            } else {
                format!("{float}")
            }
        }
        _ => number.to_string(),
    }
}

/// Where a value stands, and what is in it.
#[derive(Default)]
struct Place {
    at: Option<Position>,
    /// Of a scalar without quotes: its letters.
    plain: Option<Box<str>>,
    items: Vec<Place>,
    entries: HashMap<String, (Position, Place)>,
}

enum Unread {
    Syntax(YamlError),
    Limit(YamlError),
}

/// Reads events into places.
struct Places<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// How many values each anchor stands for.
    anchors: HashMap<usize, usize>,
    values: usize,
}

impl Place {
    fn unknown() -> Self {
        Self::default()
    }
}

impl<'a> Places<'a> {
    fn read(text: &'a str) -> Result<Place, Unread> {
        if text.len() > MAX_BYTES {
            let problem = format!("the file is larger than {MAX_BYTES} bytes");
            return Err(Unread::Limit(YamlError {
                at: Position { line: 1, column: 1 },
                problem,
            }));
        }
        let mut places = Self {
            parser: Parser::new_from_str(text),
            anchors: HashMap::new(),
            values: 0,
        };
        loop {
            let (event, at) = places.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(Place::unknown()),
                event => return places.place(event, at, 0),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Position), Unread> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((
                event,
                Position {
                    line: span.start.line(),
                    column: span.start.col() + 1,
                },
            )),
            Some(Err(error)) => {
                let at = Position {
                    line: error.marker().line(),
                    column: error.marker().col() + 1,
                };
                Err(Unread::Syntax(YamlError {
                    at,
                    problem: error.info().to_owned(),
                }))
            }
            None => Ok((Event::StreamEnd, Position::default())),
        }
    }

    fn place(&mut self, event: Event<'a>, at: Position, depth: usize) -> Result<Place, Unread> {
        if depth > MAX_DEPTH {
            return Err(limit(at, too_deep()));
        }
        let before = self.values;
        self.count(1, at)?;
        let mut place = Place {
            at: Some(at),
            ..Place::default()
        };
        let anchor = match event {
            Event::Alias(anchor) => {
                let stands_for = self.anchors.get(&anchor).copied().unwrap_or(0);
                self.count(stands_for, at)?;
                return Ok(place);
            }
            Event::Scalar(text, style, anchor, _) => {
                place.plain = (style == ScalarStyle::Plain).then(|| text.as_ref().into());
                anchor
            }
            Event::SequenceStart(anchor, _) => {
                loop {
                    let (event, at) = self.next()?;
                    if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                        break;
                    }
                    place.items.push(self.place(event, at, depth + 1)?);
                }
                anchor
            }
            Event::MappingStart(anchor, _) => {
                loop {
                    let (key, key_at) = self.next()?;
                    if matches!(key, Event::MappingEnd | Event::StreamEnd) {
                        break;
                    }
                    let name = match &key {
                        Event::Scalar(text, ..) => text.to_string(),
                        _ => String::new(),
                    };
                    self.place(key, key_at, depth + 1)?;
                    let (event, at) = self.next()?;
                    let value = self.place(event, at, depth + 1)?;
                    let known = place.entries.insert(name.clone(), (key_at, value));
                    // A merge may stand there several times.
                    if known.is_some() && name != "<<" {
                        return Err(limit(key_at, format!("duplicate key {name:?}")));
                    }
                }
                anchor
            }
            _ => 0,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, self.values - before);
        }
        Ok(place)
    }

    fn count(&mut self, values: usize, at: Position) -> Result<(), Unread> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(limit(at, format!("it holds more than {MAX_VALUES} values")));
        }
        Ok(())
    }
}

fn limit(at: Position, problem: String) -> Unread {
    Unread::Limit(YamlError { at, problem })
}

impl Node {
    /// The value of a key, compared without case, as the reference does.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// A key, compared without case, and its value.
    pub fn entry(&self, key: &str) -> Option<(&Named, &Node)> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        // Of several that differ in case only, the exact one counts.
        let exact = entries.iter().find(|(named, _)| named.name == key);
        let found = exact.or_else(|| {
            entries
                .iter()
                .find(|(named, _)| named.name.eq_ignore_ascii_case(key))
        });
        found.map(|(named, node)| (named, node))
    }

    /// A value as a text: texts as they are, numbers and booleans as JSON writes them. Nothing
    /// for null, lists and maps.
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// A scalar by its letters in the file, which is how Go reads one into a string; nothing for
    /// null, lists and maps.
    pub fn letters(&self) -> Option<String> {
        let scalar = self.scalar()?;
        Some(self.written.as_deref().map_or(scalar, str::to_owned))
    }

    /// The items of a list; nothing is an empty list.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Null => Some(&[]),
            _ => None,
        }
    }

    /// As compact JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(text) => serde_json::from_str(text).unwrap_or(serde_json::Value::Null),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let mut sorted: Vec<_> = entries
                    .iter()
                    .map(|(named, node)| (&named.name, node.to_json()))
                    .collect();
                // Go encodes maps in the order of their keys.
                sorted.sort_by(|a, b| a.0.cmp(b.0));
                serde_json::Value::Object(
                    sorted
                        .into_iter()
                        .map(|(name, value)| (name.clone(), value))
                        .collect(),
                )
            }
        }
    }

    /// What kind of value it is, for an error message.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, YamlError> {
        parse(&Document {
            line: 1,
            text: text.into(),
        })
    }

    #[test]
    fn a_file_holds_several_documents_and_positions_are_those_of_the_file() {
        let file = "---\na: 1\n--- # second\n\nb:\n  c: [x,\n   1.5]\n---\n# nothing\n";
        let documents = documents(file);
        assert_eq!(
            documents
                .iter()
                .map(|document| document.line)
                .collect::<Vec<_>>(),
            [2, 4]
        );
        let second = parse(&documents[1]).unwrap();
        let list = second.get("B").and_then(|b| b.get("C")).unwrap();
        assert_eq!(list.at, Position { line: 6, column: 6 });
        assert_eq!(list.items().unwrap()[1].at, Position { line: 7, column: 4 });
    }

    #[test]
    fn bare_words_of_yaml_1_1_are_booleans_and_quoted_ones_are_not() {
        let node = read("[yes, Off, 'yes', \"no\", on, true, onward]").unwrap();
        let texts: Vec<_> = node
            .items()
            .unwrap()
            .iter()
            .map(|item| &item.value)
            .collect();
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(
            texts,
            [
                &Value::Bool(true),
                &Value::Bool(false),
                &text("yes"),
                &text("no"),
                &Value::Bool(true),
                &Value::Bool(true),
                &text("onward"),
            ]
        );
    }

    #[test]
    fn a_scalar_may_be_read_by_its_letters() {
        let node = read("[1.10, yes, 0x1F, \"1.10\", text, ~, 007]").unwrap();
        let letters = node.items().unwrap().iter().map(Node::letters);
        let letters: Vec<_> = letters.map(Option::unwrap_or_default).collect();
        assert_eq!(letters, ["1.10", "yes", "0x1F", "1.10", "text", "", "007"]);
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let node = read("[1, 1.5, 1.0, 1e3, 1e21, 1e-7, 0x1F, -3, 18446744073709551615]").unwrap();
        let texts: Vec<_> = node
            .items()
            .unwrap()
            .iter()
            .filter_map(Node::scalar)
            .collect();
        assert_eq!(
            texts,
            [
                "1",
                "1.5",
                "1",
                "1000",
                "1e+21",
                "1e-7",
                "31",
                "-3",
                "18446744073709551615"
            ]
        );
    }

    #[test]
    fn anchors_aliases_and_merges_work() {
        let node = read("base: &base {a: 1, b: [2]}\nmore:\n  <<: *base\n  c: *base\n").unwrap();
        let more = node.get("more").unwrap();
        assert_eq!(more.get("a").and_then(Node::scalar).as_deref(), Some("1"));
        assert_eq!(
            more.get("c").unwrap().to_json().to_string(),
            r#"{"a":1,"b":[2]}"#
        );
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        let error = read("a: 1\n\tb: 2\n").unwrap_err();
        assert!(error.problem.contains("tab"), "{error}");
        assert_eq!((error.at.line, error.at.column), (2, 1));
        let error = read("a: [1, 2\nb: 3\n").unwrap_err();
        assert!(error.at.line >= 1, "{error}");
        let error = read("a: 1\na: 2\n").unwrap_err();
        assert!(error.problem.contains("duplicate"), "{error}");
    }

    #[test]
    fn limits_hold_before_anything_is_built() {
        let deep = "[".repeat(100_000);
        let error = read(&deep).unwrap_err();
        assert!(error.problem.contains("deeper than 64"), "{error}");
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            let items = vec![alias; 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(
            read(&bomb)
                .unwrap_err()
                .problem
                .contains("more than 100000 values")
        );
        let large = format!("a: {}", "x".repeat(MAX_BYTES));
        assert!(read(&large).unwrap_err().problem.contains("larger than"));
    }
}
