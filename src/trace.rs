//! W3C trace contexts: what is one, and a fresh one.

/// `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zero.
pub(crate) fn is_trace_parent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    };
    let non_zero = |part: &str| part.bytes().any(|c| c != b'0');
    match parts.as_slice() {
        [version, trace, span, flags, rest @ ..] => {
            hex(version, 2)
                && *version != "ff"
                && (rest.is_empty() || *version != "00")
                && hex(trace, 32)
                && non_zero(trace)
                && hex(span, 16)
                && non_zero(span)
                && hex(flags, 2)
        }
        _ => false,
    }
}

/// A valid context of its own that nobody samples: better than the all-zero one that the
/// reference passes on, which W3C calls invalid.
pub(crate) fn fresh_parent() -> String {
    let mut parent = *b"00-................................-................-00";
    write_hex(&fastrand::u128(1..).to_be_bytes(), &mut parent[3..35]);
    write_hex(&fastrand::u64(1..).to_be_bytes(), &mut parent[36..52]);
    String::from_utf8_lossy(&parent).into_owned()
}

/// By hand, because nearly every request and every event needs one, and formatting takes longer
/// than all the rest of it.
fn write_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, digits) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_parent_is_carried_on() {
        assert!(is_trace_parent(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        assert!(is_trace_parent(
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"
        ));
        for text in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_trace_parent(text), "{text}");
        }
        let fresh = fresh_parent();
        assert!(is_trace_parent(&fresh) && fresh.ends_with("-00"), "{fresh}");
    }
}
