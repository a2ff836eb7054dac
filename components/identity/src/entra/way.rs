//! The ways to prove to Entra ID who one is: which are allowed, and what the settings have for
//! them.

use std::path::PathBuf;

use bindery_contract::settings::{Secret, SettingsError};

use super::certificate::{self, CertificateError};
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
    CertificateFile { file: PathBuf, password: Secret },
    /// An application shows what its platform signed. The environment says where that is.
    Workload,
    /// The machine is known to Azure.
    Machine,
    /// Somebody has signed in to the Azure CLI on this machine.
    CommandLine { is_named: bool },
    /// It leads nowhere, for this reason.
    Closed(&'static str),
}

#[derive(Clone, Copy)]
enum Method {
    Secret,
    Certificate,
    Workload,
    Spiffe,
    Machine,
    CommandLine { is_named: bool },
}

/// The ways that are tried where the settings name none.
const DEFAULT: [Method; 6] = [
    Method::Secret,
    Method::Certificate,
    Method::Workload,
    Method::Spiffe,
    Method::Machine,
    Method::CommandLine { is_named: false },
];

const NO_SECRET: &str =
    "clientcredentials needs azureTenantId, azureClientId and azureClientSecret";
const NO_CERTIFICATE: &str = "clientcertificate needs azureTenantId, azureClientId, and \
                              azureCertificate or azureCertificateFile";
const NO_SPIFFE: &str = "spiffeworkloadidentity needs a SPIFFE identity of the sidecar's own, and \
                         this one has none; name a file that spiffe-helper keeps fresh in \
                         AZURE_FEDERATED_TOKEN_FILE, for workloadidentity";

impl Way {
    /// The allowed ways in their order.
    pub(super) fn all(settings: &EntraSettings) -> Result<Vec<Self>, SettingsError> {
        let methods = methods(&settings.azure_auth_methods)?;
        let ways = methods.into_iter().map(|method| Self::of(method, settings));
        ways.collect()
    }

    /// Whether the next way is gone where this one leads to no token: that it is there at all is
    /// seen only when it does.
    pub(super) const fn passes_on(&self) -> bool {
        matches!(self, Self::Machine | Self::CommandLine { .. })
    }

    fn of(method: Method, settings: &EntraSettings) -> Result<Self, SettingsError> {
        let (secret, certificate) = (&settings.azure_client_secret, &settings.azure_certificate);
        let file = &settings.azure_certificate_file;
        let password = &settings.azure_certificate_password;
        let is_named = !settings.azure_tenant_id.is_empty() && !settings.azure_client_id.is_empty();
        Ok(match method {
            Method::Workload => Self::Workload,
            Method::Spiffe => Self::Closed(NO_SPIFFE),
            Method::Machine => Self::Machine,
            Method::CommandLine { is_named } => Self::CommandLine { is_named },
            Method::Secret if is_named && !secret.is_empty() => Self::Secret(secret.clone()),
            Method::Secret => Self::Closed(NO_SECRET),
            Method::Certificate if is_named && !file.is_empty() => Self::CertificateFile {
                file: file.into(),
                password: password.clone(),
            },
            Method::Certificate if !certificate.is_empty() => {
                let key = certificate::read(certificate.expose().as_bytes(), password)
                    .map_err(CertificateError::of_setting)?;
                if is_named {
                    Self::Certificate(key)
                } else {
                    Self::Closed(NO_CERTIFICATE)
                }
            }
            Method::Certificate => Self::Closed(NO_CERTIFICATE),
        })
    }
}

fn methods(list: &str) -> Result<Vec<Method>, SettingsError> {
    const KNOWN: &str = "there are clientcredentials, clientcertificate, workloadidentity, \
                         spiffeworkloadidentity, managedidentity, commandlineinterface and none";
    let wrong = |problem: String| Err(SettingsError::new("azureAuthMethods", problem));
    let mut methods = Vec::new();
    let words = list.split(',').map(str::trim);
    for word in words.filter(|word| !word.is_empty()) {
        methods.push(match word.to_lowercase().as_str() {
            "clientcredentials" | "creds" => Method::Secret,
            "clientcertificate" | "cert" => Method::Certificate,
            "workloadidentity" | "wi" => Method::Workload,
            "spiffeworkloadidentity" | "spiffe" => Method::Spiffe,
            "managedidentity" | "mi" => Method::Machine,
            "commandlineinterface" | "cli" => Method::CommandLine { is_named: true },
            "none" => {
                let problem = "all Azure auth methods have been disabled with auth method 'None'";
                return wrong(problem.into());
            }
            _ => return wrong(format!("{word:?} is no way to prove who one is; {KNOWN}")),
        });
    }
    if methods.is_empty() {
        methods = DEFAULT.into();
    }
    Ok(methods)
}
