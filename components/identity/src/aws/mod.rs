//! AWS: the keys of an identity, from the settings or from where a process finds them.
//!
//! The vendor's protocols are a library's (`reqsign`). Where to look, in which order, and what a
//! failure means is decided here: the library goes on after a failure, and then there is nothing
//! to tell but that there was none.

mod answer;
mod chain;
mod environment;
mod errand;
mod printed;
mod profile;

use std::time::Duration;

use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{Clock, OpenError};
use reqsign_aws_v4::Credential;

use self::chain::Chain;
pub use self::environment::Environment;
use crate::settings::AwsSettings;
use crate::token::{LIFETIME, Provider, Token};

/// What a session with a role is called when nobody says, as in the reference.
const SESSION: &str = "DaprDefaultSession";
/// Keys of the settings have no end.
const FOR_GOOD: Duration = Duration::MAX;

/// The keys of an AWS identity.
#[derive(Clone, Debug)]
pub struct AccessKeys {
    /// The access key's id.
    pub id: String,
    /// What is signed with.
    pub secret: Secret,
    /// Comes with keys that are valid for some time only.
    pub session: Option<Secret>,
}

/// Where the keys of an AWS identity come from.
#[derive(Debug)]
pub struct Aws {
    region: String,
    /// None: those that the process finds.
    keys: Option<AccessKeys>,
    role: Option<Role>,
    environment: Environment,
}

/// A role to assume.
#[derive(Clone, Debug)]
struct Role {
    arn: String,
    session: String,
    /// Some roles are given to who knows this.
    external_id: Option<String>,
    /// The setting that names it, for errors.
    origin: String,
}

impl Aws {
    /// Decided without the environment: it may be another one where the settings are checked.
    ///
    /// # Errors
    /// The setting that can never work.
    pub fn of(settings: &AwsSettings) -> Result<Self, SettingsError> {
        let anywhere = [
            ("trustAnchorArn", &settings.trust_anchor_arn),
            ("trustProfileArn", &settings.trust_profile_arn),
        ];
        if let Some((key, _)) = anywhere.iter().find(|(_, value)| !value.is_empty()) {
            let problem = "is not supported: IAM Roles Anywhere needs a certificate of SPIFFE";
            let hint = "remove it, and use accessKey with secretKey or an identity of the process, \
                        such as a profile with AWS' signing helper";
            return Err(SettingsError::new(*key, problem).hint(hint));
        }
        if settings.region.is_empty() {
            return Err(SettingsError::new("region", "is needed with AWS"));
        }
        if !is_region(&settings.region) {
            let problem = "is no AWS region, such as eu-west-1";
            return Err(SettingsError::new("region", problem));
        }
        Ok(Self {
            region: settings.region.clone(),
            keys: keys(settings)?,
            role: role(settings)?,
            environment: Environment::default(),
        })
    }

    /// Looks in this environment instead of the one of the process.
    #[must_use]
    pub fn within(self, environment: Environment) -> Self {
        Self {
            environment,
            ..self
        }
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }
}

impl Provider for Aws {
    type Pass = AccessKeys;

    async fn fetch(&self, clock: &Clock) -> Result<Token<AccessKeys>, OpenError> {
        if let (Some(keys), None) = (&self.keys, &self.role) {
            return Ok(Token {
                pass: keys.clone(),
                lifetime: FOR_GOOD,
            });
        }
        let chain = Chain::new(&self.region, &self.environment, clock).await?;
        let mut credential = match &self.keys {
            Some(keys) => keys.credential(),
            None => chain.find().await?,
        };
        if let Some(role) = &self.role {
            credential = chain.assume(role, credential).await?;
        }
        Ok(token(credential, clock))
    }
}

impl AccessKeys {
    fn credential(&self) -> Credential {
        Credential {
            access_key_id: self.id.clone(),
            secret_access_key: self.secret.expose().to_owned(),
            session_token: self.session.as_ref().map(|it| it.expose().to_owned()),
            expires_in: None,
        }
    }
}

fn token(credential: Credential, clock: &Clock) -> Token<AccessKeys> {
    let lifetime = match credential.expires_in {
        Some(end) => end.as_system_time().duration_since(clock.wall()),
        // Somebody may put others in their place.
        None => Ok(LIFETIME),
    };
    Token {
        pass: AccessKeys {
            id: credential.access_key_id,
            secret: Secret::new(credential.secret_access_key),
            session: credential.session_token.map(Secret::new),
        },
        lifetime: lifetime.unwrap_or_default(),
    }
}

fn keys(settings: &AwsSettings) -> Result<Option<AccessKeys>, SettingsError> {
    let (id, secret) = (&settings.access_key, &settings.secret_key);
    let session = &settings.session_token;
    let needs = |key, other| Err(SettingsError::new(key, format!("is needed with {other}")));
    match (id.is_empty(), secret.is_empty(), session.is_empty()) {
        (true, true, true) => Ok(None),
        (false, false, _) => Ok(Some(AccessKeys {
            id: id.clone(),
            secret: secret.clone(),
            session: (!session.is_empty()).then(|| session.clone()),
        })),
        (true, false, _) => needs("accessKey", "secretKey"),
        (false, true, _) => needs("secretKey", "accessKey"),
        (true, true, false) => needs("accessKey", "sessionToken"),
    }
}

