//! Values of the database as JSON, by their type: what the reference's driver and JSON encoder
//! make of them.
//!
//! | type | JSON |
//! |---|---|
//! | `bool`, integers, `oid`, floats, `numeric` | boolean, number (every digit); `numeric` NaN is `"NaN"` |
//! | text types, enums, `jsonpath` | string, with `<`, `>` and `&` written `\u003c`, `\u003e` and `\u0026` |
//! | `"char"` | its number |
//! | `json`, `jsonb` | the value itself, its digits and the order of its keys untouched |
//! | `bytea`, `macaddr` | base64 |
//! | `date`, `timestamp`, `timestamptz` | RFC 3339, the last in the zone of the process; infinity is 1 or -1 |
//! | `uuid` | array of 16 numbers |
//! | `inet`, `cidr` | `"10.0.0.1/32"` |
//! | `time`, `interval`, ranges, geometric types, bits, `tid` | object with the reference's fields |
//! | arrays, rows | array; the dimensions of an array are not kept |
//! | anything else | the text that the database shows, where it can be asked for it |
//!
//! What JSON has no word for (a float that is NaN or infinite, a year beyond 9999) is an error.

mod geometry;
mod nested;
mod network;
mod number;
mod text;
mod time;

use bytes::{Buf, TryGetError};
use jiff::tz::TimeZone;
use tokio_postgres::types::{FromSql, Kind, Type};

/// Why a value cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    /// JSON has no word for it.
    #[error("json: unsupported value: {0}")]
    NoWord(String),
    /// There is no rule for its type.
    #[error("no JSON form for a value of type {0}; cast it to text")]
    NoForm(String),
    /// A row in a row in a row, and so on.
    #[error("more than {NESTED_ROWS} rows within one another; cast them to text")]
    TooDeep,
    /// The bytes are not what the type's should be.
    #[error("a value is malformed: {0}")]
    Malformed(String),
}

