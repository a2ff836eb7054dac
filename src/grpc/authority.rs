//! What clients on unix domain sockets call the sidecar.
//!
//! The gRPC libraries of C, Python, Java and others send the path of the socket as `:authority`.
//! That is no authority, and the HTTP/2 library refuses it without asking. So on such sockets the
//! two characters that are wrong in it, `%` and `/`, become `-` on their way in. A header is as
//! long as before, and so the tables by which both sides compress headers stay the same; for that
//! matter the three characters have codes of one length too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::through::writes_through;

/// What a connection of HTTP/2 begins with.
const PREFACE: usize = 24;
/// How long what stands before each frame is.
const FRAME: usize = 9;
/// Longer frames are nobody's who was told our settings; they are left as they are.
const LONGEST: usize = 64 << 10;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The place of `:authority` in the table that everybody has.
const AUTHORITY: usize = 1;

/// A connection whose `:authority` can be read, whatever it was.
pub(super) struct Legible<T> {
    inner: T,
    /// Nothing where all clients send one that is.
    frames: Option<Box<Frames>>,
}

impl<T> Legible<T> {
    /// A connection over a unix domain socket, or any other.
    pub(super) fn new(inner: T, is_socket_file: bool) -> Self {
        let frames = is_socket_file.then(|| {
            Box::new(Frames {
                pass: PREFACE,
                ..Frames::default()
            })
        });
        Self { inner, frames }
    }
}

/// What came in and has not been handed on.
#[derive(Default)]
struct Frames {
    /// From the beginning of a frame on, unless some of it has been handed on already.
    bytes: BytesMut,
    /// How many bytes, from the first on, are fine as they are; more may be than are there.
    pass: usize,
}

impl Frames {
    /// Looks at what has come, as far as it can be told what it is.
    fn look(&mut self) {
        while let Some(frame) = self.bytes.get_mut(self.pass..) {
            let &mut [a, b, c, kind, flags, ..] = &mut *frame else {
                return;
            };
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind == HEADERS && length <= LONGEST {
                let Some(payload) = frame.get_mut(FRAME..FRAME + length) else {
                    return;
                };
                // Whatever cannot be understood is the HTTP/2 library's to refuse.
                let _ = mend(payload, flags);
            }
            self.pass += FRAME + length;
        }
    }
}

/// Mends the authority in a frame of headers.
fn mend(payload: &mut [u8], flags: u8) -> Option<()> {
    let mut block = payload;
    if flags & PADDED != 0 {
        let padding = usize::from(*block.first()?);
        let end = block.len().checked_sub(padding)?;
        block = block.get_mut(1..end)?;
    }
    if flags & PRIORITY != 0 {
        block = block.get_mut(5..)?;
    }
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let (prefix, has_value) = match first {
            0x80.. => (7, false),
            0x40..0x80 => (6, true),
            0x20..0x40 => (5, false),
            0..0x20 => (4, true),
        };
        let index = integer(block, &mut at, prefix)?;
        if !has_value {
            continue;
        }
        let mut is_authority = index == AUTHORITY;
        if index == 0 {
            // C spells the name out.
            let (name, _) = text(block, &mut at)?;
            is_authority = block.get(name)? == b":authority";
        }
        let (value, is_coded) = text(block, &mut at)?;
        if is_authority {
            let value = block.get_mut(value)?;
            if is_coded {
                mend_coded(value);
            } else {
                mend_plain(value);
            }
        }
    }
    Some(())
}

