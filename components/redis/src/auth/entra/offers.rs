//! Which way to prove who one is the settings and the environment offer.

use bindery_contract::settings::SettingsError;

use super::{Entra, Proof, RESOURCE, certificate};
use crate::auth::endpoint::Endpoint;
use crate::settings::RedisSettings;

impl Entra {
    /// The first way that is allowed and has what it needs.
    pub(in crate::auth) fn of(settings: &RedisSettings) -> Result<Self, SettingsError> {
        Self::in_environment(settings, &|name| std::env::var(name).ok())
    }

    fn in_environment(
        settings: &RedisSettings,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        for (key, is_set) in [
            ("redisUsername", !settings.redis_username.is_empty()),
            ("redisPassword", !settings.redis_password.is_empty()),
        ] {
            if is_set {
                let problem = "cannot be used with useEntraID: the token gives user and password";
                return Err(SettingsError::new(key, problem));
            }
        }
        if !settings.azure_certificate_password.is_empty() {
            let problem = "is not supported: write the key without a password, as PEM";
            return Err(SettingsError::new("azureCertificatePassword", problem));
        }
        let offers = Offers {
            settings,
            environment,
        };
        for method in methods(&settings.azure_auth_methods)? {
            if let Some(entra) = offers.of(method)? {
                return Ok(entra);
            }
        }
        let problem = "no suitable token provider for Azure AD: what is listed lacks what it \
                       needs, such as azureTenantId and azureClientId";
        Err(SettingsError::new("azureAuthMethods", problem))
    }
}

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Secret,
    Certificate,
    Workload,
    Machine,
}

fn methods(list: &str) -> Result<Vec<Method>, SettingsError> {
    let wrong = |problem: String| Err(SettingsError::new("azureAuthMethods", problem));
    let mut methods = Vec::new();
    for word in list
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        methods.push(match word.to_lowercase().as_str() {
            "clientcredentials" | "creds" => Method::Secret,
            "clientcertificate" | "cert" => Method::Certificate,
            "workloadidentity" | "wi" => Method::Workload,
            "managedidentity" | "mi" => Method::Machine,
            "none" => return wrong("all Azure auth methods have been disabled".into()),
            "spiffeworkloadidentity" | "spiffe" | "commandlineinterface" | "cli" => {
                return wrong(format!("{word} is not supported; {WAYS}"));
            }
            _ => return wrong(format!("{word:?} is no way to prove who one is; {WAYS}")),
        });
    }
    if methods.is_empty() {
        methods = vec![
            Method::Secret,
            Method::Certificate,
            Method::Workload,
            Method::Machine,
        ];
    }
    Ok(methods)
}

const WAYS: &str =
    "there are clientcredentials, clientcertificate, workloadidentity and managedidentity";

