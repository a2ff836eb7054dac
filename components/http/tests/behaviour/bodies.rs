//! Bodies of replies: streamed, unzipped, cut off, broken off.

use std::io;
use std::sync::Arc;

use bindery_contract::{CollectError, Invocation, Payload, Retry};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::upstream::{Answer, Received, Upstream, answer};
use crate::{Subject, collect, get, log_of, wire};

const LARGE: usize = 300_000;

/// An answer in pieces; its length is not known unless a header says so.
fn pieces(
    headers: &[(&str, &str)],
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Answer {
    let frames = pieces.map(|piece| piece.map(Frame::data));
    answer(200, headers, "").map(|_| BodyExt::boxed_unsync(StreamBody::new(frames)))
}

/// Answers with as many bytes as the path says, their length known or not.
async fn bytes(received: Received) -> Answer {
    let (kind, size) = received.uri.path()[1..].split_once('/').unwrap();
    let body = Bytes::from(vec![b'x'; size.parse().unwrap()]);
    match kind {
        "known" => answer(200, &[], body),
        _ => pieces(&[], stream::iter([Ok(body)])),
    }
}

#[tokio::test]
async fn a_small_body_of_known_length_is_at_hand_and_any_other_is_a_stream() {
    let upstream = Upstream::start(bytes);
    let http = Subject::open(&[("url", &upstream.url())]).await;
    for (path, length, at_hand) in [
        ("known/0", Some(0), true),
        ("known/65536", Some(65_536), true),
        ("known/65537", Some(65_537), false),
        ("unknown/3", None, false),
    ] {
        let data = http.reply(get(path)).await.unwrap().data;
        assert_eq!(data.length(), length, "{path}");
        assert_eq!(matches!(data, Payload::Bytes(_)), at_hand, "{path}");
        let size = collect(data).await.unwrap().len();
        assert!(path.ends_with(&format!("/{size}")), "{path}: {size}");
    }
}

#[tokio::test]
async fn what_has_come_is_there_before_the_rest_comes() {
    let go_on = Arc::new(Notify::new());
    let told = Arc::clone(&go_on);
    let upstream = Upstream::start(move |_| {
        let told = Arc::clone(&told);
        let rest = stream::once(async move {
            told.notified().await;
            Ok(Bytes::from("second"))
        });
        let all = stream::iter([Ok(Bytes::from("first"))]).chain(rest);
        std::future::ready(pieces(&[], all))
    });
    let http = Subject::open(&[("url", &upstream.url())]).await;
    let Payload::Stream { mut chunks, .. } = http.reply(get("")).await.unwrap().data else {
        panic!("its length is not known")
    };
    assert_eq!(chunks.next().await.unwrap().unwrap(), "first");
    go_on.notify_one();
    assert_eq!(chunks.next().await.unwrap().unwrap(), "second");
    assert!(chunks.next().await.is_none());
}

#[tokio::test]
async fn a_body_is_cut_off_at_the_limit_with_a_word_in_the_log() {
    let upstream = Upstream::start(bytes);
    for (limit, path, passed_on) in [
        ("100", "known/100", None),
        ("100", "unknown/100", None),
        ("100", "known/101", Some(100)),
        ("100", "unknown/101", Some(100)),
        ("100", "known/300000", Some(100)),
        ("200k", "known/300000", Some(200_000)),
        ("200k", "unknown/300000", Some(200_000)),
        ("0", "known/300000", None),
        ("-1", "unknown/300000", None),
    ] {
        let settings = [("url", &*upstream.url()), ("maxResponseBodySize", limit)];
        let http = Subject::open(&settings).await;
        let reading = async {
            let data = http.reply(get(path)).await.unwrap().data;
            (data.length(), collect(data).await.unwrap().len())
        };
        let ((announced, size), log) = log_of(reading).await;
        let whole: usize = path.split_once('/').unwrap().1.parse().unwrap();
        assert_eq!(size, passed_on.unwrap_or(whole), "{path} up to {limit}");
        if path.starts_with("known") {
            assert_eq!(announced, Some(size as u64), "{path} up to {limit}");
        }
        let warnings = log.matches("binding subject: a reply is longer").count();
        assert_eq!(
            warnings,
            usize::from(passed_on.is_some()),
            "{path} up to {limit}: {log}"
        );
    }
}

#[tokio::test]
async fn the_body_of_an_error_is_cut_off_too() {
    let upstream = Upstream::start(async |_| {
        let mut refusal = pieces(&[], stream::iter([Ok("0123456789".into())]));
        *refusal.status_mut() = hyper::StatusCode::IM_A_TEAPOT;
        refusal
    });
    let settings = [("url", &*upstream.url()), ("maxResponseBodySize", "4")];
    let http = Subject::open(&settings).await;
    let rejected = http.rejected(get("")).await;
    assert_eq!(rejected.says, "received status code 418");
    assert_eq!(rejected.reply.unwrap().data, "0123");
}

/// `{"hello":"world"}`
const ZIPPED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xabV\xcaH\xcd\xc9\xc9W\xb2R*\xcf\
    /\xcaIQ\xaa\x05\x00\xd1A\t\xd8\x11\x00\x00\x00";

/// Answers zipped to whoever accepts it, but for the path `/204`: that is empty.
async fn zipped(received: Received) -> Answer {
    let zipped = [("content-encoding", "gzip")];
    match (received.header("accept-encoding"), received.uri.path()) {
        (Some("gzip"), "/204") => answer(204, &zipped, ""),
        (Some("gzip"), _) => answer(200, &zipped, ZIPPED),
        _ => answer(200, &[], "plain"),
    }
}

#[tokio::test]
async fn gzip_is_taken_off_unless_the_caller_asked_for_it() {
    let upstream = Upstream::start(zipped);
    let http = Subject::open(&[("url", &upstream.url())]).await;
    let unseen = http.call(get("")).await;
    assert_eq!(unseen.data, r#"{"hello":"world"}"#);
    assert_eq!(unseen.metadata.get("Content-Encoding"), None);
    assert_eq!(unseen.metadata.get("Content-Length"), None);
    assert_eq!(http.call(get("204")).await.data, "");

    let asked = http.call(get("").with("Accept-Encoding", "gzip")).await;
    assert_eq!(asked.data, ZIPPED);
    assert_eq!(asked.metadata.get("Content-Encoding"), Some("gzip"));
    assert_eq!(asked.metadata.get("Content-Length"), Some("37"));

    let part = http.call(get("").with("Range", "bytes=0-3")).await;
    assert_eq!(part.data, "plain", "nobody asked for gzip");
    let head = http.call(Invocation::new("head")).await;
    assert_eq!(head.metadata.get("Content-Length"), Some("5"));
}

#[tokio::test]
async fn the_limit_counts_unzipped_bytes() {
    let upstream = Upstream::start(zipped);
    let settings = [("url", &*upstream.url()), ("maxResponseBodySize", "8")];
    let http = Subject::open(&settings).await;
    assert_eq!(http.call(get("")).await.data, r#"{"hello""#);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_a_whole_one() {
    // Announces as many bytes as the path says, sends half of them and closes.
    let url = wire::serve(async |mut stream| {
        let head = wire::head(&mut stream).await.unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let size: usize = path[1..].parse().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; size / 2]).await.unwrap();
    })
    .await;
    for limit in ["100Mi", "0"] {
        let http = Subject::open(&[("url", &url), ("maxResponseBodySize", limit)]).await;
        let rejected = http.rejected(get("1000")).await;
        assert_eq!(rejected.retry, Retry::MayHelp);
        assert!(
            rejected.says.contains("the reply broke off"),
            "{}",
            rejected.says
        );
        let data = http.reply(get(&LARGE.to_string())).await.unwrap().data;
        assert_eq!(data.length(), Some(LARGE as u64));
        let broken = collect(data).await.unwrap_err();
        assert!(matches!(broken, CollectError::Broken(_)), "{broken}");
    }
}

#[tokio::test]
async fn the_deadline_counts_for_the_body() {
    let upstream = Upstream::start(async |received: Received| {
        let headers = [("content-length", &received.uri.path()[1..])];
        pieces(
            &headers,
            stream::iter([Ok(Bytes::from("begun"))]).chain(stream::pending()),
        )
    });
    let settings = [("url", &*upstream.url()), ("responseTimeout", "300ms")];
    let http = Subject::open(&settings).await;
    let rejected = http.rejected(get("1000")).await;
    assert!(rejected.says.contains("timed out"), "{}", rejected.says);
    let data = http.reply(get(&LARGE.to_string())).await.unwrap().data;
    let broken = collect(data).await.unwrap_err();
    assert!(std::error::Error::source(&broken).is_some(), "{broken:?}");
}