fn role(settings: &AwsSettings) -> Result<Option<Role>, SettingsError> {
    let (arn, session) = (&settings.assume_role_arn, &settings.session_name);
    if arn.is_empty() {
        return Ok(None);
    }
    if !is_role(arn) {
        let problem = "is no ARN of a role, such as arn:aws:iam::123456789012:role/orders";
        return Err(SettingsError::new("assumeRoleArn", problem));
    }
    let session = if session.is_empty() { SESSION } else { session };
    if !is_session(session) {
        let problem = "must have 2 to 64 letters, digits and _+=,.@-";
        return Err(SettingsError::new("sessionName", problem));
    }
    Ok(Some(Role {
        arn: arn.clone(),
        session: session.to_owned(),
        external_id: None,
        origin: "assumeRoleArn".into(),
    }))
}

fn is_region(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=64).contains(&name.len())
        && name.bytes().all(|byte| is_letter(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_role(arn: &str) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let ["arn", _, "iam", "", account, resource] = parts[..] else {
        return false;
    };
    account.len() == 12
        && account.bytes().all(|digit| digit.is_ascii_digit())
        && resource
            .strip_prefix("role/")
            .is_some_and(|name| !name.is_empty())
}

fn is_session(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    (2..=64).contains(&name.len()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::{Conventions, Properties, decode};

    use super::*;

    fn aws(settings: &[(&str, &str)]) -> Result<Aws, String> {
        let properties: Properties = settings.iter().copied().collect();
        let settings = decode::<AwsSettings>(&properties, Conventions::Usual).unwrap();
        Aws::of(&settings).map_err(|error| error.to_string())
    }

    const HERE: (&str, &str) = ("region", "eu-west-1");
    const ROLE: &str = "arn:aws:iam::123456789012:role/path/orders";

    #[test]
    fn what_can_never_work_is_said_by_the_settings_name() {
        let problems: [(&[(&str, &str)], &str); 14] = [
            (&[], "\"region\": is needed with AWS"),
            (&[("awsRegion", "Ireland")], "\"region\": is no AWS region"),
            (&[("region", "eu-west-1/x")], "\"region\": is no AWS region"),
            (
                &[HERE, ("accessKey", "a")],
                "\"secretKey\": is needed with accessKey",
            ),
            (
                &[HERE, ("awsSecretKey", "hunter2")],
                "\"accessKey\": is needed with secretKey",
            ),
            (
                &[HERE, ("sessionToken", "hunter2")],
                "\"accessKey\": is needed with sessionToken",
            ),
            (
                &[HERE, ("assumeRoleArn", "orders")],
                "\"assumeRoleArn\": is no ARN of a role",
            ),
            (
                &[
                    HERE,
                    ("assumeRoleArn", "arn:aws:iam::123456789012:user/orders"),
                ],
                "\"assumeRoleArn\": is no ARN of a role",
            ),
            (
                &[HERE, ("awsIamRoleArn", "arn:aws:iam::12:role/orders")],
                "\"assumeRoleArn\": is no ARN of a role",
            ),
            (
                &[HERE, ("assumeRoleArn", ROLE), ("sessionName", "a")],
                "\"sessionName\": must have 2 to 64 letters",
            ),
            (
                &[
                    HERE,
                    ("assumeRoleArn", ROLE),
                    ("awsStsSessionName", "two words"),
                ],
                "\"sessionName\": must have 2 to 64 letters",
            ),
            (
                &[HERE, ("trustAnchorArn", "arn")],
                "\"trustAnchorArn\": is not supported",
            ),
            (
                &[HERE, ("trustProfileArn", "arn")],
                "\"trustProfileArn\": is not supported",
            ),
            (
                &[("trustProfileArn", "arn")],
                "; remove it, and use accessKey with secretKey or",
            ),
        ];
        for (settings, says) in problems {
            let error = aws(settings).unwrap_err();
            assert!(error.contains(says), "{settings:?}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_name_without_a_prefix_wins() {
        let settings = [
            HERE,
            ("awsRegion", "us-east-1"),
            ("awsAccessKey", "old"),
            ("accessKey", "new"),
            ("awsSecretKey", "hunter2"),
            ("assumeRoleArn", ROLE),
        ];
        let aws = aws(&settings).unwrap();
        assert_eq!(aws.region(), "eu-west-1");
        assert_eq!(aws.keys.as_ref().unwrap().id, "new");
        assert_eq!(aws.role.as_ref().unwrap().session, SESSION);
        assert!(!format!("{aws:?}").contains("hunter2"), "{aws:?}");
    }
}
