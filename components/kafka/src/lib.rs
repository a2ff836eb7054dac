//! `bindings.kafka`.
