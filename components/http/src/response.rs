//! From the upstream's response to what the caller gets.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use async_compression::tokio::bufread::GzipDecoder;
use bindery_contract::{Clock, Deadline, Metadata, Payload};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::error::{HttpError, timed_out};

/// A body up to this size is read at once when its size is known: cheaper than a stream, and
/// when it breaks off, the call can still fail and be repeated.
const READ_AT_ONCE: u64 = 64 << 10;

/// A response whose head has come.
pub(crate) struct Response {
    head: hyper::http::response::Parts,
    body: Incoming,
    is_zipped: bool,
    deadline: Deadline,
    clock: Clock,
}

impl Response {
    /// `unzips` says that the caller did not ask for gzip, so that it is taken off again, unseen.
    pub(crate) fn new(
        response: hyper::Response<Incoming>,
        unzips: bool,
        deadline: Deadline,
        clock: Clock,
    ) -> Self {
        let (mut head, body) = response.into_parts();
        let encoding = head.headers.get(CONTENT_ENCODING).filter(|_| unzips);
        let is_zipped = encoding.is_some_and(|encoding| encoding == "gzip");
        if is_zipped {
            head.headers.remove(CONTENT_ENCODING);
            head.headers.remove(CONTENT_LENGTH);
        }
        Self {
            is_zipped: is_zipped && !body.is_end_stream(),
            head,
            body,
            deadline,
            clock,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// How many bytes the body has, where that is known.
    fn length(&self) -> Option<u64> {
        let exact = self.body.size_hint().exact();
        exact.filter(|_| !self.is_zipped)
    }

    /// The whole body.
    async fn bytes(self) -> Result<Bytes, HttpError> {
        let collected = self.deadline.limit(&self.clock, self.body.collect()).await;
        let collected = collected.ok_or_else(timed_out);
        let collected = collected.and_then(|body| body.map_err(io::Error::other));
        let collected = collected.map_err(|source| HttpError::Body { source })?;
        Ok(collected.to_bytes())
    }

    /// The body as it comes.
    fn chunks(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let data = self.body.into_data_stream().map_err(io::Error::other);
        let data = if self.is_zipped {
            let mut unzipped = GzipDecoder::new(StreamReader::new(data));
            unzipped.multiple_members(true);
            ReaderStream::new(unzipped).left_stream()
        } else {
            data.right_stream()
        };
        let (deadline, clock) = (self.deadline, self.clock);
        stream::try_unfold(Box::pin(data), move |mut data| {
            let clock = clock.clone();
            async move {
                let next = deadline.limit(&clock, data.try_next()).await;
                let next = next.unwrap_or_else(|| Err(timed_out()));
                let next = next.map_err(|source| io::Error::other(HttpError::Body { source }))?;
                Ok(next.map(|chunk| (chunk, data)))
            }
        })
    }
}

/// `statusCode`, `status`, and all headers under their canonical names.
pub(crate) fn metadata(response: &Response) -> Metadata {
    let headers = response.headers();
    let joined = |name| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| text(value.as_bytes()));
        values.fold(first.unwrap_or_default(), |all, value| {
            all + ", " + &text(value.as_bytes())
        })
    };
    let mut metadata: Metadata = headers
        .keys()
        .map(|name| (canonical(name), joined(name)))
        .collect();
    let code = response.status();
    let reason = match response.head.extensions.get::<ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()),
        None => code.canonical_reason().unwrap_or_default().into(),
    };
    let status = format!("{} {reason}", code.as_str());
    metadata.insert("statusCode", code.as_str());
    metadata.insert("status", status.trim_end());
    metadata
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `Content-Type` for `content-type`: how the reference names headers.
fn canonical(name: &HeaderName) -> Cow<'static, str> {
    // The names that come with nearly every reply.
    if let Some(common) = COMMON.iter().find(|(lower, _)| lower == name) {
        return common.1.into();
    }
    let mut capitalized = String::with_capacity(name.as_str().len());
    let mut begins = true;
    capitalized.extend(name.as_str().chars().map(|c| {
        let c = if begins { c.to_ascii_uppercase() } else { c };
        begins = c == '-';
        c
    }));
    capitalized.into()
}

