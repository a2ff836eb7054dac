//! AWS, as far as moto is it: IAM and STS, which check signatures.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

use super::{Process, installed};
use crate::ports;

/// What makes the identities, one request each. Until then, signatures are not checked.
const IDENTITIES: [(&str, &[(&str, &str)]); 4] = [
    ("CreateUser", &[("UserName", "app")]),
    (
        "PutUserPolicy",
        &[
            ("UserName", "app"),
            ("PolicyName", "roles"),
            (
                "PolicyDocument",
                r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}"#,
            ),
        ],
    ),
    (
        "CreateRole",
        &[
            ("RoleName", "orders"),
            (
                "AssumeRolePolicyDocument",
                r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"}}]}"#,
            ),
        ],
    ),
    ("CreateAccessKey", &[("UserName", "app")]),
];

/// A moto with a user who may assume roles, and a role.
pub struct Moto {
    process: Process,
    _folder: TempDir,
    key: (String, String),
}

impl Moto {
    /// The role's ARN.
    pub const ROLE: &str = "arn:aws:iam::123456789012:role/orders";

    /// Starts one.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = ports::free();
        let process = Process::start("moto", port, folder.path().join("log"), move || {
            let mut command = Command::new(installed("BINDERY_TEST_MOTO", "moto/bin/python"));
            command
                .args([
                    "-m",
                    "moto.server",
                    "-H",
                    "127.0.0.1",
                    "-p",
                    &port.to_string(),
                ])
                .env("INITIAL_NO_AUTH_ACTION_COUNT", IDENTITIES.len().to_string());
            command
        });
        let answers = IDENTITIES.map(|(action, parameters)| ask(port, action, parameters));
        let key = answers.last().expect("there are some");
        let key = (
            element(key, "AccessKeyId").to_owned(),
            element(key, "SecretAccessKey").to_owned(),
        );
        Self {
            process,
            _folder: folder,
            key,
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.process.port())
    }

    /// The user's access key, and its secret.
    pub fn key(&self) -> (&str, &str) {
        (&self.key.0, &self.key.1)
    }
}

/// Asks its IAM.
fn ask(port: u16, action: &str, parameters: &[(&str, &str)]) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let mut form = format!("Version=2010-05-08&Action={action}");
    for (name, value) in parameters {
        form += &format!("&{name}={}", encoded(value));
    }
    let request = format!(
        "POST / HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("moto is there");
    stream.write_all(request.as_bytes()).expect("moto reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("moto answers");
    assert!(
        answer.lines().next().is_some_and(|it| it.contains(" 200 ")),
        "{answer}"
    );
    answer
}

fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let start = xml.split(&format!("<{name}>")).nth(1);
    let text = start.and_then(|rest| rest.split('<').next());
    text.unwrap_or_else(|| panic!("no {name} in {xml}"))
}
