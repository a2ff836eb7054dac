//! Profiles: what the files say that the vendor's tools share.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bindery_contract::OpenError;
use ini::{Ini, ParseOption, Properties};
use reqsign_aws_v4::Credential;

use super::{Environment, Role, SESSION};

/// The profile that counts when nobody names one.
const DEFAULT: &str = "default";
/// How many roles one after the other are no mistake.
const MOST_ROLES: usize = 8;

/// The two files, as far as they are there.
pub(super) struct Files {
    credentials: File,
    config: File,
    /// What `AWS_PROFILE` says.
    named: Option<String>,
}

struct File {
    path: PathBuf,
    sections: Ini,
}

/// How one comes to keys.
#[derive(Debug)]
pub(super) struct Plan {
    /// The profile, for errors.
    pub profile: String,
    pub source: Source,
    /// To be assumed one after the other.
    pub roles: Vec<Role>,
}

#[derive(Debug)]
pub(super) enum Source {
    Keys(Credential),
    WebIdentity { file: PathBuf, role: Role },
    SignOn(SignOn),
    Environment,
    Container,
    Machine,
}

/// A person's sign-on, kept by `aws sso login`.
#[derive(Debug)]
pub(super) struct SignOn {
    pub account: String,
    pub role: String,
    pub region: String,
    /// By which it is found: the session's name, or the URL of its start.
    pub name: String,
}

/// What both files say of a profile. The one with credentials wins.
#[derive(Clone, Copy)]
struct Profile<'a> {
    name: &'a str,
    sections: [Option<&'a Properties>; 2],
}

impl Files {
    pub(super) async fn read(environment: &Environment) -> Result<Self, OpenError> {
        let place = |variable: &str, name: &str| match environment.get(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => environment.home().map(|home| home.join(".aws").join(name)),
        };
        let credentials = place("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = place("AWS_CONFIG_FILE", "config");
        Ok(Self {
            credentials: File::read(credentials.unwrap_or_default()).await?,
            config: File::read(config.unwrap_or_default()).await?,
            named: environment.get("AWS_PROFILE"),
        })
    }

    /// What the profile that counts says; `None` when it says nothing of keys.
    pub(super) fn plan(&self) -> Result<Option<Plan>, OpenError> {
        let mut name = self.named.as_deref().unwrap_or(DEFAULT);
        let Some(mut profile) = self.profile(name) else {
            return match &self.named {
                None => Ok(None),
                Some(name) => Err(self.nowhere("AWS_PROFILE", name)),
            };
        };
        let mut roles = Vec::new();
        let source = loop {
            // A role that is its own source is assumed with the keys beside it.
            let is_source = profile.name == name && !roles.is_empty();
            let role = if is_source { None } else { profile.role()? };
            let Some(role) = role else {
                break self.source(profile)?;
            };
            if let Some(file) = profile.get("web_identity_token_file") {
                let file = file.into();
                break Some(Source::WebIdentity { file, role });
            }
            if roles.len() == MOST_ROLES {
                return Err(profile.wrong("source_profile goes round in circles"));
            }
            roles.push(role);
            if let Some(source) = profile.get("source_profile") {
                name = profile.name;
                let missing = || self.nowhere(&profile.says("source_profile"), source);
                profile = self.profile(source).ok_or_else(missing)?;
                continue;
            }
            break Some(profile.named_source()?);
        };
        roles.reverse();
        match source {
            Some(source) => Ok(Some(Plan {
                profile: profile.says("it"),
                source,
                roles,
            })),
            None if roles.is_empty() => Ok(None),
            None => Err(profile.wrong("has no keys, and is the source of another")),
        }
    }

    fn profile<'a>(&'a self, name: &'a str) -> Option<Profile<'a>> {
        let longer = format!("profile {name}");
        let config = self.config.sections.section(Some(longer));
        let config = config.or_else(|| match name {
            DEFAULT => self.config.sections.section(Some(DEFAULT)),
            _ => None,
        });
        let sections = [self.credentials.sections.section(Some(name)), config];
        let is_there = sections.iter().any(Option::is_some);
        is_there.then_some(Profile { name, sections })
    }

    fn source(&self, profile: Profile<'_>) -> Result<Option<Source>, OpenError> {
        if let Some(keys) = profile.keys() {
            return Ok(Some(Source::Keys(keys)));
        }
        if profile.get("sso_account_id").is_some() {
            return self.sign_on(profile).map(Source::SignOn).map(Some);
        }
        if profile.get("credential_process").is_some() {
            let problem = "credential_process is not supported: let that program write the keys \
                           to a profile";
            return Err(profile.wrong(problem));
        }
        Ok(None)
    }

    fn sign_on(&self, profile: Profile<'_>) -> Result<SignOn, OpenError> {
        let session = profile.get("sso_session");
        let section = session.map(|name| {
            let longer = format!("sso-session {name}");
            let section = self.config.sections.section(Some(longer));
            section.ok_or_else(|| profile.wrong(&format!("there is no [sso-session {name}]")))
        });
        let section = section.transpose()?;
        let value = |key: &str| {
            let value = section.and_then(|section| section.get(key));
            let value = value.or_else(|| profile.get(key)).map(str::to_owned);
            value.ok_or_else(|| profile.wrong(&format!("{key} is missing")))
        };
        Ok(SignOn {
            account: value("sso_account_id")?,
            role: value("sso_role_name")?,
            region: value("sso_region")?,
            name: match session {
                Some(session) => session.to_owned(),
                None => value("sso_start_url")?,
            },
        })
    }

    fn nowhere(&self, who: &str, name: &str) -> OpenError {
        let [credentials, config] = [&self.credentials, &self.config].map(|it| it.path.display());
        OpenError::refused(format!(
            "{who} names the profile {name:?}, which is neither in {credentials} nor in {config}"
        ))
    }
}

impl File {
    async fn read(path: PathBuf) -> Result<Self, OpenError> {
        let text = match tokio::fs::read_to_string(&path).await {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unusable(&path, &format!("cannot be read: {error}"))),
        };
        let as_it_is = ParseOption {
            enabled_quote: false,
            enabled_escape: false,
            ..ParseOption::default()
        };
        match Ini::load_from_str_opt(&text, as_it_is) {
            Ok(sections) => Ok(Self { path, sections }),
            // Its words may have a part of the line.
            Err(error) => {
                let problem = format!("cannot be read: line {} is wrong", error.line);
                Err(unusable(&path, &problem))
            }
        }
    }
}

