//! Proxies that the environment names. A process has one environment, so each case runs in a
//! process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use bindery_testkit::certs::Authority;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::tls::acceptor;
use crate::upstream::{Answer, Received, Upstream, answer};
use crate::{Subject, get, wire};

const URL: &str = "BINDERY_TEST_URL";
const ROOT: &str = "BINDERY_TEST_ROOT";
const REPLY: &str = "BINDERY_TEST_REPLY";

#[tokio::test]
#[ignore = "run by the other tests, in a process whose environment names a proxy"]
async fn in_a_process_of_its_own() {
    let of = |name| std::env::var(name).unwrap_or_default();
    let http = Subject::open(&[("url", &of(URL)), ("MTLSRootCA", &of(ROOT))]).await;
    match &*of(REPLY) {
        "" => drop(http.rejected(get("")).await),
        expected => assert_eq!(http.call(get("")).await.data, expected),
    }
}

/// Runs the test above under this environment.
async fn run(environment: &[(&'static str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "proxies::in_a_process_of_its_own", "--ignored"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(environment.iter().copied());
    let ended = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && output.contains("1 passed"),
        "{environment:?}: {output}"
    );
}

/// Tells what it was asked for.
async fn tell(received: Received) -> Answer {
    let authorization = received.header("proxy-authorization").unwrap_or("nobody");
    answer(200, &[], format!("{} by {authorization}", received.uri))
}

#[tokio::test]
async fn plain_requests_go_through_the_proxy_but_not_to_this_machine() {
    let proxy = Upstream::start(tell);
    let address = proxy.address().to_string();
    let with_password = format!("http://me:hunter2@{address}");
    let absolute = "http://upstream.invalid/x by nobody";
    let authorized = "http://upstream.invalid/x by Basic bWU6aHVudGVyMg==";
    let upstream = "http://upstream.invalid/x";
    let here = format!("{}/x", proxy.url());
    run(&[("HTTP_PROXY", &address), (URL, upstream), (REPLY, absolute)]).await;
    run(&[
        ("http_proxy", &with_password),
        (URL, upstream),
        (REPLY, authorized),
    ])
    .await;
    run(&[
        ("HTTP_PROXY", "127.0.0.1:1"),
        (URL, &here),
        (REPLY, "/x by nobody"),
    ])
    .await;
    let excepted = ("NO_PROXY", "example.com, upstream.invalid");
    run(&[("HTTP_PROXY", &address), excepted, (URL, upstream)]).await;
}

/// Takes connections, agrees with the client on the target, and then passes bytes on to it.
async fn tunnel(
    target: SocketAddr,
    agree: fn(&mut TcpStream) -> BoxFuture<'_, std::io::Result<()>>,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                agree(&mut client).await?;
                let mut server = TcpStream::connect(target).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

fn connect(client: &mut TcpStream) -> BoxFuture<'_, std::io::Result<()>> {
    Box::pin(async move {
        let head = wire::head(client).await.unwrap_or_default();
        assert!(head.starts_with("CONNECT upstream.invalid:443 HTTP/1.1\r\n"));
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await
    })
}

#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(acceptor(&authority.sign("upstream.invalid"), None), tell);
    let proxy = tunnel(upstream.address(), connect).await.to_string();
    run(&[
        ("HTTPS_PROXY", &proxy),
        (URL, "https://upstream.invalid/x"),
        (ROOT, &authority.certificate()),
        (REPLY, "https://upstream.invalid/x by nobody"),
    ])
    .await;
}

/// SOCKS 5 without a password; the proxy resolves the name.
fn socks(client: &mut TcpStream) -> BoxFuture<'_, std::io::Result<()>> {
    const NAME: &[u8] = b"upstream.invalid";
    Box::pin(async move {
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).await?;
        assert_eq!(greeting, [5, 1, 0]);
        client.write_all(&[5, 0]).await?;
        let mut request = [0; 5 + NAME.len() + 2];
        client.read_exact(&mut request).await?;
        assert_eq!(
            request[..5],
            [5, 1, 0, 3, u8::try_from(NAME.len()).unwrap()]
        );
        assert_eq!(&request[5..5 + NAME.len()], NAME);
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await
    })
}

#[tokio::test]
async fn a_proxy_may_speak_socks() {
    let upstream = Upstream::start(tell);
    let proxy = format!("socks5://{}", tunnel(upstream.address(), socks).await);
    run(&[
        ("HTTP_PROXY", &proxy),
        (URL, "http://upstream.invalid/x"),
        (REPLY, "/x by nobody"),
    ])
    .await;
}
