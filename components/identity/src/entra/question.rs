//! What is asked at Entra ID, and where: what the settings leave open, the environment says.

use bindery_contract::{Clock, OpenError};

use super::proof::{Proof, Shown};
use super::{Cloud, Entra, Way, command_line};
use crate::endpoint::{CLIENT_ASSERTION, Endpoint, EndpointError, Grant};

/// The variables of a process, by their names.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where Azure runs an app for its user, one of these says where its identity is.
const CLOUD_SERVICE: [&str; 3] = ["IDENTITY_ENDPOINT", "IMDS_ENDPOINT", "MSI_ENDPOINT"];

/// What to do on a way.
pub(super) enum Step<'a> {
    Ask(Question<'a>),
    /// Nothing, for this reason.
    Not(String),
}

/// A question for a token.
pub(super) enum Question<'a> {
    /// An application proves at the authority who it is.
    Application {
        authority: Endpoint,
        /// The authority's URL: what an assertion is for.
        audience: String,
        client_id: String,
        scope: String,
        proof: Proof<'a>,
    },
    /// The machine knows who it is.
    Machine {
        endpoint: Endpoint,
        query: Vec<(&'static str, String)>,
        header: (&'static str, String),
        /// Whether it has to be found first: it may be nowhere, and other ways wait.
        find: bool,
    },
    /// The Azure CLI knows who is signed in.
    CommandLine {
        resource: &'static str,
        tenant: Option<String>,
    },
}

impl Entra {
    /// What to ask when one goes this way.
    pub(super) fn question<'a>(
        &self,
        way: &'a Way,
        environment: Environment<'_>,
    ) -> Result<Step<'a>, OpenError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let (mut tenant, mut client_id) = (self.tenant.clone(), self.client_id.clone());
        let proof = match way {
            Way::Secret(secret) => Proof::Secret(secret),
            Way::Certificate(key) => Proof::Certificate(key),
            Way::CertificateFile { file, password } => Proof::CertificateFile(file, password),
            Way::Workload => {
                tenant = tenant.or_else(|| variable("AZURE_TENANT_ID"));
                client_id = client_id.or_else(|| variable("AZURE_CLIENT_ID"));
                match variable("AZURE_FEDERATED_TOKEN_FILE") {
                    Some(file) => Proof::AssertionFile(file.into()),
                    None => return Ok(lacks("AZURE_FEDERATED_TOKEN_FILE")),
                }
            }
            Way::Machine => return self.of_machine(&variable).map(Step::Ask),
            Way::CommandLine { is_named } => {
                let in_cloud = CLOUD_SERVICE.iter().find(|name| variable(name).is_some());
                if let Some(name) = in_cloud.filter(|_| !is_named) {
                    return Ok(Step::Not(format!(
                        "commandlineinterface has to be named in azureAuthMethods where {name} is set"
                    )));
                }
                return Ok(Step::Ask(Question::CommandLine {
                    resource: self.resource,
                    tenant,
                }));
            }
            Way::Closed(reason) => return Ok(Step::Not((*reason).to_owned())),
        };
        let Some(tenant) = tenant else {
            return Ok(lacks("azureTenantId or AZURE_TENANT_ID"));
        };
        let Some(client_id) = client_id else {
            return Ok(lacks("azureClientId or AZURE_CLIENT_ID"));
        };
        let host = match self.cloud {
            Some(cloud) => cloud.authority().to_owned(),
            None => variable("AZURE_AUTHORITY_HOST")
                .unwrap_or_else(|| Cloud::Public.authority().to_owned()),
        };
        let audience = format!("{}/{tenant}/oauth2/v2.0/token", host.trim_end_matches('/'));
        Ok(Step::Ask(Question::Application {
            authority: Endpoint::new(&audience, None)
                .map_err(|error| unusable(&audience, error))?,
            audience,
            client_id,
            scope: format!("{}/.default", self.resource),
            proof,
        }))
    }

    /// App Service and its like say where to ask; a virtual machine has one address for all.
    fn of_machine(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Question<'static>, OpenError> {
        let named = variable("IDENTITY_ENDPOINT").zip(variable("IDENTITY_HEADER"));
        let find = named.is_none() && self.ways.len() > 1;
        let (url, version, header) = match named {
            Some((url, header)) => (url, "2019-08-01", ("X-IDENTITY-HEADER", header)),
            None => {
                let host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
                let host = host.unwrap_or_else(|| "http://169.254.169.254".into());
                let url = format!(
                    "{}/metadata/identity/oauth2/token",
                    host.trim_end_matches('/')
                );
                (url, "2018-02-01", ("Metadata", "true".into()))
            }
        };
        let mut query = vec![
            ("api-version", version.to_owned()),
            ("resource", self.resource.to_owned()),
        ];
        query.extend(self.client_id.clone().map(|id| ("client_id", id)));
        Ok(Question::Machine {
            endpoint: Endpoint::of_machine(&url).map_err(|error| unusable(&url, error))?,
            query,
            header,
            find,
        })
    }
}

