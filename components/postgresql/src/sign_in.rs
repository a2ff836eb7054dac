//! Signing in: the password of each new connection, where it is not the configured one.

use std::sync::Arc;

use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{Clock, OpenContext, OpenError};
use bindery_identity::{Cloud, Entra, Tokens};
use tokio_postgres::Config;

use crate::aws::{Iam, Login};
use crate::settings::PostgresSettings;

/// What the settings say. Decided without the environment.
pub(crate) enum SignIn {
    /// With the configured password, or none.
    Configured,
    Iam(Iam),
    Entra(Arc<Entra>),
}

/// Where the passwords come from.
pub(crate) enum Passwords {
    Configured,
    Iam(Login),
    Entra(Tokens<Arc<Entra>>),
}

impl SignIn {
    pub(crate) fn of(settings: &PostgresSettings, config: &Config) -> Result<Self, SettingsError> {
        let wrong = |problem| Err(SettingsError::new("useAzureAD", problem));
        match (settings.use_azure_ad, settings.use_aws_iam) {
            (false, false) => Ok(Self::Configured),
            (false, true) => Ok(Self::Iam(Iam::of(settings, config)?)),
            (true, true) => wrong("cannot be used with useAWSIAM: both give the password"),
            (true, false) if config.get_user().is_none() => {
                wrong("needs a user: the name that the identity has in the database")
            }
            (true, false) => {
                let resource = resource(settings.entra.cloud()?.unwrap_or_default());
                Ok(Self::Entra(Arc::new(Entra::of(&settings.entra, resource)?)))
            }
        }
    }

    /// With what there is in this environment.
    pub(crate) fn passwords(&self, cx: &OpenContext) -> Passwords {
        match self {
            Self::Configured => Passwords::Configured,
            Self::Iam(iam) => Passwords::Iam(iam.login(cx)),
            Self::Entra(entra) => Passwords::Entra(Tokens::new(Arc::clone(entra), cx)),
        }
    }
}

/// What a token is for: the databases of a cloud.
fn resource(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public => "https://ossrdbms-aad.database.windows.net",
        Cloud::China => "https://ossrdbms-aad.database.chinacloudapi.cn",
        Cloud::UsGovernment => "https://ossrdbms-aad.database.usgovcloudapi.net",
    }
}

impl Passwords {
    /// The password of a connection that is made now; `None` is the configured one.
    pub(crate) async fn next(&self, clock: &Clock) -> Result<Option<Secret>, OpenError> {
        match self {
            Self::Configured => Ok(None),
            Self::Iam(login) => login.password(clock).await.map(Some),
            Self::Entra(tokens) => tokens.now().await.map(Some),
        }
    }
}
