//! An identity provider: gives tokens to who can sign.

use std::sync::{Arc, Mutex};

use ::ring::digest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bindery_testkit::certs::Authority;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SignatureScheme};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What was asked: the parameters of the form, and the request line with its headers.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub head: String,
    pub form: Vec<(String, String)>,
}

impl Question {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is answered: a status and a body.
pub type Reply = (u16, String);

/// An endpoint that answers as a test wants.
pub struct Identity {
    address: String,
    questions: Arc<Mutex<Vec<Question>>>,
    _task: AbortOnDropHandle<()>,
}

impl Identity {
    /// Over HTTP, or over HTTPS with a certificate of an authority. `reply` gets the number of
    /// the question, from 1.
    pub async fn start(
        authority: Option<&Authority>,
        reply: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0", authority, reply).await
    }

    /// The same, at an address that others know already.
    pub async fn start_at(
        address: &str,
        authority: Option<&Authority>,
        reply: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let scheme = if authority.is_some() { "https" } else { "http" };
        let tls = authority.map(acceptor);
        let questions = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&questions);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One after the other is fast enough; a client that goes away is none.
                let _ = match &tls {
                    None => answer(stream, &asked, &reply).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => answer(stream, &asked, &reply).await,
                        Err(error) => Err(error),
                    },
                };
            }
        });
        Self {
            address: format!("{scheme}://{address}"),
            questions,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn url(&self) -> String {
        self.address.clone()
    }

    pub fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let signed = authority.sign("localhost");
    let certificate = CertificateDer::from_pem_slice(signed.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    asked: &Mutex<Vec<Question>>,
    reply: &(impl Fn(usize) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let form = reqwest::Url::parse(&format!("form:?{}", String::from_utf8_lossy(&body))).unwrap();
    let form = form.query_pairs().into_owned().collect();
    let number = {
        let mut asked = asked.lock().unwrap();
        asked.push(Question { head, form });
        asked.len()
    };
    let (status, body) = reply(number);
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// A token as endpoints give them.
pub fn token(text: &str, seconds: u32) -> Reply {
    let body =
        serde_json::json!({ "access_token": text, "expires_in": seconds, "token_type": "Bearer" });
    (200, body.to_string())
}

/// A key that signs for a client, and its certificate.
pub struct ClientKey {
    pub key: &'static str,
    pub certificate: String,
    public: Vec<u8>,
}

/// It was made for these tests and opens nothing.
const KEY: &str = include_str!("../fixtures/assertion_key.pem");

impl ClientKey {
    pub fn new() -> Self {
        let key = KeyPair::from_pem(KEY).unwrap();
        let params = CertificateParams::new(vec!["client".into()]).unwrap();
        Self {
            key: KEY,
            certificate: params.self_signed(&key).unwrap().pem(),
            public: key.der_bytes().to_vec(),
        }
    }

    /// The SHA-256 of the certificate, as JWTs have it.
    pub fn thumbprint(&self) -> String {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let hash = digest::digest(&digest::SHA256, &der);
        BASE64_URL_SAFE_NO_PAD.encode(hash)
    }

    /// The header and the claims of a JWT that this key has signed.
    pub fn verify(&self, jwt: &str) -> (Value, Value) {
        let (signed, signature) = jwt.rsplit_once('.').expect("three parts");
        let (header, claims) = signed.split_once('.').expect("three parts");
        let [header, claims] = [header, claims].map(|part| {
            let part: Value = serde_json::from_slice(&decode(part)).unwrap();
            part
        });
        let scheme = match header["alg"].as_str().unwrap() {
            "RS256" => SignatureScheme::RSA_PKCS1_SHA256,
            "PS256" => SignatureScheme::RSA_PSS_SHA256,
            other => panic!("signed with {other}"),
        };
        let known = ring::default_provider().signature_verification_algorithms;
        let (_, algorithms) = known
            .mapping
            .iter()
            .find(|(known, _)| *known == scheme)
            .unwrap();
        algorithms[0]
            .verify_signature(&self.public, signed.as_bytes(), &decode(signature))
            .expect("a valid signature");
        (header, claims)
    }
}

/// A JWT as Entra ID gives them, but for the signature: nobody here checks it.
pub fn entra_token(oid: &str, number: usize) -> String {
    let claims = serde_json::json!({ "oid": oid, "number": number });
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{claims}.unsigned")
}

fn decode(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}