fn unusable(path: &Path, problem: &str) -> OpenError {
    OpenError::refused(format!("the AWS profiles in {} {problem}", path.display()))
}

impl<'a> Profile<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        let found = self.sections.iter().flatten().find_map(|it| it.get(key));
        found.map(str::trim).filter(|value| !value.is_empty())
    }

    /// The role that the profile is.
    fn role(&self) -> Result<Option<Role>, OpenError> {
        let Some(arn) = self.get("role_arn") else {
            return Ok(None);
        };
        if self.get("mfa_serial").is_some() {
            return Err(self.wrong("mfa_serial is not supported: nobody is there to give the code"));
        }
        Ok(Some(Role {
            arn: arn.to_owned(),
            session: self.get("role_session_name").unwrap_or(SESSION).to_owned(),
            external_id: self.get("external_id").map(str::to_owned),
            origin: self.says("role_arn"),
        }))
    }

    fn keys(&self) -> Option<Credential> {
        // Both are in one file, and so is what belongs to them.
        self.sections.iter().flatten().find_map(|section| {
            let get = |key| section.get(key).map(str::trim).filter(|it| !it.is_empty());
            Some(Credential {
                access_key_id: get("aws_access_key_id")?.to_owned(),
                secret_access_key: get("aws_secret_access_key")?.to_owned(),
                session_token: get("aws_session_token").map(str::to_owned),
                expires_in: None,
            })
        })
    }

    fn named_source(&self) -> Result<Source, OpenError> {
        match self.get("credential_source") {
            Some("Environment") => Ok(Source::Environment),
            Some("EcsContainer") => Ok(Source::Container),
            Some("Ec2InstanceMetadata") => Ok(Source::Machine),
            Some(_) => Err(self.wrong(
                "credential_source is one of Environment, EcsContainer, Ec2InstanceMetadata",
            )),
            None => Err(self.wrong("role_arn needs source_profile or credential_source")),
        }
    }

    fn says(&self, key: &str) -> String {
        match key {
            "it" => format!("the AWS profile {:?}", self.name),
            _ => format!("{key} of the AWS profile {:?}", self.name),
        }
    }

    fn wrong(&self, problem: &str) -> OpenError {
        OpenError::refused(format!("{}: {problem}", self.says("it")))
    }
}