const COMMON: [(HeaderName, &str); 3] = [
    (CONTENT_LENGTH, "Content-Length"),
    (CONTENT_TYPE, "Content-Type"),
    (DATE, "Date"),
];

/// How much of a body is passed on.
pub(crate) struct Limit {
    component: Arc<str>,
    bytes: u64,
}

impl Limit {
    /// At most `bytes`; `None` is no limit.
    pub(crate) fn new(component: &str, bytes: Option<u64>) -> Self {
        Self {
            component: component.into(),
            bytes: bytes.unwrap_or(u64::MAX),
        }
    }

    /// The body of a response, as much of it as is allowed.
    pub(crate) async fn payload(&self, response: Response) -> Result<Payload, HttpError> {
        let length = response.length();
        let known_too_long = length.is_some_and(|length| length > self.bytes);
        if known_too_long {
            warn(&self.component, self.bytes);
        }
        if length.is_some_and(|length| length <= READ_AT_ONCE) {
            let mut body = response.bytes().await?;
            body.truncate(saturating(self.bytes));
            return Ok(Payload::Bytes(body));
        }
        let unwarned = (!known_too_long).then(|| Arc::clone(&self.component));
        let length = length.map(|length| length.min(self.bytes));
        Ok(Payload::stream(
            length,
            cut(response.chunks(), self.bytes, unwarned),
        ))
    }
}

fn warn(component: &str, limit: u64) {
    tracing::warn!(
        "binding {component}: a reply is longer than maxResponseBodySize and is cut off after \
         {limit} bytes"
    );
}

/// The first `limit` bytes. When there are more, the connection is closed, since nothing else
/// would keep the upstream from sending them; and the log says so, if `unwarned` is given.
fn cut(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    limit: u64,
    unwarned: Option<Arc<str>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let begin = Some((Box::pin(chunks), limit, unwarned));
    stream::try_unfold(begin, move |state| async move {
        let Some((mut chunks, room, unwarned)) = state else {
            return Ok(None);
        };
        let Some(mut chunk) = chunks.try_next().await? else {
            return Ok(None);
        };
        if let Some(room) = room.checked_sub(chunk.len() as u64) {
            return Ok(Some((chunk, Some((chunks, room, unwarned)))));
        }
        if let Some(component) = unwarned {
            warn(&component, limit);
        }
        chunk.truncate(saturating(room));
        Ok((!chunk.is_empty()).then_some((chunk, None)))
    })
}

fn saturating(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_canonical() {
        for (name, expected) in [
            ("content-type", "Content-Type"),
            ("ETAG", "Etag"),
            ("x-a--b-1c-", "X-A--B-1c-"),
            ("www-authenticate", "Www-Authenticate"),
            ("x_y", "X_y"),
            ("5x", "5x"),
        ] {
            assert_eq!(canonical(&name.parse().unwrap()), expected);
        }
    }

    proptest! {
        #[test]
        fn cutting_keeps_the_first_bytes(
            sizes in prop::collection::vec(0usize..9, 0..6),
            limit in 0u64..30,
        ) {
            let mut next = 0u8..;
            let mut take = |size| next.by_ref().take(size).collect::<Bytes>();
            let chunks: Vec<Bytes> = sizes.iter().map(|size| take(*size)).collect();
            let whole = chunks.concat();
            let chunks = stream::iter(chunks.into_iter().map(Ok));
            let kept = cut(chunks, limit, None).try_collect::<Vec<_>>();
            let kept = kept.now_or_never().unwrap().unwrap();
            let expected = &whole[..whole.len().min(saturating(limit))];
            prop_assert_eq!(kept.concat(), expected);
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error() {
        let chunks = [Ok(Bytes::from("half")), Err(io::Error::other("gone"))];
        let kept = cut(stream::iter(chunks), 9, None).try_collect::<Vec<_>>();
        let error = kept.now_or_never().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "gone");
    }
}
