//! Passwords from AWS IAM: a request to `rds-db`, signed and never sent, which the database
//! takes for a password within 15 minutes. Made anew for each connection; the network is needed
//! for keys only. The library that knows where keys are signs no such request: its signature says
//! that there may be a body.

use std::sync::Arc;
use std::time::SystemTime;

use bindery_contract::settings::{Secret, SettingsError};
use bindery_contract::{Clock, OpenContext, OpenError};
use bindery_identity::{AccessKeys, Aws, Tokens};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use ring::hmac;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::settings::PostgresSettings;

/// What stays as it is in a query that is signed.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What the settings say of AWS IAM.
pub(crate) struct Iam {
    who: Identity,
    keys: Arc<Aws>,
}

/// Signs in.
pub(crate) struct Login {
    who: Identity,
    keys: Tokens<Arc<Aws>>,
}

/// Who signs in, and where.
#[derive(Clone)]
struct Identity {
    /// `host:port`, as the database knows itself.
    endpoint: String,
    region: String,
    user: String,
}

impl Iam {
    /// Decided without the environment: it may be another one where the settings are checked.
    pub(crate) fn of(settings: &PostgresSettings, config: &Config) -> Result<Self, SettingsError> {
        let wrong = |problem| SettingsError::new("useAWSIAM", problem);
        let ([Host::Tcp(host)], [] | [_]) = (config.get_hosts(), config.get_ports()) else {
            return Err(wrong("needs exactly one host, by its name"));
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().ok_or_else(|| wrong("needs a user"))?;
        let aws = Aws::of(&settings.aws)?;
        Ok(Self {
            who: Identity {
                endpoint: format!("{host}:{port}"),
                region: aws.region().to_owned(),
                user: user.to_owned(),
            },
            keys: Arc::new(aws),
        })
    }

    /// With keys, from wherever they are.
    pub(crate) fn login(&self, cx: &OpenContext) -> Login {
        Login {
            who: self.who.clone(),
            keys: Tokens::new(Arc::clone(&self.keys), cx),
        }
    }
}

impl Login {
    /// The password that is valid from now on.
    pub(crate) async fn password(&self, clock: &Clock) -> Result<Secret, OpenError> {
        let keys = self.keys.now().await;
        let keys = keys.map_err(|error| error.with_cause(format!("useAWSIAM: {error}")))?;
        Ok(self.who.password(&keys, clock.wall()))
    }
}

impl Identity {
    fn password(&self, keys: &AccessKeys, now: SystemTime) -> Secret {
        let Self {
            endpoint, region, ..
        } = self;
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = now.strftime("%Y%m%d").to_string();
        let scope = format!("{day}/{region}/rds-db/aws4_request");
        let query = self.query(keys, &time, &scope);
        // No body, and of the headers the one that cannot be missing.
        let request = format!("GET\n/\n{query}\nhost:{endpoint}\n\nhost\n{}", hash(""));
        let signed = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(&request));
        let signature = hex(&sign(&self.key(keys, &day), &signed));
        Secret::new(format!("{endpoint}?{query}&X-Amz-Signature={signature}"))
    }

    /// The key of a day, for this region and service.
    fn key(&self, keys: &AccessKeys, day: &str) -> Vec<u8> {
        let secret = format!("AWS4{}", keys.secret.expose()).into_bytes();
        let parts = [day, &self.region, "rds-db", "aws4_request"];
        parts.into_iter().fold(secret, |key, part| sign(&key, part))
    }

    /// What is signed, in the order of the names.
    fn query(&self, keys: &AccessKeys, time: &str, scope: &str) -> String {
        let credential = format!("{}/{scope}", keys.id);
        let session = keys.session.as_ref().map(Secret::expose);
        let pairs = [
            ("Action", Some("connect")),
            ("DBUser", Some(self.user.as_str())),
            ("X-Amz-Algorithm", Some("AWS4-HMAC-SHA256")),
            ("X-Amz-Credential", Some(credential.as_str())),
            ("X-Amz-Date", Some(time)),
            ("X-Amz-Expires", Some("900")),
            ("X-Amz-Security-Token", session),
            ("X-Amz-SignedHeaders", Some("host")),
        ];
        let pairs = pairs.into_iter().filter_map(|(name, value)| {
            let value = utf8_percent_encode(value?, UNRESERVED);
            Some(format!("{name}={value}"))
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn password(
        endpoint: &str,
        region: &str,
        user: &str,
        id: &str,
        session: Option<&str>,
    ) -> String {
        let who = Identity {
            endpoint: endpoint.into(),
            region: region.into(),
            user: user.into(),
        };
        let keys = AccessKeys {
            id: id.into(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session: session.map(Secret::new),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_518_485);
        who.password(&keys, now).expose().to_owned()
    }

    /// The right sides were made by the vendor's own library.
    #[test]
    fn a_password_is_what_the_vendors_library_makes() {
        assert_eq!(
            password(
                "db.abc.eu-west-1.rds.amazonaws.com:5432",
                "eu-west-1",
                "dapr",
                "AKIDEXAMPLE",
                None
            ),
            "db.abc.eu-west-1.rds.amazonaws.com:5432?Action=connect&DBUser=dapr\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20261124%2Feu-west-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20261124T110805Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=41e60de03f571786f16cf487687808d6e10847dd13d0b0298e9c283e4b295d27"
        );
        assert_eq!(
            password(
                "db.abc.us-east-1.rds.amazonaws.com:5433",
                "us-east-1",
                "we ird+us/er@é",
                "ASIA",
                Some("tok/en+with=chars==")
            ),
            "db.abc.us-east-1.rds.amazonaws.com:5433?Action=connect&DBUser=we%20ird%2Bus%2Fer%40%C3%A9\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=ASIA%2F20261124%2Fus-east-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20261124T110805Z&X-Amz-Expires=900\
             &X-Amz-Security-Token=tok%2Fen%2Bwith%3Dchars%3D%3D&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=6b1ed1be6336bd6d234f9d61af748762ffa18f17a3d4f71b2de6a354adfb9596"
        );
    }
}