/// A workload lacks this; the others have got all by the settings.
fn lacks(what: &str) -> Step<'static> {
    Step::Not(format!("workloadidentity needs {what}, which is not set"))
}

fn unusable(url: &str, error: EndpointError) -> OpenError {
    OpenError::invalid(format!("{url} {error}"))
}

impl Question<'_> {
    pub(super) async fn ask(&self, clock: &Clock) -> Result<Grant, OpenError> {
        match self {
            Self::Machine {
                endpoint,
                query,
                header,
                find,
            } => {
                if *find {
                    endpoint.find(clock).await?;
                }
                let query: Vec<_> = query
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                endpoint.look(&query, (header.0, &header.1), clock).await
            }
            Self::CommandLine { resource, tenant } => {
                command_line::ask(resource, tenant.as_deref(), clock).await
            }
            Self::Application {
                authority,
                audience,
                client_id,
                scope,
                proof,
            } => {
                let shown = proof.show(client_id, audience, clock).await?;
                let mut form = vec![
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("scope", scope),
                ];
                match &shown {
                    Shown::Secret(secret) => form.push(("client_secret", secret.expose())),
                    Shown::Assertion(assertion) => {
                        form.extend([CLIENT_ASSERTION, ("client_assertion", assertion)]);
                    }
                }
                authority.ask(&form, clock).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::{Conventions, Properties, decode};

    use super::*;
    use crate::settings::EntraSettings;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn entra(settings: Pairs<'_>) -> Result<Entra, String> {
        let properties: Properties = settings.iter().copied().collect();
        let settings = decode::<EntraSettings>(&properties, Conventions::Usual).unwrap();
        Entra::of(&settings, "https://db.example.com").map_err(|error| error.to_string())
    }

    /// What is asked one after the other, in words: who asks where, and with what.
    fn questions(settings: Pairs<'_>, environment: Pairs<'_>) -> Result<Vec<String>, String> {
        let entra = entra(settings)?;
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        };
        let questions = entra
            .ways
            .iter()
            .filter_map(|way| match entra.question(way, &variable) {
                Ok(Step::Ask(question)) => Some(Ok(words(&question))),
                Ok(Step::Not(_)) => None,
                Err(error) => Some(Err(error)),
            });
        let questions: Result<_, OpenError> = questions.collect();
        questions.map_err(|error| error.to_string())
    }

    fn words(question: &Question<'_>) -> String {
        match question {
            Question::Machine { query, header, .. } => format!("machine {} {query:?}", header.0),
            Question::CommandLine { tenant, .. } => format!("az {tenant:?}"),
            Question::Application {
                audience,
                client_id,
                proof,
                ..
            } => {
                let proof = match proof {
                    Proof::Secret(secret) => secret.expose().to_owned(),
                    Proof::Certificate(_) => "a certificate".to_owned(),
                    Proof::CertificateFile(file, _) => file.display().to_string(),
                    Proof::AssertionFile(file) => file.display().to_string(),
                };
                format!("{client_id} {audience} {proof}")
            }
        }
    }

    const PUBLIC: &str = "https://login.microsoftonline.com/t/oauth2/v2.0/token";
    const SECRET: [(&str, &str); 3] = [
        ("azureTenantId", "t"),
        ("azureClientId", "c"),
        ("azureClientSecret", "s"),
    ];
    const WORKLOAD: [(&str, &str); 3] = [
        ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
    ];

    fn secret() -> String {
        format!("c {PUBLIC} s")
    }

    fn workload() -> String {
        format!("c {PUBLIC} /token")
    }

    fn az(tenant: Option<&str>) -> String {
        format!("az {tenant:?}")
    }

    fn machine(client_id: Option<&str>) -> String {
        let mut query = vec![
            ("api-version", "2018-02-01"),
            ("resource", "https://db.example.com"),
        ];
        query.extend(client_id.map(|id| ("client_id", id)));
        format!("machine Metadata {query:?}")
    }

    #[test]
    fn the_ways_that_have_what_they_need_are_gone_in_their_order() {
        let file = [
            SECRET[0],
            SECRET[1],
            ("azureCertificateFile", "/certificate"),
        ];
        let in_file = format!("c {PUBLIC} /certificate");
        let (of_client, of_nobody) = (machine(Some("c")), machine(None));
        let nobodys_az = || az(None);
        let az = || az(Some("t"));
        for (settings, environment, expected) in [
            (
                &SECRET[..],
                &WORKLOAD[..],
                vec![secret(), workload(), of_client.clone(), az()],
            ),
            (
                &file,
                &WORKLOAD,
                vec![in_file, workload(), of_client.clone(), az()],
            ),
            (
                &[],
                &WORKLOAD,
                vec![workload(), of_nobody.clone(), nobodys_az()],
            ),
            (&[], &WORKLOAD[..2], vec![of_nobody, nobodys_az()]),
            (
                &SECRET[..2],
                &WORKLOAD[..1],
                vec![workload(), of_client.clone(), az()],
            ),
            (&SECRET[1..], &[], vec![of_client, nobodys_az()]),
        ] {
            let asked = questions(settings, environment).unwrap();
            assert_eq!(asked, expected, "{settings:?} {environment:?}");
        }
    }

    #[test]
    fn the_settings_say_which_ways_are_allowed_and_in_which_order() {
        let of_client = || machine(Some("c"));
        let az = || az(Some("t"));
        for (allowed, expected) in [
            ("workloadidentity, creds", &[workload(), secret()][..]),
            ("MI,clientcredentials", &[of_client(), secret()]),
            ("cert,ClientCredentials", &[secret()]),
            ("wi", &[workload()]),
            ("cli, MI", &[az(), of_client()]),
            ("CommandLineInterface", &[az()]),
            ("spiffe,mi", &[of_client()]),
            ("creds,SpiffeWorkloadIdentity", &[secret()]),
        ] {
            let settings = [&SECRET[..], &[("azureAuthMethods", allowed)]].concat();
            let asked = questions(&settings, &WORKLOAD).unwrap();
            assert_eq!(asked, expected, "{allowed}");
        }
    }

    #[test]
    fn ways_that_lead_nowhere_say_so_without_the_network() {
        const NOTHING: &str = "no suitable token provider for Azure AD; errors: ";
        let no_spiffe = "spiffeworkloadidentity needs a SPIFFE identity of the sidecar's own, and \
                         this one has none; name a file that spiffe-helper keeps fresh in \
                         AZURE_FEDERATED_TOKEN_FILE, for workloadidentity";
        let no_certificate = "clientcertificate needs azureTenantId, azureClientId, and \
                              azureCertificate or azureCertificateFile";
        for (allowed, says) in [
            (
                "none",
                "all Azure auth methods have been disabled with auth method 'None'".to_owned(),
            ),
            (
                "mi,None",
                "all Azure auth methods have been disabled with auth method 'None'".to_owned(),
            ),
            (
                "magic",
                "\"magic\" is no way to prove who one is; there are clientcredentials, \
                 clientcertificate, workloadidentity, spiffeworkloadidentity, managedidentity, \
                 commandlineinterface and none"
                    .to_owned(),
            ),
            ("cert", format!("{NOTHING}{no_certificate}")),
            ("spiffe", format!("{NOTHING}{no_spiffe}")),
            (
                "spiffe,cert",
                format!("{NOTHING}{no_spiffe}; {no_certificate}"),
            ),
        ] {
            let settings = [&SECRET[..], &[("azureAuthMethods", allowed)]].concat();
            let error = questions(&settings, &WORKLOAD).unwrap_err();
            assert_eq!(error, format!("setting \"azureAuthMethods\": {says}"));
        }
        let error = questions(&[("azureAuthMethods", "creds")], &[]).unwrap_err();
        let says = "clientcredentials needs azureTenantId, azureClientId and azureClientSecret";
        assert!(error.ends_with(&format!("{NOTHING}{says}")), "{error}");
    }

    #[test]
    fn the_azure_cli_has_to_be_named_where_azure_runs_the_app() {
        for name in CLOUD_SERVICE {
            let environment = [(name, "http://127.0.0.1:1/msi")];
            assert_eq!(questions(&[], &environment).unwrap(), [machine(None)]);
            let named = [("azureAuthMethods", "cli")];
            assert_eq!(questions(&named, &environment).unwrap(), [az(None)]);
        }
        let environment = [("MSI_ENDPOINT", "")];
        let asked = questions(&[], &environment).unwrap();
        assert_eq!(asked, [machine(None), az(None)]);
    }

    #[test]
    fn the_authority_is_that_of_the_cloud() {
        let host = [("AZURE_AUTHORITY_HOST", "https://login.example.com/")];
        for (cloud, environment, expected) in [
            ("", &[][..], "https://login.microsoftonline.com"),
            ("", &host, "https://login.example.com"),
            ("AzurePublic", &host, "https://login.microsoftonline.com"),
            ("AzureChinaCloud", &host, "https://login.chinacloudapi.cn"),
            ("azureusgovernment", &[], "https://login.microsoftonline.us"),
        ] {
            let settings = [&SECRET[..], &[("azureEnvironment", cloud)]].concat();
            let asked = questions(&settings, environment).unwrap();
            let expected = format!("c {expected}/t/oauth2/v2.0/token s");
            assert_eq!(asked[0], expected, "{cloud}");
        }
        let settings = [&SECRET[..], &[("azureEnvironment", "Moon")]].concat();
        let error = questions(&settings, &[]).unwrap_err();
        assert!(error.contains("\"Moon\" is no cloud"), "{error}");
        let nonsense = [("AZURE_AUTHORITY_HOST", "nowhere")];
        let error = questions(&SECRET, &nonsense).unwrap_err();
        assert!(
            error.contains("nowhere/t/oauth2/v2.0/token is no http"),
            "{error}"
        );
    }

    #[test]
    fn an_app_service_says_where_to_ask() {
        let environment = [
            ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi"),
            ("IDENTITY_HEADER", "h"),
        ];
        assert!(questions(&[], &environment).unwrap()[0].starts_with("machine X-IDENTITY-HEADER"));
        assert_eq!(questions(&[], &environment[..1]).unwrap(), [machine(None)]);
    }

    #[test]
    fn a_certificate_that_cannot_be_used_is_named() {
        let settings = [&SECRET[..2], &[("azureCertificate", "rubbish")]].concat();
        let error = questions(&settings, &[]).unwrap_err();
        assert!(error.contains("setting \"azureCertificate\": "), "{error}");
    }
}
