//! Where a process finds its keys. The order is that of the vendor's SDK for Go, which the
//! reference has: the first source that is there decides, and when it fails there is no other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{Clock, OpenError};
use http::Uri;
use http::request::Parts;
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, AssumeRoleWithWebIdentityCredentialProvider, Credential,
    ECSCredentialProvider, IMDSv2CredentialProvider, RequestSigner, SSOCredentialProvider,
};
use reqsign_core::time::Timestamp;
use reqsign_core::{Context, FileRead, ProvideCredential, Result as Signed, SignRequest, Signer};

use super::errand::{Errand, Place, address};
use super::profile::{Files, Plan, SignOn, Source};
use super::{Environment, Role, SESSION, printed};
use crate::file;

const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const NOTHING: &str = "there are no AWS keys: set accessKey and secretKey, or give the process an \
                       identity (environment, web identity, profile, container or instance)";

/// The sources, and the way to them.
pub(super) struct Chain<'a> {
    region: &'a str,
    environment: &'a Environment,
    sts: Option<Place>,
    errand: Arc<Errand>,
    context: Context,
    clock: Clock,
}

impl<'a> Chain<'a> {
    pub(super) async fn new(
        region: &'a str,
        environment: &'a Environment,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        let sts = sts(environment)?;
        let errand = Arc::new(Errand::new(sts.clone(), clock).await?);
        let context = Context::new()
            .with_http_send(Arc::clone(&errand))
            .with_file_read(SystemFiles)
            .with_env(environment.clone());
        Ok(Self {
            region,
            environment,
            sts,
            errand,
            context,
            clock: clock.clone(),
        })
    }

    /// The keys of the first source that is there.
    pub(super) async fn find(&self) -> Result<Credential, OpenError> {
        if let Some(keys) = self.of_environment() {
            return Ok(keys);
        }
        if let Some(file) = self.environment.get(TOKEN_FILE) {
            let arn = self.environment.get("AWS_ROLE_ARN").ok_or_else(|| {
                OpenError::invalid(format!("{TOKEN_FILE} is set, and AWS_ROLE_ARN is missing"))
            })?;
            let session = self.environment.get("AWS_ROLE_SESSION_NAME");
            let role = Role {
                arn,
                session: session.unwrap_or_else(|| SESSION.into()),
                external_id: None,
                origin: TOKEN_FILE.into(),
            };
            return self.of_web_identity(file.as_ref(), &role).await;
        }
        let files = Files::read(self.environment).await?;
        if let Some(plan) = files.plan()? {
            return self.follow(plan).await;
        }
        match self.container_url()? {
            Some(url) => self.of_container(&url).await,
            None => self.of_machine().await,
        }
    }

    fn of_environment(&self) -> Option<Credential> {
        Some(Credential {
            access_key_id: self.environment.get("AWS_ACCESS_KEY_ID")?,
            secret_access_key: self.environment.get("AWS_SECRET_ACCESS_KEY")?,
            session_token: self.environment.get("AWS_SESSION_TOKEN"),
            expires_in: None,
        })
    }

    async fn follow(&self, plan: Plan) -> Result<Credential, OpenError> {
        let missing = |what: &str| OpenError::refused(format!("{}: {what}", plan.profile));
        let mut credential = match plan.source {
            Source::Keys(keys) => keys,
            Source::WebIdentity { file, role } => self.of_web_identity(&file, &role).await?,
            Source::SignOn(sign_on) => self.of_sign_on(&plan.profile, sign_on).await?,
            Source::Program(program) => {
                printed::keys(&plan.profile, &program, self.environment, &self.clock).await?
            }
            Source::Environment => self.of_environment().ok_or_else(|| {
                missing("there is no AWS_ACCESS_KEY_ID with an AWS_SECRET_ACCESS_KEY")
            })?,
            Source::Container => {
                let url = self.container_url()?;
                let url = url.ok_or_else(|| missing("this is no container of ECS or EKS"))?;
                self.of_container(&url).await?
            }
            Source::Machine => self.of_machine().await?,
        };
        for role in &plan.roles {
            credential = self.assume(role, credential).await?;
        }
        Ok(credential)
    }

    /// The keys of a role, for who has others.
    pub(super) async fn assume(
        &self,
        role: &Role,
        keys: Credential,
    ) -> Result<Credential, OpenError> {
        let signing = StsSigner {
            place: self.sts.clone(),
            signer: RequestSigner::new("sts", self.region),
        };
        let signer = Signer::new(self.context.clone(), Held(keys), signing);
        let mut provider = AssumeRoleCredentialProvider::new(role.arn.clone(), signer)
            .with_role_session_name(role.session.clone())
            .with_region(self.region.into())
            .with_regional_sts_endpoint();
        if let Some(id) = &role.external_id {
            provider = provider.with_external_id(id.clone());
        }
        let what = format!("{} {}", role.origin, role.arn);
        self.ask(&what, &provider).await
    }

    /// The keys of a role, for who shows what its platform signed.
    async fn of_web_identity(&self, file: &Path, role: &Role) -> Result<Credential, OpenError> {
        let token = text(&role.origin, file).await?;
        let provider = AssumeRoleWithWebIdentityCredentialProvider::new()
            .with_role_arn(&role.arn)
            .with_role_session_name(role.session.clone())
            .with_subject_token(token.trim())
            .with_region(self.region.into())
            .with_regional_sts_endpoint();
        let what = format!("{} for {}", role.origin, role.arn);
        self.ask(&what, &provider).await
    }

