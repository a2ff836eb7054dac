//! Tokens of identity providers, for bindings that show one instead of a password.
//!
//! A binding flattens [`EntraSettings`] or [`OidcSettings`] into its settings and makes an
//! [`Entra`] or an [`Oidc`] of them. [`Tokens`] keeps what that gives, and replaces it before it
//! ends. What a token is for, and how it is shown there, is the binding's own affair; this crate
//! knows the contract only.

mod assertion;
mod endpoint;
mod entra;
mod oidc;
mod settings;
mod token;

pub use self::entra::{Cloud, Entra, object_id};
pub use self::oidc::Oidc;
pub use self::settings::{EntraSettings, OidcSettings};
pub use self::token::{Provider, Token, Tokens};
