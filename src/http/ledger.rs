//! What is known of a connection besides what its dispatcher knows: whether it is between two
//! exchanges, and whether anybody has used it lately.
//!
//! The dispatcher does not tell whether its buffer still holds bytes. So bytes are counted: those
//! that were read must be as many as the heads and bodies of the requests that were answered.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_http::{HttpMessage as _, Request};
use actix_web::web::Bytes;
use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;

/// How many requests of one connection are answered at once. Only HTTP/2 has several, and its
/// server here does not tell clients a number.
pub(super) const AT_ONCE: usize = 1000;

/// Finds where a head ends. It is made once: to make it takes longer than to search.
static HEAD_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// The books of one connection, shared by all who handle it on its thread.
#[derive(Default)]
pub(super) struct Ledger {
    /// The connection, while no dispatcher has it.
    at_rest: Cell<Option<Stream>>,
    /// Bytes read, less those of requests that have begun. Below zero while a body is under way.
    surplus: Cell<isize>,
    /// How long the head is that was read last and belongs to no request yet.
    head: Cell<Option<isize>>,
    /// Whether it is one of HTTP/2.
    is_http2: Cell<bool>,
    /// How long some request was could not be told, so the books are worth nothing any more.
    is_lost: Cell<bool>,
    /// Exchanges under way.
    running: Cell<usize>,
    /// Whether there was an exchange since the connection was at rest.
    has_served: Cell<bool>,
    /// Whether the peer has to read before more can be written.
    is_blocked: Cell<bool>,
    /// Who wants to read and has to wait.
    reader: Cell<Option<Waker>>,
    /// Whether it was used since somebody asked.
    is_used: Cell<bool>,
}

impl Ledger {
    /// For a connection that nobody has read from.
    pub(super) fn new(connection: Stream) -> Rc<Self> {
        let ledger = Self::default();
        ledger.rest(connection);
        Rc::new(ledger)
    }

    /// For one of HTTP/2, whose bytes tell nothing here: it is never found to be idle.
    pub(super) fn http2(connection: Stream) -> Rc<Self> {
        let ledger = Self::new(connection);
        ledger.is_lost.set(true);
        ledger.is_http2.set(true);
        ledger
    }

    /// The connection, if no dispatcher has it.
    pub(super) fn take(&self) -> Option<Stream> {
        self.at_rest.take()
    }

    /// Keeps the connection until a dispatcher is there for it.
    pub(super) fn rest(&self, connection: Stream) {
        self.has_served.set(false);
        self.at_rest.set(Some(connection));
    }

    /// Whether it is between two exchanges, and was since somebody last asked.
    pub(super) fn is_idle(&self) -> bool {
        let is_used = self.is_used.replace(false);
        let is_even = self.surplus.get() == 0 && !self.is_lost.get();
        let is_quiet = self.running.get() == 0 && !self.is_blocked.get();
        self.has_served.get() && is_even && is_quiet && !is_used
    }

    /// Whether no more is read for now. Over HTTP/2 a peer can ask without end, and never take an
    /// answer.
    fn has_enough(&self) -> bool {
        self.is_http2.get() && (self.is_blocked.get() || self.running.get() > AT_ONCE)
    }