    async fn of_sign_on(&self, profile: &str, sign_on: SignOn) -> Result<Credential, OpenError> {
        let provider = SSOCredentialProvider::new()
            .with_account_id(sign_on.account)
            .with_role_name(sign_on.role)
            .with_region(sign_on.region)
            .with_start_url(sign_on.name);
        self.ask(profile, &provider).await
    }

    /// Where the container's keys are, if there is one. What proves who asks is not sent to just
    /// anybody over a plain connection.
    fn container_url(&self) -> Result<Option<String>, OpenError> {
        if let Some(path) = self.environment.get(RELATIVE) {
            let slash = if path.starts_with('/') { "" } else { "/" };
            return Ok(Some(format!("http://169.254.170.2{slash}{path}")));
        }
        let Some(url) = self.environment.get(FULL) else {
            return Ok(None);
        };
        let uri = url.parse::<Uri>().ok();
        let is_allowed = uri.is_some_and(|uri| match uri.scheme_str() {
            Some("https") => uri.host().is_some(),
            Some("http") => address(&uri).is_some_and(is_container_host),
            _ => false,
        });
        if !is_allowed {
            return Err(OpenError::invalid(format!(
                "{FULL} must be an https URL, or an http URL of this machine, of ECS or of EKS"
            )));
        }
        Ok(Some(url))
    }

    async fn of_container(&self, url: &str) -> Result<Credential, OpenError> {
        let mut provider = ECSCredentialProvider::new().with_endpoint(url);
        let file = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
        if let Some(path) = self.environment.get(file) {
            let token = text(file, path.as_ref()).await?;
            provider = provider.with_auth_token(token.trim());
        }
        self.ask("the container's role", &provider).await
    }

    async fn of_machine(&self) -> Result<Credential, OpenError> {
        let variable = |name| self.environment.get(name);
        if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            return Err(OpenError::invalid(NOTHING));
        }
        let mut provider = IMDSv2CredentialProvider::new();
        if let Some(endpoint) = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            provider = provider.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let answer = self.ask("the instance's role", &provider).await;
        // Where nobody set anything, that there is nothing is what matters.
        answer.map_err(|error| error.with_cause(format!("{NOTHING}; {error}")))
    }

    async fn ask(
        &self,
        what: &str,
        provider: &impl ProvideCredential<Credential = Credential>,
    ) -> Result<Credential, OpenError> {
        self.errand.begin();
        match provider.provide_credential(&self.context).await {
            Ok(Some(keys))
                if !keys.access_key_id.is_empty() && !keys.secret_access_key.is_empty() =>
            {
                Ok(keys)
            }
            Ok(_) => Err(OpenError::refused(format!(
                "{what}: the answer has no keys"
            ))),
            Err(error) => Err(self.errand.explain(what, &error)),
        }
    }
}

/// Where STS is, if the environment says so.
fn sts(environment: &Environment) -> Result<Option<Place>, OpenError> {
    for name in ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"] {
        if let Some(url) = environment.get(name) {
            let place = Place::of(&url).ok_or_else(|| {
                OpenError::invalid(format!(
                    "{name} must be an http or https URL without a path"
                ))
            })?;
            return Ok(Some(place));
        }
    }
    Ok(None)
}

fn is_container_host(address: IpAddr) -> bool {
    const ECS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
    const EKS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 23);
    const EKS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);
    address.is_loopback() || [IpAddr::V4(ECS), EKS.into(), EKS_V6.into()].contains(&address)
}

/// What a file holds that others replace. `what` says who names it.
async fn text(what: &str, file: &Path) -> Result<String, OpenError> {
    let text = file::text(file).await;
    text.map_err(|error| error.with_cause(format!("{what}: {error}")))
}

/// Keys that are there already.
#[derive(Debug)]
struct Held(Credential);

impl ProvideCredential for Held {
    type Credential = Credential;

    async fn provide_credential(&self, _: &Context) -> Signed<Option<Credential>> {
        Ok(Some(self.0.clone()))
    }
}

/// Signs for the STS that will be asked.
#[derive(Debug)]
struct StsSigner {
    place: Option<Place>,
    signer: RequestSigner,
}

impl SignRequest for StsSigner {
    type Credential = Credential;

    fn required_valid_until(&self, keys: &Credential, lifetime: Option<Duration>) -> Timestamp {
        self.signer.required_valid_until(keys, lifetime)
    }

    async fn sign_request(
        &self,
        context: &Context,
        request: &mut Parts,
        keys: Option<&Credential>,
        lifetime: Option<Duration>,
    ) -> Signed<()> {
        if let Some(place) = &self.place {
            place.redirect(&mut request.uri)?;
        }
        let signer = &self.signer;
        signer.sign_request(context, request, keys, lifetime).await
    }
}

/// The files that the library reads itself.
#[derive(Debug)]
struct SystemFiles;

impl FileRead for SystemFiles {
    async fn file_read(&self, path: &str) -> Signed<Vec<u8>> {
        Ok(tokio::fs::read(path).await?)
    }
}
