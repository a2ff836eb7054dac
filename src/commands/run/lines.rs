//! What processes print, line by line.

use std::io::{IsTerminal, Write as _};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// A longer line is cut into several.
const LONGEST: usize = 64 << 10;

/// Gives each line to `take`, without its end, until there are no more.
pub(super) async fn each(output: impl AsyncRead + Unpin, mut take: impl FnMut(&[u8])) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    // Whether what comes belongs to a line that was cut.
    let mut is_rest = false;
    loop {
        let part = match output.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(part) => part,
        };
        let end = part.iter().position(|byte| *byte == b'\n');
        let room = LONGEST - line.len();
        let taken = end.unwrap_or(part.len()).min(room);
        line.extend_from_slice(&part[..taken]);
        let ends = end == Some(taken);
        output.consume(taken + usize::from(ends));
        if ends || line.len() == LONGEST {
            if !(line.is_empty() && is_rest) {
                take(&line);
            }
            is_rest = !ends;
            line.clear();
        }
    }
    if !line.is_empty() {
        take(&line);
    }
}

/// Prints a line in one go, so that those of several processes do not mix.
pub(super) fn print(prefix: &str, line: &[u8]) {
    let whole = [prefix.as_bytes(), line, b"\n"].concat();
    let mut out = std::io::stdout().lock();
    // A reader that is gone is no reason to end any less cleanly.
    let _ = out.write_all(&whole);
    let _ = out.flush();
}

/// Prints a line of our own.
pub(super) fn say(line: &str) {
    print(&prefix("BINDERY", "36"), line.as_bytes());
}

/// What stands before the lines of a process; coloured on a terminal only.
pub(super) fn prefix(name: &str, colour: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
    {
        format!("\u{1b}[{colour}m{}\u{1b}[0m ", plain(name).trim_end())
    } else {
        plain(name)
    }
}

/// The same, without a colour whatever it is printed on.
pub(super) fn plain(name: &str) -> String {
    format!("== {name} == ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(output: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let reading = each(output, |line| lines.push(line.to_vec()));
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(reading);
        lines
    }

    #[test]
    fn lines_are_taken_apart_and_the_last_needs_no_end() {
        assert_eq!(lines_of(b"a\n\nbc"), [&b"a"[..], b"", b"bc"]);
        assert!(lines_of(b"").is_empty());
    }

    #[test]
    fn a_line_without_end_is_cut_into_pieces() {
        let long = vec![b'x'; 2 * LONGEST + 1];
        let lengths: Vec<usize> = lines_of(&long).iter().map(Vec::len).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, 1]);
        let mut exact = vec![b'x'; LONGEST];
        exact.extend_from_slice(b"\ny\n");
        let lengths: Vec<usize> = lines_of(&exact).iter().map(Vec::len).collect();
        assert_eq!(lengths, [LONGEST, 1], "its end is no line of its own");
    }
}
