//! `bindings.postgresql`.