/// A number of HPACK (RFC 7541 §5.1).
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let most = (1 << prefix) - 1;
    let mut number = usize::from(*block.get(*at)?) & most;
    *at += 1;
    if number < most {
        return Some(number);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(*block.get(*at)?);
        *at += 1;
        number += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Where a text of HPACK is, and whether it is written in its code (RFC 7541 §5.2).
fn text(block: &[u8], at: &mut usize) -> Option<(std::ops::Range<usize>, bool)> {
    let is_coded = block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let value = *at..*at + length;
    *at = value.end;
    (value.end <= block.len()).then_some((value, is_coded))
}

fn mend_plain(value: &mut [u8]) {
    for byte in value {
        if matches!(byte, b'%' | b'/') {
            *byte = b'-';
        }
    }
}

/// The same in the code of HPACK, where common characters are five to eight bits (RFC 7541,
/// appendix B). A longer one ends it.
fn mend_coded(value: &mut [u8]) {
    const PERCENT: u8 = 0b01_0101;
    const SLASH: u8 = 0b01_1000;
    const DASH: u8 = 0b01_0110;
    let bit = |value: &[u8], at: usize| value[at / 8] >> (7 - at % 8) & 1;
    let end = value.len() * 8;
    let mut at = 0;
    while at < end {
        // What fills up the last byte is ones.
        let next = (at..at + 8).map(|at| if at < end { bit(value, at) } else { 1 });
        let next = next.fold(0, |bits, bit| bits << 1 | bit);
        let length = match next {
            0..0b0101_0000 => 5,
            0b0101_0000..0b1011_1000 => 6,
            0b1011_1000..0b1111_1000 => 7,
            0b1111_1000..0b1111_1110 => 8,
            0b1111_1110.. => return,
        };
        if length == 6 && matches!(next >> 2, PERCENT | SLASH) && at + 6 <= end {
            for place in 0..6 {
                let (byte, mask) = ((at + place) / 8, 0x80 >> ((at + place) % 8));
                if DASH >> (5 - place) & 1 == 1 {
                    value[byte] |= mask;
                } else {
                    value[byte] &= !mask;
                }
            }
        }
        at += length;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Legible<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, frames } = &mut *self;
        let Some(frames) = frames else {
            return Pin::new(inner).poll_read(cx, buffer);
        };
        loop {
            let length = frames.pass.min(frames.bytes.len()).min(buffer.remaining());
            if length > 0 {
                buffer.put_slice(&frames.bytes[..length]);
                frames.bytes.advance(length);
                frames.pass -= length;
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; 4096];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut *inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                // The end, and what there is of a frame that will not be whole.
                frames.pass = frames.bytes.len();
                if frames.pass == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            frames.bytes.extend_from_slice(chunk.filled());
            frames.look();
        }
    }
}

writes_through!([T: AsyncWrite + Unpin] Legible<T>, inner);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// `:method: POST`, then an authority, by its place in the table and by its name, then
    /// `x: /%`.
    fn block(authority: &[u8], is_coded: bool) -> Vec<u8> {
        let length = u8::try_from(authority.len()).unwrap() | if is_coded { 0x80 } else { 0 };
        let value = [&[length], authority].concat();
        [
            &b"\x83\x41"[..],
            &value,
            b"\x40\x0a:authority",
            &value,
            b"\x00\x01x\x02/%",
        ]
        .concat()
    }

    fn frame(payload: &[u8], kind: u8, flags: u8) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// What comes out when `bytes` come in piece by piece.
    fn read(bytes: &[u8], piece: usize) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let pieces = bytes
                .chunks(piece)
                .map(|piece| Ok::<_, io::Error>(piece.to_vec()));
            let pieces = pieces.map(|piece| piece.map(bytes::Bytes::from));
            let pieces: Vec<_> = pieces.collect();
            let stream = futures_util::stream::iter(pieces);
            let reader = tokio_util::io::StreamReader::new(stream);
            let mut out = Vec::new();
            Legible::new(reader, true)
                .read_to_end(&mut out)
                .await
                .unwrap();
            out
        })
    }

    #[test]
    fn a_path_becomes_an_authority_of_the_same_length_and_nothing_else_changes() {
        let plain = (
            &b"%2Frun%2Fa/b.socket"[..],
            &b"-2Frun-2Fa-b.socket"[..],
            false,
        );
        // `%2F`, and `-2F`, in the code.
        let coded = (&[0x54, 0x58, 0x7f][..], &[0x58, 0x58, 0x7f][..], true);
        for (before, after, is_coded) in [plain, coded] {
            let (before, after) = (block(before, is_coded), block(after, is_coded));
            let padded = |block: &[u8]| [&[2], block, &b"%%"[..]].concat();
            let first = |block: &[u8]| [&b"\x00\x00\x00\x00\x07"[..], block].concat();
            let all = |block: &[u8]| {
                [
                    vec![b'/'; PREFACE],
                    frame(b"data %/", 0, 0),
                    frame(block, HEADERS, 4),
                    frame(&padded(block), HEADERS, PADDED),
                    frame(&first(block), HEADERS, PRIORITY),
                    frame(&vec![b'%'; 9000], 0, 0),
                ]
                .concat()
            };
            for piece in [1, 7, 100, 100_000] {
                assert!(read(&all(&before), piece) == all(&after), "by {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_comes_out_as_long_as_it_was(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            kind in 0u8..3,
            flags in any::<u8>(),
        ) {
            let bytes = [vec![0; PREFACE], frame(&bytes, kind, flags), bytes].concat();
            prop_assert_eq!(read(&bytes, 50).len(), bytes.len());
        }
    }
}
