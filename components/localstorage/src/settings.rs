//! The settings of `bindings.localstorage`.

use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of `bindings.localstorage`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalStorageSettings {
    /// The folder that all files are in. Made if it is missing; a relative path counts from the
    /// working directory. Not below /proc, /sys, /boot or /var/run/secrets.
    #[schemars(extend("examples" = ["./orders"]))]
    pub root_path: String,
}
