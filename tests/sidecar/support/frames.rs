//! HTTP/2 by hand, for what no library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// What every client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GO_AWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame whose length is that of its payload.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Headers as HPACK writes those that are in nobody's table.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A number of HPACK with seven bits in its first byte.
fn length(number: usize, block: &mut Vec<u8>) {
    if number < 127 {
        block.push(u8::try_from(number).unwrap());
        return;
    }
    block.push(127);
    let mut rest = number - 127;
    while rest > 127 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The headers of a post, and more.
pub fn post(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut headers = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", path),
    ];
    headers.extend(more);
    block(&headers)
}

/// A connection whose client is the test.
pub struct Raw(pub TcpStream);

impl Raw {
    /// Connects, and says nothing yet.
    pub fn silent(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).unwrap();
        stream.set_write_timeout(patience).unwrap();
        Self(stream)
    }

    /// Connects, and begins as every client does.
    pub fn begun(port: u16) -> Self {
        let mut raw = Self::silent(port);
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        raw
    }

    /// Whether the other side still took it.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The next frame: its kind, flags, stream and payload; nothing at the end.
    pub fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        self.read(&mut payload)?;
        Some((kind, flags, stream, payload))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.0.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) => {
                let is_patience =
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!is_patience, "neither an answer nor an end");
                None
            }
        }
    }

    /// Reads until the other side hangs up. Its reason, if it gave one: that of its last GOAWAY.
    pub fn end(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some((kind, _, _, payload)) = self.next() {
            if kind == GO_AWAY {
                reason = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
        reason
    }

    /// Whether the other side answers a ping.
    pub fn answers(&mut self) -> bool {
        const MARK: &[u8] = b"are you?";
        self.send(&frame(PING, 0, 0, MARK));
        while let Some((kind, flags, _, payload)) = self.next() {
            if kind == PING && flags == 1 && payload == MARK {
                return true;
            }
        }
        false
    }
}
