//! `bindings.redis`.
