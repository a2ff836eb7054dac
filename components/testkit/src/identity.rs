//! An identity provider that answers as a test wants, and tells what it was asked.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::certs::Authority;

/// What was asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The request line and the headers.
    pub head: String,
    /// The parameters of the form.
    pub form: Vec<(String, String)>,
}

impl Question {
    /// A parameter of the form.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is answered: a status and a body.
pub type Reply = (u16, String);

/// The endpoint.
pub struct Identity {
    url: String,
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

    /// The same, where others know already that it is: an address, or a URL with one.
    ///
    /// # Panics
    /// When somebody else is there.
    pub async fn start_at(
        place: &str,
        authority: Option<&Authority>,
        reply: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = place.split_once("://").map_or(place, |(_, rest)| rest);
        let address = address.split('/').next().unwrap_or_default();
        let listener = TcpListener::bind(address).await.expect("a free address");
        let address = listener.local_addr().expect("it is bound");
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
            url: format!("{scheme}://{address}"),
            questions,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Where it is, without a path: it answers to any.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// All that was asked.
    pub fn questions(&self) -> Vec<Question> {
        locked(&self.questions).clone()
    }
}

fn locked(questions: &Mutex<Vec<Question>>) -> std::sync::MutexGuard<'_, Vec<Question>> {
    questions.lock().unwrap_or_else(PoisonError::into_inner)
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let signed = authority.sign("localhost");
    let certificate = CertificateDer::from_pem_slice(signed.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows the usual versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("our own certificate")],
            key.expect("our own key"),
        );
    TlsAcceptor::from(Arc::new(config.expect("they belong together")))
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
    let form = form(&String::from_utf8_lossy(&body));
    let number = {
        let mut asked = locked(asked);
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

fn form(text: &str) -> Vec<(String, String)> {
    let decoded = |part: &str| {
        let part = part.replace('+', " ");
        percent_decode_str(&part).decode_utf8_lossy().into_owned()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// A token as endpoints give them.
pub fn token(text: &str, seconds: u32) -> Reply {
    let body = json!({ "access_token": text, "expires_in": seconds, "token_type": "Bearer" });
    (200, body.to_string())
}

/// A JWT as Entra ID gives them, but for the signature: nobody here checks it.
pub fn entra_token(oid: &str, number: usize) -> String {
    let claims = json!({ "oid": oid, "number": number });
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{claims}.unsigned")
}
