//! `spec.delivery` of a component: how its events are delivered (DESIGN "Delivery").

use bindery_actors::DeliveryOptions;
use bindery_contract::Order;

use super::yaml::{Node, Position, Value};

/// What can stand there, for whoever got it wrong.
pub(super) const HINT: &str = "maxInFlight is 1 to 65536, maxAttempts 0 or more, deadLetter the \
                               name of an output, order source, key or none, reply on or off, \
                               replyFailure log or nack";

/// What was read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) options: DeliveryOptions,
    /// Where the name of the dead letter stands.
    pub(super) dead_letter_at: Option<Position>,
    /// What is wrong, with its key and its place.
    pub(super) wrong: Vec<(String, Position, String)>,
}

/// Reads all of it.
pub(super) fn read(document: &Node, delivery: Option<&Node>) -> Read {
    let mut read = Read::default();
    for (key, node) in settings(document, delivery) {
        if key == "deadLetter" {
            read.dead_letter_at = Some(node.at);
        }
        if let Err(problem) = set(&mut read.options, &key, node) {
            read.wrong.push((key, node.at, problem));
        }
    }
    read
}

/// What `spec.delivery` says, and the annotations `bindery.io/max-in-flight` and so on, because
/// a Kubernetes CRD drops fields that it does not know.
fn settings<'a>(document: &'a Node, delivery: Option<&'a Node>) -> Vec<(String, &'a Node)> {
    let mut settings = Vec::new();
    let annotations = document
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"));
    if let Some(Value::Map(entries)) = annotations.map(|node| &node.value) {
        for (named, node) in entries {
            if let Some(name) = named.name.strip_prefix("bindery.io/") {
                settings.push((camel_case(name), node));
            }
        }
    }
    if let Some(Value::Map(entries)) = delivery.map(|node| &node.value) {
        settings.extend(
            entries
                .iter()
                .map(|(named, node)| (named.name.clone(), node)),
        );
    }
    settings
}

fn camel_case(kebab: &str) -> String {
    let mut words = kebab.split('-');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

fn set(options: &mut DeliveryOptions, key: &str, node: &Node) -> Result<(), String> {
    let text = node
        .scalar()
        .ok_or_else(|| format!("must be a value, not {}", node.kind()))?;
    let whole = |min: u32, max: u32| {
        let number = text
            .parse::<u32>()
            .ok()
            .filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| format!("{text:?} is not a whole number from {min} to {max}"))
    };
    let one_of = |words: &[&str]| format!("{text:?} is not one of {}", words.join(", "));
    match key {
        "maxInFlight" => options.max_in_flight = whole(1, 65_536)? as usize,
        "maxAttempts" => options.max_attempts = whole(0, u32::MAX)?,
        "order" => {
            options.order = match text.as_str() {
                "source" => Order::Source,
                "key" => Order::Key,
                "none" => Order::None,
                _ => return Err(one_of(&["source", "key", "none"])),
            }
        }
        "reply" => {
            options.reply = match text.as_str() {
                "on" | "true" => true,
                "off" | "false" => false,
                _ => return Err(one_of(&["on", "off"])),
            }
        }
        "replyFailure" => {
            options.reply_failure_nacks = match text.as_str() {
                "nack" => true,
                "log" => false,
                _ => return Err(one_of(&["log", "nack"])),
            }
        }
        "deadLetter" => options.dead_letter = Some(text).filter(|name| !name.is_empty()),
        _ => {
            return Err(String::from(
                "is not known; there are maxInFlight, maxAttempts, deadLetter, order, reply and \
                 replyFailure",
            ));
        }
    }
    Ok(())
}
