//! Addresses, identifiers and bits in JSON.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Buf;

use super::number::display;
use super::{Outcome, ValueError, text};

/// Writes a `uuid` as the sixteen numbers it is made of.
pub(super) fn uuid(raw: &mut &[u8], out: &mut String) -> Outcome {
    out.push('[');
    for (index, byte) in raw.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        display(byte, out)?;
    }
    out.push(']');
    Ok(())
}

/// Writes an address with the length of its network.
pub(super) fn prefix(raw: &mut &[u8], out: &mut String) -> Outcome {
    let (_family, bits, _is_cidr) = (raw.try_get_u8()?, raw.try_get_u8()?, raw.try_get_u8()?);
    let address: IpAddr = match raw.try_get_u8()? {
        4 => Ipv4Addr::from(raw.try_get_u32()?).into(),
        16 => Ipv6Addr::from(raw.try_get_u128()?).into(),
        length => {
            return Err(ValueError::Malformed(format!(
                "an address of {length} bytes"
            )));
        }
    };
    display(format_args!("\"{address}/{bits}\""), out)
}

/// Writes a string of bits.
pub(super) fn bits(raw: &mut &[u8], out: &mut String) -> Outcome {
    let length = raw.try_get_i32()?;
    out.push_str("{\"Bytes\":");
    text::base64(raw, out);
    display(format_args!(r#","Len":{length},"Valid":true}}"#), out)
}

/// Writes the place of a row in its table.
pub(super) fn tid(raw: &mut &[u8], out: &mut String) -> Outcome {
    let (block, offset) = (raw.try_get_u32()?, raw.try_get_u16()?);
    display(
        format_args!(r#"{{"BlockNumber":{block},"OffsetNumber":{offset},"Valid":true}}"#),
        out,
    )
}
