//! The ways to prove to Entra ID who one is: which are allowed, and what the settings have for
//! them.

use std::path::PathBuf;

use bindery_contract::settings::{Secret, SettingsError};

use crate::assertion::AssertionKey;
use crate::settings::EntraSettings;

/// A way, with what it needs of the settings.
#[derive(Debug)]
pub(super) enum Way {
    /// An application shows its secret.
    Secret(Secret),
    /// An application signs.
    Certificate(AssertionKey),
    /// An application signs with what is in a file, which others replace.
    CertificateFile(PathBuf),
    /// An application shows what its platform signed. The environment says where that is.
    Workload,
    /// The machine is known to Azure.
    Machine,
}

#[derive(Clone, Copy)]
enum Method {
    Secret,
    Certificate,
    Workload,
    Machine,
}

impl Way {
    /// The allowed ways in their order, without those that lack a setting.
    pub(super) fn all(settings: &EntraSettings) -> Result<Vec<Self>, SettingsError> {
        if !settings.azure_certificate_password.is_empty() {
            let problem = "is not supported: write the key without a password, as PEM";
            return Err(SettingsError::new("azureCertificatePassword", problem));
        }
        let mut ways = Vec::new();
        for method in methods(&settings.azure_auth_methods)? {
            ways.extend(Self::of(method, settings)?);
        }
        Ok(ways)
    }

    fn of(method: Method, settings: &EntraSettings) -> Result<Option<Self>, SettingsError> {
        let (secret, pem) = (&settings.azure_client_secret, &settings.azure_certificate);
        let file = &settings.azure_certificate_file;
        let is_named = !settings.azure_tenant_id.is_empty() && !settings.azure_client_id.is_empty();
        Ok(match method {
            Method::Workload => Some(Self::Workload),
            Method::Machine => Some(Self::Machine),
            Method::Certificate if !pem.is_empty() => {
                let key = AssertionKey::in_one(pem.expose())
                    .map_err(|error| SettingsError::new("azureCertificate", error))?;
                is_named.then_some(Self::Certificate(key))
            }
            Method::Certificate => {
                (is_named && !file.is_empty()).then(|| Self::CertificateFile(file.into()))
            }
            Method::Secret => {
                (is_named && !secret.is_empty()).then(|| Self::Secret(secret.clone()))
            }
        })
    }
}

fn methods(list: &str) -> Result<Vec<Method>, SettingsError> {
    const KNOWN: &str =
        "there are clientcredentials, clientcertificate, workloadidentity and managedidentity";
    let wrong = |problem: String| Err(SettingsError::new("azureAuthMethods", problem));
    let mut methods = Vec::new();
    let words = list.split(',').map(str::trim);
    for word in words.filter(|word| !word.is_empty()) {
        methods.push(match word.to_lowercase().as_str() {
            "clientcredentials" | "creds" => Method::Secret,
            "clientcertificate" | "cert" => Method::Certificate,
            "workloadidentity" | "wi" => Method::Workload,
            "managedidentity" | "mi" => Method::Machine,
            "none" => return wrong("all Azure auth methods have been disabled".into()),
            "spiffeworkloadidentity" | "spiffe" | "commandlineinterface" | "cli" => {
                return wrong(format!("{word} is not supported; {KNOWN}"));
            }
            _ => return wrong(format!("{word:?} is no way to prove who one is; {KNOWN}")),
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
