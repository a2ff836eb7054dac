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
    WebIdentity {
        file: PathBuf,
        role: Role,
    },
    SignOn(SignOn),
    /// A program prints them.
    Program(String),
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
        let program = profile.get("credential_process").map(str::to_owned);
        Ok(program.map(Source::Program))
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
        Self::of(path, &text)
    }

    fn of(path: PathBuf, text: &str) -> Result<Self, OpenError> {
        let as_it_is = ParseOption {
            enabled_quote: false,
            enabled_escape: false,
            ..ParseOption::default()
        };
        let wrong = |what: &str| Err(unusable(&path, &format!("cannot be read: {what} is wrong")));
        let sections = match Ini::load_from_str_opt(text, as_it_is) {
            Ok(sections) => sections,
            // Its words may have a part of the line.
            Err(error) => return wrong(&format!("something up to line {}", error.line)),
        };
        // A line without a value becomes a part of the next one.
        let mut keys = sections.iter().flat_map(|(_, section)| section.iter());
        if keys.any(|(key, _)| key.contains('\n')) {
            return wrong("a line without =");
        }
        Ok(Self { path, sections })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the files say of a profile, in words.
    fn plan(named: Option<&str>, credentials: &str, config: &str) -> String {
        let file = |path: &str, text: &str| File::of(path.into(), text).unwrap();
        let files = Files {
            credentials: file("CREDENTIALS", credentials),
            config: file("CONFIG", config),
            named: named.map(str::to_owned),
        };
        let plan = match files.plan() {
            Ok(Some(plan)) => plan,
            Ok(None) => return "nothing".into(),
            Err(error) => return error.to_string(),
        };
        let mut words = match plan.source {
            Source::Keys(keys) => {
                let session = keys.session_token.map(|token| format!(" {token}"));
                let (id, secret) = (keys.access_key_id, keys.secret_access_key);
                format!("{id} {secret}{}", session.unwrap_or_default())
            }
            Source::WebIdentity { file, role } => {
                format!("{} {} {}", file.display(), role.arn, role.session)
            }
            Source::SignOn(SignOn {
                account,
                role,
                region,
                name,
            }) => format!("{account} {role} {region} {name}"),
            other => format!("{other:?}"),
        };
        for role in plan.roles {
            let external_id = role.external_id.unwrap_or_default();
            let then = format!(", then {} {} {external_id}", role.arn, role.session);
            words += then.trim_end();
        }
        words.trim().to_owned()
    }

    const KEYS: &str = "[default]\naws_access_key_id = id\naws_secret_access_key=a/b+c=\n\
                        # others\n[work]\naws_access_key_id=work\naws_secret_access_key=\"\\n\n\
                        aws_session_token = t\n";

    #[test]
    fn a_profile_says_where_its_keys_are() {
        let role = "[profile orders]\nrole_arn = R\nsource_profile = work\nexternal_id = 7\n\
                    [profile more]\nrole_arn = M\nrole_session_name = s\n\
                    source_profile = orders\n\
                    [profile of-the-task]\nrole_arn = R\ncredential_source = EcsContainer\n\
                    [profile itself]\nrole_arn = R\nsource_profile = itself\n\
                    aws_access_key_id = a\naws_secret_access_key = b\n\
                    [profile pod]\nrole_arn = R\nweb_identity_token_file = /t\n\
                    [profile program]\ncredential_process = /bin/keys \"a b\"\n";
        let sign_on = "[default]\nsso_session = us\nsso_account_id = 1\nsso_role_name = r\n\
                       [sso-session us]\nsso_region = eu-west-1\nsso_start_url = https://x\n\
                       [profile old]\nsso_account_id = 1\nsso_role_name = r\nsso_region = e\n\
                       sso_start_url = https://y\n";
        for (named, credentials, config, expected) in [
            (None, "", "", "nothing"),
            (None, "", "[default]\nregion = eu-west-1\n", "nothing"),
            (None, KEYS, "", "id a/b+c="),
            (None, KEYS, sign_on, "id a/b+c="),
            (Some("work"), KEYS, "", "work \"\\n t"),
            (None, "", KEYS, "id a/b+c="),
            (
                Some("orders"),
                KEYS,
                role,
                "work \"\\n t, then R DaprDefaultSession 7",
            ),
            (
                Some("more"),
                KEYS,
                role,
                "work \"\\n t, then R DaprDefaultSession 7, then M s",
            ),
            (
                Some("of-the-task"),
                "",
                role,
                "Container, then R DaprDefaultSession",
            ),
            (Some("itself"), "", role, "a b, then R DaprDefaultSession"),
            (Some("pod"), "", role, "/t R DaprDefaultSession"),
            (
                Some("program"),
                "",
                role,
                "Program(\"/bin/keys \\\"a b\\\"\")",
            ),
            (None, "", sign_on, "1 r eu-west-1 us"),
            (Some("old"), "", sign_on, "1 r e https://y"),
        ] {
            assert_eq!(
                plan(named, credentials, config),
                expected,
                "{named:?} {config}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_said_by_its_name() {
        let config = "[profile a]\nrole_arn = A\nsource_profile = b\n\
                      [profile b]\nrole_arn = B\nsource_profile = a\n\
                      [profile lost]\nrole_arn = R\nsource_profile = nowhere\n\
                      [profile alone]\nrole_arn = R\n\
                      [profile odd]\nrole_arn = R\ncredential_source = Mars\n\
                      [profile code]\nrole_arn = R\nmfa_serial = 1\nsource_profile = a\n\
                      [profile empty]\nregion = eu-west-1\n\
                      [profile on-empty]\nrole_arn = R\nsource_profile = empty\n\
                      [profile no-session]\nsso_account_id = 1\nsso_session = gone\n\
                      [profile half]\nsso_account_id = 1\nsso_role_name = r\n";
        for (named, says) in [
            (
                "typo",
                "AWS_PROFILE names the profile \"typo\", which is neither in CREDENTIALS nor in CONFIG",
            ),
            ("a", "source_profile goes round in circles"),
            (
                "lost",
                "source_profile of the AWS profile \"lost\" names the profile \"nowhere\", which",
            ),
            (
                "alone",
                "\"alone\": role_arn needs source_profile or credential_source",
            ),
            ("odd", "\"odd\": credential_source is one of Environment, "),
            ("code", "\"code\": mfa_serial is not supported"),
            (
                "on-empty",
                "\"empty\": has no keys, and is the source of another",
            ),
            (
                "no-session",
                "\"no-session\": there is no [sso-session gone]",
            ),
            ("half", "\"half\": sso_region is missing"),
        ] {
            let error = plan(Some(named), "", config);
            assert!(error.contains(says), "{named}: {error}");
        }
        assert_eq!(plan(Some("empty"), "", config), "nothing");
    }

    proptest! {
        #[test]
        fn no_text_is_more_than_an_error(text in "(\\[default\\]\n)?(.*\n|[a-z_]+ ?= ?.*\n|\\[.*\\]\n){0,8}") {
            if let Ok(file) = File::of("FILE".into(), &text) {
                let credentials = File::of("FILE".into(), "").unwrap();
                let _ = Files { credentials, config: file, named: None }.plan();
            }
        }
    }

    #[test]
    fn a_line_that_is_wrong_is_told_and_not_shown() {
        for (text, what) in [
            ("[default]\na=b\n[hunter2\n", "something up to line 4"),
            ("[default]\nhunter2\na=b\n", "a line without ="),
        ] {
            let error = File::of("FILE".into(), text).err().unwrap();
            let says = format!("the AWS profiles in FILE cannot be read: {what} is wrong");
            assert_eq!(error.to_string(), says);
        }
    }
}
