//! Values that hold values: arrays, rows, ranges.

use bytes::Buf;
use tokio_postgres::types::{Kind, Type};

use super::number::display;
use super::{Outcome, ValueError, Writer};

/// Takes a value with its length in front; a length of -1 is null.
fn framed<'a>(raw: &mut &'a [u8]) -> Result<Option<&'a [u8]>, ValueError> {
    let length = raw.try_get_i32()?;
    let Ok(length) = usize::try_from(length) else {
        return Ok(None);
    };
    let (value, rest) = raw
        .split_at_checked(length)
        .ok_or_else(|| ValueError::Malformed(format!("{length} bytes of {}", raw.len())))?;
    *raw = rest;
    Ok(Some(value))
}

/// Writes what is left of `raw` as an array, each value by `write`.
fn items<'a>(
    raw: &mut &'a [u8],
    out: &mut String,
    mut write: impl FnMut(Option<&'a [u8]>, &mut String) -> Outcome,
) -> Outcome {
    out.push('[');
    let mut is_first = true;
    while !raw.is_empty() {
        if !is_first {
            out.push(',');
        }
        is_first = false;
        write(framed(raw)?, out)?;
    }
    out.push(']');
    Ok(())
}

/// Writes an array. Its items come in one row, whatever its dimensions, as in the reference.
pub(super) fn array(writer: &Writer, ty: &Type, raw: &mut &[u8], out: &mut String) -> Outcome {
    let Kind::Array(item) = ty.kind() else {
        return Err(ValueError::NoForm(ty.name().to_owned()));
    };
    let (dimensions, _has_nulls, _item) =
        (raw.try_get_i32()?, raw.try_get_i32()?, raw.try_get_u32()?);
    for _ in 0..dimensions {
        let (_length, _lower_bound) = (raw.try_get_i32()?, raw.try_get_i32()?);
    }
    items(raw, out, |value, out| writer.value(item, value, out))
}

/// Writes a multirange as an array of ranges.
pub(super) fn multirange(writer: &Writer, ty: &Type, raw: &mut &[u8], out: &mut String) -> Outcome {
    let Kind::Multirange(item) = ty.kind() else {
        return Err(ValueError::NoForm(ty.name().to_owned()));
    };
    let _count = raw.try_get_i32()?;
    items(raw, out, |value, out| {
        range_of(item, writer, &mut value.unwrap_or_default(), out)
    })
}

/// Writes a row as an array of its fields, each of which says its type.
pub(super) fn record(writer: &Writer, raw: &mut &[u8], out: &mut String) -> Outcome {
    let (writer, fields) = (writer.inside()?, raw.try_get_i32()?);
    out.push('[');
    for index in 0..fields {
        if index > 0 {
            out.push(',');
        }
        let oid = raw.try_get_u32()?;
        let ty = Type::from_oid(oid).ok_or_else(|| ValueError::NoForm(format!("number {oid}")))?;
        writer.value(&ty, framed(raw)?, out)?;
    }
    out.push(']');
    Ok(())
}

/// Writes a range.
pub(super) fn range(writer: &Writer, ty: &Type, raw: &mut &[u8], out: &mut String) -> Outcome {
    match ty.kind() {
        Kind::Range(item) => range_of(item, writer, raw, out),
        _ => Err(ValueError::NoForm(ty.name().to_owned())),
    }
}

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_UNBOUNDED: u8 = 0x08;
const UPPER_UNBOUNDED: u8 = 0x10;

/// A bound's kind is written as the reference's letter for it, and a letter as its number.
fn range_of(item: &Type, writer: &Writer, raw: &mut &[u8], out: &mut String) -> Outcome {
    let flags = raw.try_get_u8()?;
    let has = |flag| flags & flag != 0;
    let kind = |unbounded, inclusive| match () {
        () if has(EMPTY) => b'E',
        () if has(unbounded) => b'U',
        () if has(inclusive) => b'i',
        () => b'e',
    };
    let lower = kind(LOWER_UNBOUNDED, LOWER_INCLUSIVE);
    let upper = kind(UPPER_UNBOUNDED, UPPER_INCLUSIVE);
    for (field, kind) in [("{\"Lower\":", lower), (",\"Upper\":", upper)] {
        out.push_str(field);
        let is_bounded = matches!(kind, b'i' | b'e');
        let value = if is_bounded { framed(raw)? } else { None };
        writer.value(item, value, out)?;
    }
    display(
        format_args!(r#","LowerType":{lower},"UpperType":{upper},"Valid":true}}"#),
        out,
    )
}
