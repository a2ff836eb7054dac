//! Tokens of identity providers, for bindings that show one instead of a password, and keys of AWS.
//!
//! A binding flattens [`EntraSettings`], [`OidcSettings`] or [`AwsSettings`] into its settings and
//! makes an [`Entra`], an [`Oidc`] or an [`Aws`] of them. [`Tokens`] keeps what that gives, and
//! replaces it before it ends. What a token is for, and how it is shown there, is the binding's own
//! affair; this crate knows the contract only.

mod assertion;
mod aws;
mod endpoint;
mod entra;
mod file;
mod oidc;
mod program;
mod settings;
mod token;

pub use self::aws::{AccessKeys, Aws, Environment};
pub use self::entra::{Cloud, Entra, object_id};
pub use self::oidc::Oidc;
pub use self::settings::{AwsSettings, EntraSettings, OidcSettings};
pub use self::token::{Provider, Token, Tokens};
