//! The file by which `kubectl` knows clusters: who is asked, and who asks, in its current context.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bindery_contract::settings::Secret;
use bindery_contract::tls::ClientTls;
use serde::Deserialize;
use serde_json::Value;

use super::super::yaml;
use super::KubernetesError;
use super::cluster::{Access, cannot, read};

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<NamedContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: Server,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Server {
    server: String,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    tls_server_name: Option<String>,
    insecure_skip_tls_verify: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    exec: Option<Value>,
    auth_provider: Option<Value>,
    username: Option<Value>,
}

/// How the cluster of the current context is asked.
///
/// # Errors
/// What is missing, or cannot be used. Never contains a value of the file.
pub(super) fn access(file: &Path) -> Result<Access, KubernetesError> {
    let fail = |reason: String| KubernetesError::File {
        path: file.to_owned(),
        reason,
    };
    let config = parse(&read(file)?).map_err(fail)?;
    let missing = |what: &str, name: &str| fail(format!("it has no {what} {name:?}"));
    let name = config.current_context.as_str();
    let context = config.contexts.into_iter().find(|one| one.name == name);
    let context = context.ok_or_else(|| missing("context", name))?.context;
    let mut clusters = config.clusters.into_iter();
    let cluster = clusters.find(|one| one.name == context.cluster);
    let cluster = cluster.ok_or_else(|| missing("cluster", &context.cluster))?;
    let server = cluster.cluster;
    let user = match context.user.as_str() {
        "" => User::default(),
        name => {
            let found = config.users.into_iter().find(|one| one.name == name);
            found.ok_or_else(|| missing("user", name))?.user
        }
    };
    if !["https://", "http://"]
        .iter()
        .any(|scheme| server.server.starts_with(scheme))
    {
        let problem = "has no server that begins with https://";
        return Err(fail(format!("the cluster {:?} {problem}", context.cluster)));
    }
    if user.exec.is_some() || user.auth_provider.is_some() || user.username.is_some() {
        return Err(fail(format!(
            "the user {:?} signs in by a program or with a password, and only a token or a client \
             certificate will do",
            context.user
        )));
    }
    let roots = text(
        file,
        server.certificate_authority.as_deref(),
        server.certificate_authority_data.as_deref(),
    )?;
    let certificate = text(
        file,
        user.client_certificate.as_deref(),
        user.client_certificate_data.as_deref(),
    )?;
    let key = text(
        file,
        user.client_key.as_deref(),
        user.client_key_data.as_deref(),
    )?;
    let tls = ClientTls {
        roots: roots.as_deref(),
        identity: certificate.as_deref().zip(key.as_deref()),
        insecure: server.insecure_skip_tls_verify,
    };
    let token = match &user.token_file {
        Some(path) => Some(Secret::new(read(&beside(file, path))?.trim())),
        None => user.token.map(Secret::new),
    };
    Ok(Access {
        server: server.server.trim_end_matches('/').to_owned(),
        tls: tls.config().map_err(|error| cannot(file, &error))?,
        server_name: server.tls_server_name,
        token,
        namespace: context.namespace,
    })
}

/// What is wrong is told without the text: there are keys in it.
fn parse(text: &str) -> Result<Kubeconfig, String> {
    let documents = yaml::documents(text);
    let document = documents.first().ok_or("it is empty")?;
    let node = yaml::parse(document).map_err(|error| format!("it is no YAML ({})", error.at))?;
    serde_json::from_value(node.to_json()).map_err(|_| {
        "it is no kubeconfig: clusters, users and contexts are lists of names and what they are"
            .into()
    })
}

/// What is written in the file itself, or in another one.
fn text(
    file: &Path,
    path: Option<&str>,
    data: Option<&str>,
) -> Result<Option<String>, KubernetesError> {
    let Some(data) = data else {
        return path.map(|path| read(&beside(file, path))).transpose();
    };
    let bytes = STANDARD.decode(data).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let unusable = || KubernetesError::File {
        path: file.to_owned(),
        reason: "a certificate or a key in it is not base64".into(),
    };
    text.map(Some).ok_or_else(unusable)
}

/// Paths in a kubeconfig begin where it is.
fn beside(file: &Path, path: &str) -> std::path::PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

#[cfg(test)]
mod tests {
    use bindery_testkit::certs::Authority;

    use super::*;

    const CONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: here
contexts:
- name: there
  context: {cluster: other, user: other}
- name: here
  context: {cluster: ours, user: me, namespace: shop}
clusters:
- name: ours
  cluster: {server: 'https://127.0.0.1:6443/k8s/', certificate-authority: ca.crt}
users:
- name: me
  user: {token: hunter2}
";

    fn load(text: &str) -> Result<Access, String> {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let signed = authority.sign("me");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        write("ca.crt", &authority.certificate());
        write("me.crt", &signed.certificate);
        write("token", "from a file\n");
        write(
            "config",
            &text.replace("<KEY>", &STANDARD.encode(signed.key)),
        );
        access(&folder.path().join("config")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_current_context_says_who_asks_whom() {
        let access = load(CONFIG).unwrap();
        assert_eq!(access.server, "https://127.0.0.1:6443/k8s");
        assert_eq!(access.token.unwrap().expose(), "hunter2");
        assert_eq!(access.namespace.as_deref(), Some("shop"));
        let by_file = CONFIG.replace("token: hunter2", "tokenFile: token");
        assert_eq!(
            load(&by_file).unwrap().token.unwrap().expose(),
            "from a file"
        );
        let certificate = "client-certificate: me.crt, client-key-data: <KEY>";
        assert!(load(&CONFIG.replace("token: hunter2", certificate)).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_named_and_nothing_of_the_file_is_shown() {
        for (old, new, says) in [
            ("current-context: here", "", "no context \"\""),
            ("name: ours", "name: other", "no cluster \"ours\""),
            ("name: me", "name: other", "no user \"me\""),
            ("https://", "ftp://", "begins with https://"),
            ("ca.crt", "none.crt", "none.crt: there is no such file"),
            ("token: hunter2", "exec: {command: hunter2}", "by a program"),
            ("token: hunter2", "username: hunter2", "by a program"),
            (
                "token: hunter2",
                "client-key-data: '*hunter2'",
                "not base64",
            ),
            ("{token: hunter2}", "hunter2", "it is no kubeconfig"),
            (
                "user: {token: hunter2}",
                "user: {token: hunter2",
                "it is no YAML",
            ),
        ] {
            assert!(CONFIG.contains(old), "{old}");
            let Err(error) = load(&CONFIG.replace(old, new)) else {
                panic!("{new} was taken");
            };
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(load("").err().unwrap().contains("it is empty"));
    }
}