    fn read_on(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn has_read(&self, bytes: &[u8]) {
        self.is_used.set(true);
        if self.surplus.get() == 0 {
            let end = HEAD_END.find(bytes);
            self.head.set(end.map(|end| signed(end + 4)));
        }
        self.surplus.set(self.surplus.get() + signed(bytes.len()));
    }

    /// A request has begun. It is under way as long as what is returned lives.
    pub(super) fn begin(self: &Rc<Self>, request: &Request) -> Exchange {
        let seen = self.head.take().filter(|_| !self.is_lost.get());
        match (seen, body_length(request)) {
            (Some(head), Some(body)) => self.surplus.set(self.surplus.get() - head - body),
            _ => self.is_lost.set(true),
        }
        self.has_served.set(true);
        self.running.set(self.running.get() + 1);
        let seen = seen.and_then(|head| usize::try_from(head).ok());
        Exchange {
            ledger: Rc::clone(self),
            head: seen.unwrap_or_else(|| head_length(request)),
        }
    }
}

/// How long a request's body is, if its head tells.
fn body_length(request: &Request) -> Option<isize> {
    let headers = request.headers();
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    match headers.get(CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.trim().parse().ok(),
        None => Some(0),
    }
}

/// How long a head that was not seen in one piece was, near enough.
fn head_length(request: &Request) -> usize {
    let headers = request.headers().iter();
    let lines = headers.map(|(name, value)| name.as_str().len() + value.len() + 4);
    lines.sum::<usize>() + request.path().len()
}

fn signed(length: usize) -> isize {
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// An exchange under way.
pub(super) struct Exchange {
    ledger: Rc<Ledger>,
    /// How long the request's head was.
    pub(super) head: usize,
}

impl Exchange {
    /// Whether as many of its connection are under way as may be.
    pub(super) fn is_one_too_many(&self) -> bool {
        self.ledger.running.get() > AT_ONCE
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let running = &self.ledger.running;
        running.set(running.get() - 1);
        if running.get() == AT_ONCE {
            self.ledger.read_on();
        }
    }
}

/// The body of an answer: the exchange lasts until it is sent.
pub(super) struct Answering {
    pub(super) body: BoxBody,
    pub(super) _exchange: Option<Exchange>,
}

impl MessageBody for Answering {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// A connection in the hands of a dispatcher. When that is dropped, it comes to rest.
pub(super) struct Socket {
    /// There until this is dropped.
    connection: Option<Stream>,
    pub(super) ledger: Rc<Ledger>,
}

impl Socket {
    /// Takes a connection that is at rest.
    pub(super) fn of(ledger: &Rc<Ledger>) -> Option<Self> {
        Some(Self {
            connection: Some(ledger.take()?),
            ledger: Rc::clone(ledger),
        })
    }

    fn connection(&mut self) -> Pin<&mut Stream> {
        Pin::new(self.connection.as_mut().expect("it is there until the end"))
    }

    fn has_written(&self, outcome: &Poll<io::Result<usize>>) {
        self.ledger.is_used.set(true);
        self.ledger.is_blocked.set(outcome.is_pending());
        if outcome.is_ready() {
            self.ledger.read_on();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.ledger.rest(connection);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ledger.has_enough() {
            self.ledger.reader.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(self.connection().poll_read(cx, buffer))?;
        self.ledger.has_read(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.connection().poll_write(cx, bytes);
        self.has_written(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.connection().poll_write_vectored(cx, parts);
        self.has_written(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_http::header::{HeaderName, HeaderValue};
    use bindery_contract::Clock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn request(header: Option<(HeaderName, &'static str)>) -> Request {
        let mut request = Request::new();
        if let Some((name, value)) = header {
            request
                .head_mut()
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        request
    }

    /// Whether it is idle when nobody has used it for a while.
    fn is_idle_at_last(ledger: &Ledger) -> bool {
        ledger.is_idle() || ledger.is_idle()
    }

    #[test]
    fn it_is_idle_between_two_exchanges_when_it_was_not_used_for_a_while() {
        let ledger = Rc::new(Ledger::default());
        for _ in 0..2 {
            assert!(!is_idle_at_last(&ledger), "a header is waited for");
            ledger.has_read(b"POST / HTTP/1.1\r\n\r\nabc");
            assert!(!is_idle_at_last(&ledger));
            let exchange = ledger.begin(&request(Some((CONTENT_LENGTH, "3"))));
            assert!(!is_idle_at_last(&ledger), "it is answered");
            ledger.is_used.set(true);
            drop(exchange);
            assert!(!ledger.is_idle(), "it was used just now");
            assert!(ledger.is_idle());
            ledger.has_served.set(false);
        }
    }

    #[test]
    fn a_body_may_come_piece_by_piece_and_after_its_answer() {
        let ledger = Rc::new(Ledger::default());
        ledger.has_read(b"POST / HTTP/1.1\r\n\r\na");
        drop(ledger.begin(&request(Some((CONTENT_LENGTH, "9")))));
        ledger.has_read(b"bcd\r\n\r\n");
        assert!(!is_idle_at_last(&ledger));
        ledger.has_read(b"x");
        assert!(is_idle_at_last(&ledger));
        ledger.has_read(b"GET / HTTP/1.1\r\n\r\n");
        drop(ledger.begin(&request(None)));
        assert!(is_idle_at_last(&ledger));
    }

    #[test]
    fn what_was_sent_ahead_is_not_forgotten() {
        for ahead in ["G", "GET / HTTP/1.1\r\n\r\n"] {
            let ledger = Rc::new(Ledger::default());
            ledger.has_read(format!("GET / HTTP/1.1\r\n\r\n{ahead}").as_bytes());
            drop(ledger.begin(&request(None)));
            assert!(!is_idle_at_last(&ledger), "{ahead}");
        }
    }

    #[test]
    fn where_lengths_are_not_told_it_is_never_idle() {
        let chunked = Some((TRANSFER_ENCODING, "chunked"));
        for (bytes, header) in [
            ("POST / HTTP/1.1\r\n\r\n0\r\n\r\n", chunked),
            ("POST / HTTP/1.1\r\n", None),
        ] {
            let ledger = Rc::new(Ledger::default());
            ledger.has_read(bytes.as_bytes());
            ledger.has_read(b"\r\n");
            drop(ledger.begin(&request(header)));
            assert!(!is_idle_at_last(&ledger), "{bytes}");
        }
    }

    #[tokio::test]
    async fn who_asks_without_end_is_read_on_when_some_of_it_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (connection, _) = listener.accept().await.unwrap();
        client.unwrap().write_all(b"x").await.unwrap();
        let ledger = Ledger::http2(connection.into());
        let mut socket = Socket::of(&ledger).unwrap();
        let mut running: Vec<_> = (0..=AT_ONCE)
            .map(|_| ledger.begin(&request(None)))
            .collect();
        let is_read = Cell::new(false);
        let reading = async {
            assert_eq!(socket.read_u8().await.unwrap(), b'x');
            is_read.set(true);
        };
        let answering = async {
            tokio::task::yield_now().await;
            assert!(running[AT_ONCE].is_one_too_many() && !is_read.get());
            running.pop();
        };
        let both = async { tokio::join!(reading, answering) };
        let clock = Clock::system();
        let patience = clock.timeout(Duration::from_secs(20), both);
        patience.await.expect("nobody woke the reader");
    }

    #[test]
    fn a_peer_that_does_not_read_is_waited_for() {
        let ledger = Rc::new(Ledger::default());
        ledger.has_read(b"GET / HTTP/1.1\r\n\r\n");
        drop(ledger.begin(&request(None)));
        ledger.is_blocked.set(true);
        assert!(!is_idle_at_last(&ledger));
        ledger.is_blocked.set(false);
        assert!(is_idle_at_last(&ledger));
    }
}
