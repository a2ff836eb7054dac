//! `bindings.http`.
