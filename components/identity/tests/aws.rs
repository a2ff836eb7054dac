//! Where the keys of an AWS identity come from: what is asked, of whom, and what a failure means.
//! Each test has an environment of its own, which is given and not set.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::settings::{Conventions, Properties, decode};
use bindery_contract::{Clock, Host, OpenContext, OpenError};
use bindery_identity::{AccessKeys, Aws, AwsSettings, Environment, Provider, Token, Tokens};
use bindery_testkit::context::parts;
use bindery_testkit::identity::{Identity, Reply};
use bindery_testkit::ports;
use reqsign_core::time::Timestamp;

const ROLE: &str = "arn:aws:iam::123456789012:role/orders";
const STS: &str = "AWS_ENDPOINT_URL_STS";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const CONTAINER: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const INSTANCE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const SECRET: &str = "hunter2hunter2";

const OWN: [(&str, &str); 2] = [("accessKey", "AKIASETTINGS0000"), ("secretKey", SECRET)];

fn aws(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Aws {
    let mut properties: Properties = settings.iter().copied().collect();
    properties.set("region", "eu-west-1");
    let settings = decode::<AwsSettings>(&properties, Conventions::Usual).unwrap();
    let aws = Aws::of(&settings).unwrap();
    aws.within(Environment::of(environment.iter().copied()))
}

async fn ask(
    settings: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> Result<Token<AccessKeys>, OpenError> {
    aws(settings, environment).fetch(&Clock::system()).await
}

async fn id(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> String {
    ask(settings, environment).await.unwrap().pass.id
}

async fn always(reply: Reply) -> Identity {
    Identity::start(None, move |_| reply.clone()).await
}

fn after(seconds: u64) -> String {
    (Timestamp::now() + Duration::from_secs(seconds)).format_rfc3339_zulu()
}

/// An answer of STS.
fn of_sts(action: &str, id: &str, seconds: u64) -> Reply {
    let end = after(seconds);
    let body = format!(
        "<{action}Response><{action}Result><Credentials><AccessKeyId>{id}</AccessKeyId>\
         <SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>token-of-{id}</SessionToken>\
         <Expiration>{end}</Expiration></Credentials></{action}Result></{action}Response>"
    );
    (200, body)
}

/// An answer of a container or an instance.
fn of_host(id: &str, seconds: u64) -> Reply {
    let body = serde_json::json!({
        "Code": "Success",
        "AccessKeyId": id,
        "SecretAccessKey": SECRET,
        "Token": format!("token-of-{id}"),
        "Expiration": after(seconds),
    });
    (200, body.to_string())
}

/// An instance of EC2 with a role.
async fn instance(id: &'static str) -> Identity {
    let answer = move |number: usize| match number % 3 {
        1 => (200, "of-the-session".into()),
        2 => (200, "role-of-the-instance".into()),
        _ => of_host(id, 3600),
    };
    Identity::start(None, answer).await
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn the_first_source_that_is_there_decides() {
    let home = tempfile::tempdir().unwrap();
    let token = write(home.path(), "token", "signed by the platform\n");
    let profile = "[default]\naws_access_key_id=PROFILE\naws_secret_access_key=s\n";
    write(home.path(), ".aws/credentials", profile);
    let sts = always(of_sts("AssumeRoleWithWebIdentity", "WEB", 3600)).await;
    let container = always(of_host("CONTAINER", 3600)).await;
    let instance = instance("INSTANCE").await;
    let (home, sts_url) = (home.path().to_str().unwrap(), sts.url());
    let (container_url, instance_url) = (container.url(), instance.url());
    let environment = [
        ("AWS_ACCESS_KEY_ID", "ENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        (STS, &sts_url),
        (TOKEN_FILE, &token),
        ("AWS_ROLE_ARN", ROLE),
        ("HOME", home),
        (CONTAINER, &container_url),
        (INSTANCE, &instance_url),
    ];
    assert_eq!(id(&OWN, &environment).await, "AKIASETTINGS0000");
    // What is gone, and what is the first source then.
    let mut left = environment.to_vec();
    for (gone, first) in [
        ("nothing", "ENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "WEB"),
        (TOKEN_FILE, "PROFILE"),
        ("HOME", "CONTAINER"),
        (CONTAINER, "INSTANCE"),
    ] {
        left.retain(|(name, _)| *name != gone);
        assert_eq!(id(&[], &left).await, first, "{gone}");
    }
    let asked = [&sts, &container, &instance].map(|it| it.questions().len());
    assert_eq!(asked, [1, 1, 3], "nobody is asked without need");

    left.extend([("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")]);
    assert_eq!(
        id(&[], &left).await,
        "INSTANCE",
        "an empty variable is none"
    );
}

#[tokio::test]
async fn a_role_is_assumed_with_the_keys_of_the_settings() {
    let sts = always(of_sts("AssumeRole", "ASIAROLE00000000", 900)).await;
    let url = sts.url();
    let settings = [
        &OWN[..],
        &[("sessionToken", "of+me"), ("assumeRoleArn", ROLE)],
    ]
    .concat();
    let token = ask(&settings, &[(STS, &url)]).await.unwrap();
    assert_eq!(token.pass.id, "ASIAROLE00000000");
    assert_eq!(token.pass.secret.expose(), SECRET);
    let session = token.pass.session.unwrap();
    assert_eq!(session.expose(), "token-of-ASIAROLE00000000");
    let minutes = Duration::from_secs(840)..=Duration::from_secs(900);
    assert!(minutes.contains(&token.lifetime), "{:?}", token.lifetime);

    let head = sts.questions()[0].head.clone();
    for part in [
        "GET /?Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Forders&",
        "&RoleSessionName=DaprDefaultSession&",
        "authorization: AWS4-HMAC-SHA256 Credential=AKIASETTINGS0000/",
        "/eu-west-1/sts/aws4_request, SignedHeaders=",
        "x-amz-security-token: of+me",
        &format!("host: {}", url.trim_start_matches("http://")),
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert!(!head.contains(SECRET), "{head}");

    let named = [&settings[..], &[("sessionName", "bindery@here")]].concat();
    ask(&named, &[(STS, &url)]).await.unwrap();
    let head = sts.questions()[1].head.clone();
    assert!(head.contains("&RoleSessionName=bindery%40here&"), "{head}");
}

#[tokio::test]
async fn a_role_is_assumed_with_the_keys_that_the_process_finds() {
    let sts = always(of_sts("AssumeRole", "ASIAROLE00000000", 900)).await;
    let container = always(of_host("ASIACONTAINER", 3600)).await;
    let environment = [(STS, &*sts.url()), (CONTAINER, &*container.url())];
    let given = id(&[("assumeRoleArn", ROLE)], &environment).await;
    assert_eq!(given, "ASIAROLE00000000");
    let head = sts.questions()[0].head.clone();
    for part in [
        "Credential=ASIACONTAINER/",
        "x-amz-security-token: token-of-ASIACONTAINER",
    ] {
        assert!(head.contains(part), "{head}");
    }
}

#[tokio::test]
async fn a_web_identity_shows_what_its_platform_signed_last() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "token", "first&signed\n");
    let sts = always(of_sts("AssumeRoleWithWebIdentity", "ASIAWEB", 3600)).await;
    let url = sts.url();
    let environment = [(STS, &*url), (TOKEN_FILE, &file), ("AWS_ROLE_ARN", ROLE)];
    assert_eq!(id(&[], &environment).await, "ASIAWEB");
    write(folder.path(), "token", "second");
    let named = [&environment[..], &[("AWS_ROLE_SESSION_NAME", "pod")]].concat();
    assert_eq!(id(&[], &named).await, "ASIAWEB");

    let questions = sts.questions();
    for (question, token, session) in [
        (&questions[0], "first&signed", "DaprDefaultSession"),
        (&questions[1], "second", "pod"),
    ] {
        for (name, value) in [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("RoleArn", ROLE),
            ("RoleSessionName", session),
            ("WebIdentityToken", token),
        ] {
            assert_eq!(question.get(name), Some(value), "{name}");
        }
        let head = question.head.to_lowercase();
        assert!(!head.contains("authorization"), "{head}");
    }
}

#[tokio::test]
async fn a_container_shows_the_token_that_its_platform_wrote_last() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "token", "first\n");
    let container = always(of_host("ASIACONTAINER", 3600)).await;
    let url = format!("{}/v1/credentials", container.url());
    let by_file = [
        (CONTAINER, &*url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of no use"),
    ];
    assert_eq!(id(&[], &by_file).await, "ASIACONTAINER");
    write(folder.path(), "token", "second");
    assert_eq!(id(&[], &by_file).await, "ASIACONTAINER");
    let by_variable = [by_file[0], ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "third")];
    assert_eq!(id(&[], &by_variable).await, "ASIACONTAINER");
    for (question, token) in container
        .questions()
        .iter()
        .zip(["first", "second", "third"])
    {
        assert!(question.head.starts_with("GET /v1/credentials "));
        let header = format!("authorization: {token}\r\n");
        assert!(question.head.contains(&header), "{question:?}");
    }
}

#[tokio::test]
async fn an_instance_is_asked_within_a_session() {
    let instance = instance("ASIAINSTANCE").await;
    let url = format!("{}/", instance.url());
    assert_eq!(id(&[], &[(INSTANCE, &url)]).await, "ASIAINSTANCE");
    let heads: Vec<_> = instance.questions().into_iter().map(|it| it.head).collect();
    let roles = "/latest/meta-data/iam/security-credentials/";
    for (head, line, header) in [
        (
            &heads[0],
            "PUT /latest/api/token ".to_owned(),
            "x-aws-ec2-metadata-token-ttl-seconds: ",
        ),
        (
            &heads[1],
            format!("GET {roles} "),
            "x-aws-ec2-metadata-token: of-the-session\r\n",
        ),
        (
            &heads[2],
            format!("GET {roles}role-of-the-instance "),
            "x-aws-ec2-metadata-token: of-the-session\r\n",
        ),
    ] {
        assert!(head.starts_with(&line) && head.contains(header), "{head}");
    }
}

#[tokio::test]
async fn a_profile_is_a_role_with_the_keys_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = "[base]\naws_access_key_id=AKIABASE\naws_secret_access_key=s\n";
    let config = format!(
        "[profile orders]\nrole_arn={ROLE}\nsource_profile=base\nrole_session_name=laptop\n"
    );
    let credentials = write(folder.path(), "c", credentials);
    let config = write(folder.path(), "d", &config);
    let sts = always(of_sts("AssumeRole", "ASIAROLE00000000", 900)).await;
    let url = sts.url();
    let environment = [
        (STS, &*url),
        ("AWS_SHARED_CREDENTIALS_FILE", &credentials),
        ("AWS_CONFIG_FILE", &config),
        ("AWS_PROFILE", "orders"),
    ];
    assert_eq!(id(&[], &environment).await, "ASIAROLE00000000");
    let head = sts.questions()[0].head.clone();
    for part in ["Credential=AKIABASE/", "&RoleSessionName=laptop&"] {
        assert!(head.contains(part), "{head}");
    }
}

#[tokio::test]
async fn a_profile_is_the_sign_on_of_a_person() {
    let home = tempfile::tempdir().unwrap();
    let config = "[profile me]\nsso_session=us\nsso_account_id=1\nsso_role_name=admin\n\
                  [sso-session us]\nsso_region=eu-west-1\nsso_start_url=https://x\n";
    write(home.path(), ".aws/config", config);
    let end = Timestamp::now() + Duration::from_secs(3600);
    let body = serde_json::json!({ "roleCredentials": {
        "accessKeyId": "ASIAPERSON",
        "secretAccessKey": SECRET,
        "sessionToken": "t",
        "expiration": end.as_second() * 1000,
    }});
    let portal = always((200, body.to_string())).await;
    let url = portal.url();
    let environment = [
        ("HOME", home.path().to_str().unwrap()),
        ("AWS_PROFILE", "me"),
        ("AWS_SSO_ENDPOINT", &url),
    ];
    let error = ask(&[], &environment).await.unwrap_err();
    assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
    let says = "the AWS profile \"me\": No valid SSO token found. Please run 'aws sso login' first";
    assert_eq!(error.to_string(), says);

    // It is found by the SHA-1 of the session's name.
    let cache = ".aws/sso/cache/da2b128800d4e129def769b7ec5decc00517fa8b.json";
    let token = serde_json::json!({ "accessToken": "of-me", "expiresAt": after(3600) });
    write(home.path(), cache, &token.to_string());
    assert_eq!(id(&[], &environment).await, "ASIAPERSON");
    let head = portal.questions()[0].head.clone();
    assert!(
        head.starts_with("GET /?role_name=admin&account_id=1 "),
        "{head}"
    );
    assert!(head.contains("x-amz-sso_bearer_token: of-me\r\n"), "{head}");
}

#[tokio::test]
async fn a_profile_is_what_a_program_prints() {
    let folder = tempfile::tempdir().unwrap();
    let keys = serde_json::json!({
        "Version": 1,
        "AccessKeyId": "ASIAPROGRAM",
        "SecretAccessKey": SECRET,
        "SessionToken": "t",
        "Expiration": after(900),
    });
    let printed = write(folder.path(), "two words", &keys.to_string());
    let old = write(
        folder.path(),
        "old",
        &keys.to_string().replace(":1,", ":2,"),
    );
    let cut = write(folder.path(), "cut", &keys.to_string()[..60]);
    let profiles = [
        ("good", format!("cat '{printed}'")),
        ("old", format!("cat {old}")),
        ("cut", format!("cat {cut}")),
        ("angry", "echo signed out >&2; exit 3".into()),
        ("gone", "/no/such/program".into()),
    ];
    let config = profiles
        .map(|(name, program)| format!("[profile {name}]\ncredential_process = {program}\n"));
    let config = write(folder.path(), "config", &config.concat());
    let of = async |profile| {
        let environment = [
            ("PATH", "/usr/bin:/bin"),
            ("AWS_CONFIG_FILE", &*config),
            ("AWS_PROFILE", profile),
        ];
        ask(&[], &environment).await
    };
    let token = of("good").await.unwrap();
    assert_eq!(token.pass.id, "ASIAPROGRAM");
    assert!(token.lifetime <= Duration::from_secs(900), "{token:?}");
    for (profile, says) in [
        ("old", "it printed version 2, not 1"),
        ("cut", "what it printed cannot be read (Eof)"),
        ("angry", "signed out"),
        ("gone", "/no/such/program"),
    ] {
        let error = of(profile).await.unwrap_err();
        assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
        let error = error.to_string();
        let begins =
            format!("the AWS profile \"{profile}\": no keys from its credential_process: ");
        assert!(
            error.starts_with(&begins) && error.contains(says),
            "{error}"
        );
        assert!(!error.contains(SECRET), "{error}");
    }
}

struct Deaf;

impl Host for Deaf {
    fn degraded(&self, _: bindery_contract::Cause) {}
    fn recovered(&self) {}
    fn disconnected(&self, _: bindery_contract::Cause) {}
    fn crashed(&self, _: String) {}
}

fn tokens(aws: Aws) -> Tokens<Aws> {
    Tokens::new(aws, &OpenContext::new(parts(Arc::new(Deaf))))
}

#[tokio::test]
async fn keys_are_fetched_once_and_anew_when_they_end() {
    let seconds = |number| if number == 1 { 2 } else { 3600 };
    let names = ["", "ASIAFIRST", "ASIASECOND", "ASIATHIRD"];
    let container = Identity::start(None, move |number| of_host(names[number], seconds(number)));
    let container = container.await;
    let tokens = tokens(aws(&[], &[(CONTAINER, &container.url())]));
    let (one, two) = tokio::join!(tokens.now(), tokens.now());
    assert_eq!([one.unwrap().id, two.unwrap().id], ["ASIAFIRST"; 2]);
    assert_eq!(container.questions().len(), 1);
    Clock::system().sleep(Duration::from_secs(2)).await;
    for _ in 0..2 {
        assert_eq!(tokens.now().await.unwrap().id, "ASIASECOND");
    }
    assert_eq!(container.questions().len(), 2);
}

#[tokio::test]
async fn keys_of_the_settings_need_nothing_and_have_no_end() {
    let unusable = [(STS, "no URL"), (TOKEN_FILE, "/no/such/file")];
    let token = ask(&OWN, &unusable).await.unwrap();
    assert_eq!(token.lifetime, Duration::MAX);
    assert!(token.pass.session.is_none());
    assert!(!format!("{token:?}").contains(SECRET));
}

#[tokio::test]
async fn how_long_keys_are_valid_is_seen_by_our_clock() {
    let container = always(of_host("ASIACONTAINER", 3600)).await;
    let url = container.url();
    let aws = aws(&[], &[(CONTAINER, &url)]);
    let clock = Clock::paused(Clock::system().wall() - Duration::from_secs(3600));
    let token = aws.fetch(&clock).await.unwrap();
    assert!(
        token.lifetime > Duration::from_secs(7100),
        "{:?}",
        token.lifetime
    );
}

/// What leads to a failure, and what is said of it.
struct Case<'a> {
    /// The variable that says who is asked.
    asked: &'a str,
    settings: &'a [(&'a str, &'a str)],
    environment: &'a [(&'a str, &'a str)],
    /// Without one, nobody is there.
    answer: Option<(u16, &'a str)>,
    class: &'a str,
    says: &'a str,
}

async fn fails_as_it_should(case: &Case<'_>) {
    let server = match case.answer {
        Some((status, body)) => Some(always((status, body.into())).await),
        None => None,
    };
    let nobody = || format!("http://127.0.0.1:{}", ports::free());
    let url = server.as_ref().map_or_else(nobody, Identity::url);
    let environment = [case.environment, &[(case.asked, &*url)]].concat();
    let error = ask(case.settings, &environment).await.unwrap_err();
    let debug = format!("{error:?}");
    let text = error.to_string().replace(&url, "URL");
    assert!(debug.starts_with(case.class), "{}: {debug}", case.says);
    assert!(text.contains(case.says), "{}: {text}", case.says);
    for secret in [SECRET, "token-of-me"] {
        assert!(!debug.contains(secret) && !text.contains(secret), "{text}");
    }
}

const DENIED: &str = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you, \
                      token-of-me</Message></Error></ErrorResponse>";
const BUSY: &str = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded\
                    </Message></Error></ErrorResponse>";

#[tokio::test]
async fn a_role_that_is_not_given_is_told_apart_from_an_sts_that_is_away() {
    let settings = [
        &OWN[..],
        &[("sessionToken", "token-of-me"), ("assumeRoleArn", ROLE)],
    ];
    for (answer, class, says) in [
        (
            Some((403, DENIED)),
            "Refused",
            "assumeRoleArn arn:aws:iam::123456789012:role/orders: no keys from URL/: 403 \
             Forbidden: AccessDenied: not you, …",
        ),
        (
            Some((400, BUSY)),
            "Disconnected",
            "400 Bad Request: Throttling: Rate exceeded",
        ),
        (
            Some((503, "<html>")),
            "Disconnected",
            "503 Service Unavailable",
        ),
        (Some((302, "")), "Refused", "302 Found"),
        (
            Some((200, "<html>hunter2hunter2")),
            "Refused",
            "no keys from URL/: failed to parse AWS STS AssumeRole response",
        ),
        (
            None,
            "Disconnected",
            "assumeRoleArn arn:aws:iam::123456789012:role/orders: no keys from URL/: ",
        ),
    ] {
        fails_as_it_should(&Case {
            asked: STS,
            settings: &settings.concat(),
            environment: &[],
            answer,
            class,
            says,
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_process_finds_and_cannot_use_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let token = write(folder.path(), "token", "token-of-me");
    let web = [(TOKEN_FILE, &*token), ("AWS_ROLE_ARN", ROLE)];
    let gone = [(TOKEN_FILE, "/no/such/file"), ("AWS_ROLE_ARN", ROLE)];
    let authorized = [("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token-of-me")];
    let unauthorized = [("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/no/such/file")];
    let bad = "<Error><Code>InvalidIdentityToken</Code><Message>bad token-of-me</Message></Error>";
    let unknown = r#"{"message":"token-of-me is unknown"}"#;
    let cases: [(&str, &[(&str, &str)], _, _, _); 10] = [
        (
            STS,
            &web,
            Some((400, bad)),
            "Refused",
            "AWS_WEB_IDENTITY_TOKEN_FILE for arn:aws:iam::123456789012:role/orders: no keys from \
             URL/: 400 Bad Request: InvalidIdentityToken: bad …",
        ),
        (
            STS,
            &web[..1],
            None,
            "Invalid",
            "AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is missing",
        ),
        (
            STS,
            &gone,
            None,
            "Refused",
            "AWS_WEB_IDENTITY_TOKEN_FILE: /no/such/file cannot be read: ",
        ),
        (
            CONTAINER,
            &authorized,
            Some((401, unknown)),
            "Refused",
            "the container's role: no keys from URL/: 401 Unauthorized: … is unknown",
        ),
        (
            CONTAINER,
            &[],
            None,
            "Disconnected",
            "the container's role: no keys from URL/: ",
        ),
        (
            CONTAINER,
            &[],
            Some((200, r#"{"AccessKeyId":"hunter2hunter2"}"#)),
            "Refused",
            "the container's role: no keys from URL/: failed to parse",
        ),
        (
            CONTAINER,
            &unauthorized,
            None,
            "Refused",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: /no/such/file cannot be read: ",
        ),
        (
            INSTANCE,
            &[],
            Some((404, "")),
            "Refused",
            "; the instance's role: no keys from URL/latest/api/token: 404 Not Found",
        ),
        (
            INSTANCE,
            &[],
            None,
            "Disconnected",
            "there are no AWS keys: set accessKey and secretKey, or give the process an identity",
        ),
        (
            INSTANCE,
            &[("AWS_EC2_METADATA_DISABLED", "TRUE")],
            None,
            "Invalid",
            "there are no AWS keys: set accessKey and secretKey",
        ),
    ];
    for (asked, environment, answer, class, says) in cases {
        fails_as_it_should(&Case {
            asked,
            settings: &[],
            environment,
            answer,
            class,
            says,
        })
        .await;
    }
}

#[tokio::test]
async fn an_environment_that_can_never_work_is_said_by_its_variable() {
    let partition = [
        &OWN[..],
        &[("assumeRoleArn", "arn:aws-cn:iam::123456789012:role/orders")],
    ];
    for (settings, environment, says) in [
        (
            &[][..],
            [(CONTAINER, "http://keys.example.com/")],
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must be an https URL, or an http URL of this",
        ),
        (
            &[],
            [(CONTAINER, "ftp://127.0.0.1/")],
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must be",
        ),
        (
            &[],
            [(CONTAINER, "http://10.0.0.1/")],
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must be",
        ),
        (
            &[],
            [(STS, "sts.example.com")],
            "AWS_ENDPOINT_URL_STS must be an http or https URL",
        ),
        (
            &[],
            [("AWS_ENDPOINT_URL", "http://h/path")],
            "AWS_ENDPOINT_URL must be an http or",
        ),
        (
            &partition.concat(),
            [("NOTHING", "")],
            "AWS STS AssumeRole role partition does not match the signing region",
        ),
    ] {
        let error = ask(settings, &environment).await.unwrap_err();
        assert!(matches!(error, OpenError::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}
