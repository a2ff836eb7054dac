//! Switches for the fault suite: a mechanism that is off must show in its table.
//!
//! Without the feature `mutations`, which only the suite's own sidecar is built with, nothing can
//! be off and no code is left of the question.

/// What can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// An event is acknowledged after the app took it, not when it is sent.
    AckAfterApp,
    /// A settled event gives its credit back.
    PermitReturn,
    /// A delivery that is lost tells its source so.
    DropGuard,
    /// Stopping waits for the events that are running.
    Drain,
    /// Attempts wait between them.
    Backoff,
    /// An event waits behind the one before it of the same key.
    Order,
    /// A reader that was given up can acknowledge nothing.
    Fencing,
}

#[cfg(not(feature = "mutations"))]
/// Whether a mechanism is switched off: never.
pub const fn is_off(_: Mechanism) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub use self::switch::{ALL, VARIABLE, is_off};

#[cfg(feature = "mutations")]
mod switch {
    use std::sync::OnceLock;

    use super::Mechanism;

    /// All mechanisms, by the names that the suite gives them.
    pub const ALL: [(&str, Mechanism); 7] = [
        ("ack-after-app", Mechanism::AckAfterApp),
        ("permit-return", Mechanism::PermitReturn),
        ("drop-guard", Mechanism::DropGuard),
        ("drain", Mechanism::Drain),
        ("backoff", Mechanism::Backoff),
        ("order", Mechanism::Order),
        ("fencing", Mechanism::Fencing),
    ];

    /// The environment variable that names the one that is off.
    pub const VARIABLE: &str = "BINDERY_MUTATE";

    /// Whether a mechanism is switched off by [`VARIABLE`], which is read once.
    pub fn is_off(mechanism: Mechanism) -> bool {
        static OFF: OnceLock<Option<Mechanism>> = OnceLock::new();
        let off = OFF.get_or_init(|| {
            let named = std::env::var(VARIABLE).ok()?;
            let found = ALL.iter().find(|(name, _)| *name == named);
            Some(
                found
                    .unwrap_or_else(|| panic!("{VARIABLE} names no mechanism: {named}"))
                    .1,
            )
        });
        *off == Some(mechanism)
    }
}
