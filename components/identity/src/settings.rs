//! What a binding has among its settings for an identity provider. It flattens these structs into
//! its own (`x-flatten`), and says in a setting of its own whether they count.

use bindery_contract::settings::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

/// Who the binding is to Microsoft Entra ID, and how it proves it: the fields that all components
/// with Entra ID have in common ([AU-AZ] of the catalogue).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EntraSettings {
    /// The tenant at Entra ID. Default for a workload identity: `AZURE_TENANT_ID`.
    #[schemars(extend("x-aliases" = ["spnTenantId", "tenantId"]))]
    pub azure_tenant_id: String,
    /// Who the binding is to Entra ID. Default for a workload identity: `AZURE_CLIENT_ID`; for a
    /// managed identity: the one of the machine.
    #[schemars(extend("x-aliases" = ["spnClientId", "clientId"]))]
    pub azure_client_id: String,
    /// The secret of `azureClientId`.
    #[schemars(extend("x-aliases" = ["spnClientSecret", "clientSecret"]))]
    pub azure_client_secret: Secret,
    /// The certificate of `azureClientId` and its RSA key: as PEM, both in one text, or PKCS#12
    /// (PFX) as base64.
    #[schemars(extend("x-aliases" = ["spnCertificate"]))]
    pub azure_certificate: Secret,
    /// A file with what `azureCertificate` would have; PFX need not be base64. Read again for each
    /// token. Where both are given, the file counts.
    #[schemars(extend("x-aliases" = ["spnCertificateFile"]))]
    pub azure_certificate_file: String,
    /// The password of the PFX, or of the key where PEM has it encrypted (PKCS#8). Default: none.
    #[schemars(extend("x-aliases" = ["spnCertificatePassword"]))]
    pub azure_certificate_password: Secret,
    /// The cloud: `AzurePublicCloud`, `AzureChinaCloud` or `AzureUSGovernmentCloud`. Default: the
    /// public cloud, or the authority that `AZURE_AUTHORITY_HOST` names.
    #[schemars(extend("x-aliases" = ["azureCloud"]))]
    pub azure_environment: String,
    /// The ways to prove who one is, separated by commas: `clientcredentials`,
    /// `clientcertificate`, `workloadidentity`, `spiffeworkloadidentity`, `managedidentity`,
    /// `commandlineinterface`, or `none`. The first of them that has what it needs is taken; where
    /// a managed identity or the Azure CLI gives no token, the next one is. Default: all, in this
    /// order, but the Azure CLI only where Azure does not run the app. It is asked as
    /// `az account get-access-token`, for at most 30 seconds. A SPIFFE identity of its own the
    /// sidecar has none: name a file that spiffe-helper keeps fresh in
    /// `AZURE_FEDERATED_TOKEN_FILE`, for `workloadidentity`.
    #[schemars(extend("x-aliases" = [
        "azureADAuthMethods",
        "entraIDAuthMethods",
        "microsoftEntraIDAuthMethods"
    ]))]
    pub azure_auth_methods: String,
}

/// Who the binding is to an identity provider that gives tokens to who can sign
/// (`private_key_jwt`, RFC 7523).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OidcSettings {
    /// Where the token is asked for, an http or https URL; needed with OIDC.
    #[schemars(extend("examples" = ["https://login.example.com/oauth2/token"]))]
    pub oidc_token_endpoint: String,
    /// Who the binding is to the identity provider; needed with OIDC.
    #[serde(rename = "oidcClientID")]
    pub oidc_client_id: String,
    /// The certificate of `oidcClientAssertionKey`, as PEM; needed with OIDC.
    pub oidc_client_assertion_cert: String,
    /// The RSA key that signs for `oidcClientID`, as PEM; needed with OIDC.
    pub oidc_client_assertion_key: Secret,
    /// The `resource` that the token shall be for. Default: none is asked for.
    pub oidc_resource: String,
    /// The `audience` of the token, and of what is signed. Default: none, and
    /// `oidcTokenEndpoint`.
    pub oidc_audience: String,
    /// The scopes of the token, separated by commas. Default `openid`, which any client has:
    /// better name one that only this component has.
    pub oidc_scopes: String,
    /// The `kid` by which the identity provider finds the certificate. Default: none is sent.
    pub oidc_kid: String,
    /// The authority that vouches for `oidcTokenEndpoint`, as PEM. Default: those that the
    /// system trusts.
    #[serde(rename = "oidcCACert")]
    pub oidc_ca_cert: String,
}

/// Who the binding is to AWS: the fields that all components with AWS have in common ([AU-AWS] of
/// the catalogue), and those that some had before.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsSettings {
    /// The AWS region, e.g. `eu-west-1`. A role is assumed there, too.
    #[schemars(extend("x-aliases" = ["awsRegion"]))]
    pub region: String,
    /// The access key of an AWS identity; goes with `secretKey`. Without both, the keys are those
    /// that the process finds, and the first of these that is there decides: the environment
    /// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`), a web identity such as
    /// that of a pod (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`), the profile that
    /// `AWS_PROFILE` names in `~/.aws/credentials` and `~/.aws/config` (keys, a role with its
    /// source, a web identity, the sign-on of `aws sso login`, or a `credential_process`), the
    /// container (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`, as ECS and EKS set them), and the role of the
    /// instance.
    #[schemars(extend("x-aliases" = ["awsAccessKey"]))]
    pub access_key: String,
    /// The secret that belongs to `accessKey`.
    #[schemars(extend("x-aliases" = ["awsSecretKey"]))]
    pub secret_key: Secret,
    /// The session token, if `accessKey` is a temporary one.
    #[schemars(extend("x-aliases" = ["awsSessionToken"]))]
    pub session_token: Secret,
    /// The role to assume with those keys, by its ARN. The role is asked for at the STS of
    /// `region`, or at `AWS_ENDPOINT_URL_STS`. Default: none.
    #[schemars(extend(
        "x-aliases" = ["awsIamRoleArn"],
        "examples" = ["arn:aws:iam::123456789012:role/orders"]
    ))]
    pub assume_role_arn: String,
    /// The name of the sessions with that role, 2 to 64 letters, digits and `_+=,.@-`. Default
    /// `DaprDefaultSession`.
    #[schemars(extend("x-aliases" = ["awsStsSessionName"]))]
    pub session_name: String,
    /// Not supported: IAM Roles Anywhere needs a certificate of SPIFFE, which this runtime does
    /// not have. AWS' signing helper does it, as the `credential_process` of a profile.
    pub trust_anchor_arn: String,
    /// Not supported, as `trustAnchorArn`.
    pub trust_profile_arn: String,
}