/// What there is.
struct Offers<'a> {
    settings: &'a RedisSettings,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Offers<'_> {
    /// `None` when the method lacks what it needs.
    fn of(&self, method: Method) -> Result<Option<Entra>, SettingsError> {
        if method == Method::Machine {
            return self.machine().map(Some);
        }
        let or = |setting: &str, variable| match setting {
            "" if method == Method::Workload => self.variable(variable),
            "" => None,
            setting => Some(setting.to_owned()),
        };
        let tenant = or(&self.settings.azure_tenant_id, "AZURE_TENANT_ID");
        let client_id = or(&self.settings.azure_client_id, "AZURE_CLIENT_ID");
        let (Some(tenant), Some(client_id), Some(proof)) = (tenant, client_id, self.proof(method)?)
        else {
            return Ok(None);
        };
        let audience = format!("{}/{tenant}/oauth2/v2.0/token", self.authority()?);
        let authority = Endpoint::new(&audience, None)
            .map_err(|error| SettingsError::new("azureTenantId", error))?;
        Ok(Some(Entra::Application {
            authority,
            audience,
            client_id,
            proof,
        }))
    }

    fn proof(&self, method: Method) -> Result<Option<Proof>, SettingsError> {
        let settings = self.settings;
        let (secret, pem) = (&settings.azure_client_secret, &settings.azure_certificate);
        let file = &settings.azure_certificate_file;
        Ok(match method {
            Method::Secret => (!secret.is_empty()).then(|| Proof::Secret(secret.clone())),
            Method::Certificate if !pem.is_empty() => {
                let key = certificate(pem.expose())
                    .map_err(|error| SettingsError::new("azureCertificate", error))?;
                Some(Proof::Certificate(key))
            }
            Method::Certificate => (!file.is_empty()).then(|| Proof::CertificateFile(file.into())),
            Method::Workload => self
                .variable("AZURE_FEDERATED_TOKEN_FILE")
                .map(|file| Proof::AssertionFile(file.into())),
            Method::Machine => None,
        })
    }

    fn authority(&self) -> Result<String, SettingsError> {
        let known = match self.settings.azure_environment.to_lowercase().as_str() {
            "" => {
                return Ok(match self.variable("AZURE_AUTHORITY_HOST") {
                    Some(host) => host.trim_end_matches('/').to_owned(),
                    None => "https://login.microsoftonline.com".to_owned(),
                });
            }
            "azurepubliccloud" | "azurepublic" | "azurecloud" => {
                "https://login.microsoftonline.com"
            }
            "azurechinacloud" | "azurechina" => "https://login.chinacloudapi.cn",
            "azureusgovernmentcloud" | "azureusgovernment" => "https://login.microsoftonline.us",
            other => {
                let problem = format!(
                    "{other:?} is no cloud: write AzurePublicCloud, AzureChinaCloud or \
                     AzureUSGovernmentCloud"
                );
                return Err(SettingsError::new("azureEnvironment", problem));
            }
        };
        Ok(known.to_owned())
    }

    /// App Service and its like say where to ask; a virtual machine has one address for all.
    fn machine(&self) -> Result<Entra, SettingsError> {
        let named = self
            .variable("IDENTITY_ENDPOINT")
            .zip(self.variable("IDENTITY_HEADER"));
        let (url, version, header) = match named {
            Some((url, header)) => (url, "2019-08-01", ("X-IDENTITY-HEADER", header)),
            None => {
                let host = self.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
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
            ("resource", RESOURCE.to_owned()),
        ];
        if !self.settings.azure_client_id.is_empty() {
            query.push(("client_id", self.settings.azure_client_id.clone()));
        }
        let endpoint = Endpoint::of_machine(&url).map_err(SettingsError::general)?;
        Ok(Entra::Machine {
            endpoint,
            query,
            header,
        })
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::{Conventions, Properties, decode};

    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn chosen(settings: Pairs<'_>, environment: Pairs<'_>) -> Result<Entra, String> {
        let mut properties: Properties = settings.iter().copied().collect();
        properties.set("redisHost", "h");
        let settings = decode::<RedisSettings>(&properties, Conventions::Strict).unwrap();
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        };
        Entra::in_environment(&settings, &variable).map_err(|error| error.to_string())
    }

    fn name(entra: &Entra) -> &'static str {
        match entra {
            Entra::Machine { .. } => "machine",
            Entra::Application { proof, .. } => match proof {
                Proof::Secret(_) => "secret",
                Proof::Certificate(_) | Proof::CertificateFile(_) => "certificate",
                Proof::AssertionFile(_) => "workload",
            },
        }
    }

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

    #[test]
    fn the_first_way_that_has_what_it_needs_is_taken() {
        let file = [
            SECRET[0],
            SECRET[1],
            ("azureCertificateFile", "/certificate"),
        ];
        for (settings, environment, expected) in [
            (&SECRET[..], &WORKLOAD[..], "secret"),
            (&file, &WORKLOAD, "certificate"),
            (&[], &WORKLOAD, "workload"),
            (&[], &WORKLOAD[..2], "machine"),
            (&SECRET[..2], &[], "machine"),
            (&SECRET[1..], &[], "machine"),
        ] {
            let chosen = chosen(settings, environment).unwrap();
            assert_eq!(name(&chosen), expected, "{settings:?} {environment:?}");
        }
    }

    #[test]
    fn the_settings_say_what_is_allowed() {
        for (allowed, expected) in [
            ("workloadidentity, creds", "workload"),
            ("MI,clientcredentials", "machine"),
            ("cert,ClientCredentials", "secret"),
        ] {
            let settings = [&SECRET[..], &[("azureAuthMethods", allowed)]].concat();
            assert_eq!(
                name(&chosen(&settings, &WORKLOAD).unwrap()),
                expected,
                "{allowed}"
            );
        }
        for (allowed, says) in [
            ("none", "all Azure auth methods have been disabled"),
            ("cli", "cli is not supported"),
            ("spiffe,mi", "spiffe is not supported"),
            ("magic", "\"magic\" is no way to prove who one is"),
            ("cert", "no suitable token provider for Azure AD"),
        ] {
            let settings = [&SECRET[..], &[("azureAuthMethods", allowed)]].concat();
            let error = chosen(&settings, &WORKLOAD).err().expect("an error");
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_authority_is_that_of_the_cloud() {
        let host = [("AZURE_AUTHORITY_HOST", "https://login.example.com/")];
        for (cloud, environment, expected) in [
            (
                "",
                &[][..],
                "https://login.microsoftonline.com/t/oauth2/v2.0/token",
            ),
            ("", &host, "https://login.example.com/t/oauth2/v2.0/token"),
            (
                "AzureChinaCloud",
                &host,
                "https://login.chinacloudapi.cn/t/oauth2/v2.0/token",
            ),
            (
                "azureusgovernment",
                &[],
                "https://login.microsoftonline.us/t/oauth2/v2.0/token",
            ),
        ] {
            let settings = [&SECRET[..], &[("azureEnvironment", cloud)]].concat();
            let Entra::Application { audience, .. } = chosen(&settings, environment).unwrap()
            else {
                panic!("an application has a secret");
            };
            assert_eq!(audience, expected, "{cloud}");
        }
        let settings = [&SECRET[..], &[("azureEnvironment", "Moon")]].concat();
        let error = chosen(&settings, &[]).err().expect("an error");
        assert!(error.contains("\"moon\" is no cloud"), "{error}");
    }

    #[test]
    fn what_does_not_go_together_is_invalid() {
        for (key, value) in [
            ("redisUsername", "u"),
            ("redisPassword", "p"),
            ("azureCertificatePassword", "p"),
            ("azureCertificate", "rubbish"),
        ] {
            let settings = [&SECRET[..2], &[(key, value)]].concat();
            let error = chosen(&settings, &[]).err().expect("an error");
            assert!(error.contains(&format!("setting \"{key}\": ")), "{error}");
        }
    }
}