impl From<TryGetError> for ValueError {
    fn from(error: TryGetError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<std::fmt::Error> for ValueError {
    fn from(error: std::fmt::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

type Outcome = Result<(), ValueError>;

/// Rows may hold rows, but not more than this many times: each costs a part of the stack.
const NESTED_ROWS: u32 = 64;

/// Writes values.
pub(crate) struct Writer {
    zone: TimeZone,
    /// In how many rows we are.
    depth: u32,
}

/// Writes the value that `raw` holds, in binary format, of one type.
type Write = fn(&Writer, &Type, &mut &[u8], &mut String) -> Outcome;

impl Writer {
    /// A writer that shows points in time in `zone`.
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self { zone, depth: 0 }
    }

    /// A writer for what is in a row.
    fn inside(&self) -> Result<Self, ValueError> {
        if self.depth == NESTED_ROWS {
            return Err(ValueError::TooDeep);
        }
        Ok(Self {
            zone: self.zone.clone(),
            depth: self.depth + 1,
        })
    }

    /// Whether values of this type can be written from their binary format.
    pub(crate) fn knows(ty: &Type) -> bool {
        rule(ty).is_some()
    }

    /// Writes one value; `None` is null.
    pub(crate) fn value(&self, ty: &Type, raw: Option<&[u8]>, out: &mut String) -> Outcome {
        let Some(mut raw) = raw else {
            out.push_str("null");
            return Ok(());
        };
        let write = rule(ty).ok_or_else(|| ValueError::NoForm(ty.name().to_owned()))?;
        write(self, ty, &mut raw, out)
    }
}

/// Writes a text that came without its type.
pub(crate) fn untyped(text: Option<&str>, out: &mut String) {
    match text {
        None => out.push_str("null"),
        Some(text) => text::string(text, out),
    }
}

/// How values of this type are written. The one list of what we know.
fn rule(ty: &Type) -> Option<Write> {
    Some(match *ty {
        Type::BOOL => |_, _, raw, out| number::display(raw.try_get_u8()? != 0, out),
        Type::CHAR => |_, _, raw, out| number::display(raw.try_get_u8()?, out),
        Type::INT2 => |_, _, raw, out| number::display(raw.try_get_i16()?, out),
        Type::INT4 => |_, _, raw, out| number::display(raw.try_get_i32()?, out),
        Type::INT8 => |_, _, raw, out| number::display(raw.try_get_i64()?, out),
        Type::OID | Type::XID | Type::CID => {
            |_, _, raw, out| number::display(raw.try_get_u32()?, out)
        }
        Type::XID8 => |_, _, raw, out| number::display(raw.try_get_u64()?, out),
        Type::FLOAT4 => |_, _, raw, out| number::float4(raw.try_get_f32()?, out),
        Type::FLOAT8 => |_, _, raw, out| number::float8(raw.try_get_f64()?, out),
        Type::NUMERIC => |_, _, raw, out| number::numeric(raw, out),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::VOID => TEXT,
        // After the number of the format's version.
        Type::JSONPATH => |writer, ty, raw, out| {
            raw.try_get_u8()?;
            TEXT(writer, ty, raw, out)
        },
        Type::JSON => EMBEDDED,
        Type::JSONB => |writer, ty, raw, out| {
            raw.try_get_u8()?;
            EMBEDDED(writer, ty, raw, out)
        },
        Type::BYTEA | Type::MACADDR | Type::MACADDR8 => |_, _, raw, out| {
            text::base64(raw, out);
            Ok(())
        },
        Type::DATE => |_, _, raw, out| time::date(raw.try_get_i32()?, out),
        Type::TIMESTAMP => |_, _, raw, out| time::timestamp(raw.try_get_i64()?, out),
        Type::TIMESTAMPTZ => {
            |writer, _, raw, out| time::timestamptz(raw.try_get_i64()?, &writer.zone, out)
        }
        Type::TIME => |_, _, raw, out| time::time(raw.try_get_i64()?, out),
        Type::INTERVAL => |_, _, raw, out| time::interval(raw, out),
        Type::UUID => |_, _, raw, out| network::uuid(raw, out),
        Type::INET | Type::CIDR => |_, _, raw, out| network::prefix(raw, out),
        Type::BIT | Type::VARBIT => |_, _, raw, out| network::bits(raw, out),
        Type::TID => |_, _, raw, out| network::tid(raw, out),
        Type::POINT => |_, _, raw, out| geometry::point(raw, out),
        Type::LINE => |_, _, raw, out| geometry::line(raw, out),
        Type::LSEG | Type::BOX => |_, _, raw, out| geometry::two_points(raw, out),
        Type::PATH => |_, _, raw, out| geometry::path(raw, out),
        Type::POLYGON => |_, _, raw, out| geometry::polygon(raw, out),
        Type::CIRCLE => |_, _, raw, out| geometry::circle(raw, out),
        Type::RECORD => |writer, _, raw, out| nested::record(writer, raw, out),
        // Their text is what the database calls a vector.
        Type::INT2_VECTOR | Type::OID_VECTOR => return None,
        _ => return nested_rule(ty),
    })
}

const TEXT: Write = |_, _, raw, out| {
    text::string(&String::from_utf8_lossy(raw), out);
    Ok(())
};

const EMBEDDED: Write = |_, _, raw, out| {
    text::embedded(&String::from_utf8_lossy(raw), out);
    Ok(())
};

fn nested_rule(ty: &Type) -> Option<Write> {
    match ty.kind() {
        Kind::Enum(_) => Some(TEXT),
        // What a database defines itself, the reference shows as text.
        _ if Type::from_oid(ty.oid()).is_none() => None,
        Kind::Array(item) if rule(item).is_some() => Some(nested::array),
        Kind::Range(item) if rule(item).is_some() => Some(nested::range),
        Kind::Multirange(item) if rule(item).is_some() => Some(nested::multirange),
        _ => None,
    }
}

/// The bytes of a column, whatever its type.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_reference_shows_as_text_is_left_to_the_database() {
        for ty in [
            Type::MONEY,
            Type::TS_VECTOR,
            Type::INT2_VECTOR,
            Type::REGCLASS,
            Type::MONEY_ARRAY,
            Type::XML,
            Type::TIMETZ,
        ] {
            assert!(!Writer::knows(&ty), "{ty}");
        }
        for ty in [
            Type::INT4_ARRAY,
            Type::NUM_RANGE,
            Type::INT4MULTI_RANGE,
            Type::INT4_RANGE_ARRAY,
            Type::JSONB_ARRAY,
        ] {
            assert!(Writer::knows(&ty), "{ty}");
        }
        let mood = Type::new(
            "mood".into(),
            99_999,
            Kind::Enum(vec!["ok".into()]),
            "public".into(),
        );
        assert!(Writer::knows(&mood));
        let moods = Type::new("_mood".into(), 99_998, Kind::Array(mood), "public".into());
        assert!(!Writer::knows(&moods));
    }

    proptest! {
        /// The server is not in our hands, and neither are its bytes.
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), zeros in 0usize..5) {
            let writer = Writer::new(TimeZone::UTC);
            let framed: Vec<u8> = std::iter::repeat_n(0, zeros).chain(bytes.iter().copied()).collect();
            for oid in 0..5_000 {
                if let Some(ty) = Type::from_oid(oid) {
                    let mut out = String::new();
                    let _ = writer.value(&ty, Some(&bytes), &mut out);
                    let _ = writer.value(&ty, Some(&framed), &mut out);
                }
            }
        }
    }
}
