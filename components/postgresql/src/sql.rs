//! Just enough SQL to know what is text of the statement and what is not: where placeholders
//! are, where one statement ends, and with which word it begins. Strings, quoted names, dollar
//! quotes and comments are skipped as the server skips them.

/// What a piece of SQL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// White space or a comment.
    Blank,
    /// A keyword or a plain name.
    Word,
    /// `$1` and so on.
    Placeholder(usize),
    /// The `;` between statements.
    Separator,
    /// Anything else.
    Other,
}

/// Cuts SQL into pieces that are, one after another, the whole text.
struct Pieces<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (Kind, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, length) = first_piece(self.rest)?;
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some((kind, piece))
    }
}

fn pieces(sql: &str) -> Pieces<'_> {
    Pieces { rest: sql }
}

fn first_piece(text: &str) -> Option<(Kind, usize)> {
    let first = text.chars().next()?;
    Some(match first {
        c if c.is_ascii_whitespace() => (Kind::Blank, 1),
        '-' if text.starts_with("--") => (Kind::Blank, text.find('\n').unwrap_or(text.len())),
        '/' if text.starts_with("/*") => (Kind::Blank, comment(text)),
        ';' => (Kind::Separator, 1),
        '\'' | '"' => (Kind::Other, quoted(text, false)),
        '$' => dollar(text),
        c if begins_word(c) => {
            let length = text.find(|c| !continues_word(c)).unwrap_or(text.len());
            let (word, after) = text.split_at(length);
            if word.eq_ignore_ascii_case("e") && after.starts_with('\'') {
                (Kind::Other, length + quoted(after, true))
            } else {
                (Kind::Word, length)
            }
        }
        c => (Kind::Other, c.len_utf8()),
    })
}

fn begins_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn continues_word(c: char) -> bool {
    begins_word(c) || c.is_ascii_digit() || c == '$'
}

/// How long a comment is; they nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

/// How long the quoted text is that `text` begins with; a doubled quote is part of it.
fn quoted(text: &str, backslashes: bool) -> usize {
    let bytes = text.as_bytes();
    let (quote, mut at) = (bytes[0], 1);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if backslashes => at += 2,
            c if c == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// A placeholder, a dollar-quoted text, or a lone dollar.
fn dollar(text: &str) -> (Kind, usize) {
    let after = &text[1..];
    let digits = after
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(after.len());
    if digits > 0 {
        // A number that is out of range is one that no argument has.
        return (
            Kind::Placeholder(after[..digits].parse().unwrap_or(usize::MAX)),
            1 + digits,
        );
    }
    let tag = after
        .find(|c| c == '$' || !continues_word(c))
        .filter(|end| after[*end..].starts_with('$'));
    let Some(tag) = tag else {
        return (Kind::Other, 1);
    };
    let (mark, body) = text.split_at(tag + 2);
    let length = body
        .find(mark)
        .map_or(text.len(), |end| mark.len() + end + mark.len());
    (Kind::Other, length)
}

/// The statements of `sql` that are not empty, without the `;` and the blanks around them.
pub(crate) fn statements(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    // From where to where the statement reaches that is being read.
    let mut current: Option<(usize, usize)> = None;
    let mut at = 0;
    for (kind, piece) in pieces(sql) {
        let end = at + piece.len();
        match kind {
            Kind::Blank => {}
            Kind::Separator => statements.extend(current.take().map(|(from, to)| &sql[from..to])),
            _ => current = Some((current.map_or(at, |(from, _)| from), end)),
        }
        at = end;
    }
    statements.extend(current.map(|(from, to)| &sql[from..to]));
    statements
}

/// Whether one of the statements begins a transaction, and so may leave it open.
pub(crate) fn begins_transaction(sql: &str) -> bool {
    statements(sql).into_iter().any(|statement| {
        let first = pieces(statement).next();
        matches!(first, Some((Kind::Word, word)) if ["begin", "start"].iter().any(|begin| word.eq_ignore_ascii_case(begin)))
    })
}

/// How many arguments the placeholders of `sql` ask for.
pub(crate) fn placeholders(sql: &str) -> usize {
    pieces(sql)
        .filter_map(|(kind, _)| match kind {
            Kind::Placeholder(number) => Some(number),
            _ => None,
        })
        .max()
        .unwrap_or(0)
}

/// `sql` with each placeholder replaced by its literal: the first for `$1`, and so on. There
/// must be as many as [`placeholders`] says.
pub(crate) fn inline(sql: &str, literals: &[String]) -> String {
    let mut out = String::with_capacity(sql.len());
    for (kind, piece) in pieces(sql) {
        let literal = match kind {
            Kind::Placeholder(number) => {
                number.checked_sub(1).and_then(|index| literals.get(index))
            }
            _ => None,
        };
        match literal {
            // The blanks keep it from growing together with what stands beside it.
            Some(literal) => out.extend([" ", literal, " "]),
            None => out.push_str(piece),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_end_at_a_separator_that_is_one() {
        for (sql, expected) in [
            ("", &[][..]),
            (" ; ;-- nothing\n", &[]),
            ("select 1", &["select 1"]),
            ("select 1;", &["select 1"]),
            (
                "/* a; */ select 1 -- b;\n;\nselect 2 /* c /* d; */ ; */",
                &["select 1", "select 2"],
            ),
            (
                "select ';', \";\", $$;$$, $a$;$$;$a$, e'\\';'; select 2",
                &["select ';', \";\", $$;$$, $a$;$$;$a$, e'\\';'", "select 2"],
            ),
            ("select 'it''s;'", &["select 'it''s;'"]),
            ("select '\\'; select 2", &["select '\\'", "select 2"]),
            ("select 'open; select 2", &["select 'open; select 2"]),
        ] {
            assert_eq!(statements(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_transaction_begins_with_a_word_that_says_so() {
        for sql in [
            "begin",
            "BEGIN;",
            " -- x\n/* y */ Start transaction",
            "select 1; begin",
        ] {
            assert!(begins_transaction(sql), "{sql}");
        }
        for sql in [
            "select 'begin'",
            "commit",
            "select begin from t",
            "do $$ begin; end $$",
            "beginning",
        ] {
            assert!(!begins_transaction(sql), "{sql}");
        }
    }

    #[test]
    fn placeholders_are_counted_where_they_are_placeholders() {
        assert_eq!(
            placeholders("select $1, $3, '$4', \"$5\", $x$ $6 $x$, a$7, -- $8\n e'\\'$9'"),
            3
        );
        assert_eq!(placeholders("select 1"), 0);
        assert_eq!(placeholders("select $99999999999999999999999"), usize::MAX);
    }

    #[test]
    fn a_literal_takes_the_place_of_its_placeholder_and_no_other() {
        let literals = ["(-1)".to_owned(), "'$1'".to_owned()];
        assert_eq!(
            inline("select-$1,$2,'$1',$10 from a$1", &literals),
            "select- (-1) , '$1' ,'$1',$10 from a$1"
        );
        assert_eq!(inline("select $0", &literals), "select $0");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_none_is_lost(sql in "[a-zE'\"$;/*\\\\ \\-\n1é]{0,60}") {
            let joined: String = pieces(&sql).map(|(_, piece)| piece).collect();
            prop_assert_eq!(&joined, &sql);
            prop_assert_eq!(inline(&sql, &[]), sql.clone());
            let _ = (statements(&sql), begins_transaction(&sql), placeholders(&sql));
        }
    }
}
