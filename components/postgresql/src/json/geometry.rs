//! Geometric types in JSON.

use bytes::Buf;

use super::number::{display, float8};
use super::{Outcome, ValueError};

/// Writes a point, which alone among its kin is a text: `"(1,2.5)"`.
pub(super) fn point(raw: &mut &[u8], out: &mut String) -> Outcome {
    let (x, y) = (raw.try_get_f64()?, raw.try_get_f64()?);
    display(format_args!("\"({x},{y})\""), out)
}

/// Writes a line by its equation.
pub(super) fn line(raw: &mut &[u8], out: &mut String) -> Outcome {
    for field in ["{\"A\":", ",\"B\":", ",\"C\":"] {
        out.push_str(field);
        float8(raw.try_get_f64()?, out)?;
    }
    out.push_str(",\"Valid\":true}");
    Ok(())
}

/// Writes a segment by its ends, or a box by its corners.
pub(super) fn two_points(raw: &mut &[u8], out: &mut String) -> Outcome {
    out.push_str("{\"P\":");
    points(2, raw, out)?;
    out.push_str(",\"Valid\":true}");
    Ok(())
}

/// Writes a path, open or closed.
pub(super) fn path(raw: &mut &[u8], out: &mut String) -> Outcome {
    let closed = raw.try_get_u8()? != 0;
    out.push_str("{\"P\":");
    points(raw.try_get_i32()?, raw, out)?;
    display(format_args!(r#","Closed":{closed},"Valid":true}}"#), out)
}

/// Writes a polygon by its corners.
pub(super) fn polygon(raw: &mut &[u8], out: &mut String) -> Outcome {
    out.push_str("{\"P\":");
    points(raw.try_get_i32()?, raw, out)?;
    out.push_str(",\"Valid\":true}");
    Ok(())
}

/// Writes a circle by its centre and radius.
pub(super) fn circle(raw: &mut &[u8], out: &mut String) -> Outcome {
    out.push_str("{\"P\":");
    vector(raw, out)?;
    out.push_str(",\"R\":");
    float8(raw.try_get_f64()?, out)?;
    out.push_str(",\"Valid\":true}");
    Ok(())
}

fn points(count: i32, raw: &mut &[u8], out: &mut String) -> Outcome {
    if count < 0 {
        return Err(ValueError::Malformed(format!("{count} points")));
    }
    out.push('[');
    for index in 0..count {
        if index > 0 {
            out.push(',');
        }
        vector(raw, out)?;
    }
    out.push(']');
    Ok(())
}

fn vector(raw: &mut &[u8], out: &mut String) -> Outcome {
    out.push_str("{\"X\":");
    float8(raw.try_get_f64()?, out)?;
    out.push_str(",\"Y\":");
    float8(raw.try_get_f64()?, out)?;
    out.push('}');
    Ok(())
}
