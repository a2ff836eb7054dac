//! What a reply is made of: bytes at hand, or a stream of them.

use std::fmt;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};

/// A stream of chunks. An error in it means that the rest will never come.
pub type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The data of a reply.
pub enum Payload {
    /// All of it, in memory.
    Bytes(Bytes),
    /// Chunk by chunk, so that a large object never has to fit into memory.
    Stream {
        /// How many bytes will come, where that is known beforehand.
        length: Option<u64>,
        /// The bytes.
        chunks: Chunks,
    },
}

impl Payload {
    /// No bytes at all. Not the same as no reply: over HTTP this is a 200, not a 204.
    pub const fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }

    /// A stream of `chunks`, `length` bytes in all where that is known.
    pub fn stream(
        length: Option<u64>,
        chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Self {
        Self::Stream {
            length,
            chunks: Box::pin(chunks),
        }
    }

    /// How many bytes there are, where that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Stream { length, .. } => *length,
        }
    }

    /// Collects everything into memory.
    ///
    /// # Errors
    /// [`CollectError::TooLarge`] as soon as more than `limit` bytes have come, and
    /// [`CollectError::Broken`] when the stream fails.
    pub async fn collect(self, limit: usize) -> Result<Bytes, CollectError> {
        match self {
            Self::Bytes(bytes) if bytes.len() > limit => Err(CollectError::TooLarge { limit }),
            Self::Bytes(bytes) => Ok(bytes),
            Self::Stream { mut chunks, .. } => {
                let Some(first) = chunks.next().await.transpose()? else {
                    return Ok(Bytes::new());
                };
                if first.len() > limit {
                    return Err(CollectError::TooLarge { limit });
                }
                let Some(second) = chunks.next().await.transpose()? else {
                    return Ok(first);
                };
                let mut rest = stream::once(async { Ok(second) }).boxed().chain(chunks);
                let mut joined = BytesMut::from(first);
                while let Some(chunk) = rest.next().await.transpose()? {
                    if joined.len() + chunk.len() > limit {
                        return Err(CollectError::TooLarge { limit });
                    }
                    joined.extend_from_slice(&chunk);
                }
                Ok(joined.freeze())
            }
        }
    }
}

/// Why a payload could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// There was more than the caller can take.
    #[error("the reply is larger than {limit} bytes")]
    TooLarge {
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// The stream failed before its end.
    #[error("the reply broke off: {0}")]
    Broken(#[from] io::Error),
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(bytes: T) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Payload({} bytes)", bytes.len()),
            Self::Stream {
                length: Some(length),
                ..
            } => write!(f, "Payload({length} streamed)"),
            Self::Stream { length: None, .. } => write!(f, "Payload(streamed)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(chunks: &'static [&'static str]) -> Payload {
        Payload::stream(
            None,
            stream::iter(chunks).map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))),
        )
    }

    #[tokio::test]
    async fn collecting_joins_the_chunks() {
        assert_eq!(streamed(&[]).collect(9).await.unwrap(), "");
        assert_eq!(streamed(&["one"]).collect(9).await.unwrap(), "one");
        assert_eq!(
            streamed(&["one", "two", "3"]).collect(9).await.unwrap(),
            "onetwo3"
        );
    }

    #[tokio::test]
    async fn collecting_stops_at_the_limit() {
        for payload in [
            streamed(&["123456"]),
            streamed(&["123", "456"]),
            "123456".into(),
        ] {
            let error = payload.collect(5).await.unwrap_err();
            assert!(
                matches!(error, CollectError::TooLarge { limit: 5 }),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_broken_stream_is_an_error_and_never_a_short_reply() {
        let chunks = stream::iter([Ok(Bytes::from("half")), Err(io::Error::other("gone"))]);
        let error = Payload::stream(Some(8), chunks)
            .collect(99)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the reply broke off: gone");
    }
}
