//! The clouds of Azure: each has an Entra ID of its own.

use bindery_contract::settings::SettingsError;

use crate::settings::EntraSettings;

/// A cloud of Azure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// Open to everybody.
    #[default]
    Public,
    /// In China.
    China,
    /// For the government of the United States.
    UsGovernment,
}

impl Cloud {
    /// Where tokens are asked for.
    pub(super) const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::UsGovernment => "https://login.microsoftonline.us",
        }
    }
}

impl EntraSettings {
    /// The cloud, where the settings name one.
    ///
    /// # Errors
    /// When there is no such cloud.
    pub fn cloud(&self) -> Result<Option<Cloud>, SettingsError> {
        Ok(Some(match self.azure_environment.to_lowercase().as_str() {
            "" => return Ok(None),
            "azurepubliccloud" | "azurepublic" | "azurecloud" => Cloud::Public,
            "azurechinacloud" | "azurechina" => Cloud::China,
            "azureusgovernmentcloud" | "azureusgovernment" => Cloud::UsGovernment,
            _ => {
                let problem = format!(
                    "{:?} is no cloud: write AzurePublicCloud, AzureChinaCloud or \
                     AzureUSGovernmentCloud",
                    self.azure_environment
                );
                return Err(SettingsError::new("azureEnvironment", problem));
            }
        }))
    }
}
