//! When a circuit breaker opens: a CEL expression over what it has counted (runtime §4.1).
//!
//! The library's parser and interpreter recurse without a limit of their own, and an overflown
//! stack ends a process. So expressions are short and shallow here, and run on a stack that is
//! large enough for the largest of them.

use std::panic::catch_unwind;
use std::sync::Arc;

use bindery_actors::{Counts, Trip};
use cel::{Context, Program, Value};

/// The longest expression.
const MAX_LENGTH: usize = 1024;
/// The deepest nesting of brackets.
const MAX_DEPTH: usize = 32;
/// What the largest expression needs of a stack, generously: a quarter of it was measured.
const STACK: usize = 64 << 20;

/// What an expression can ask for.
const VARIABLES: [&str; 5] = [
    "requests",
    "totalSuccesses",
    "totalFailures",
    "consecutiveSuccesses",
    "consecutiveFailures",
];

/// What expressions are tried with.
const EXAMPLE: Counts = Counts {
    requests: 11,
    total_successes: 5,
    total_failures: 6,
    consecutive_successes: 2,
    consecutive_failures: 3,
};

/// When nothing is said: more than five failures in a row.
pub(super) fn default() -> Arc<Trip> {
    Arc::new(|counts| counts.consecutive_failures > 5)
}

/// Compiles an expression. One that fails or is no boolean never opens the breaker.
///
/// # Errors
/// When it is not CEL, or asks for what there is not.
pub(super) fn compile(text: &str) -> Result<Arc<Trip>, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    if depth(text) > MAX_DEPTH {
        return Err(format!("its brackets are nested deeper than {MAX_DEPTH}"));
    }
    let compiling = || catch_unwind(|| Program::compile(text));
    let program = match stacker::grow(STACK, compiling) {
        Ok(Ok(program)) => program,
        Ok(Err(error)) => return Err(first_line(&error.to_string())),
        Err(_) => return Err("it is no CEL expression".into()),
    };
    // Evaluated once, so that a wrong name or type is found now and not at the first failure.
    match evaluate(&program, &EXAMPLE)? {
        Value::Bool(_) => {}
        other => return Err(format!("it gives {}, not a boolean", other.type_of())),
    }
    Ok(Arc::new(move |counts| {
        matches!(evaluate(&program, counts), Ok(Value::Bool(true)))
    }))
}

fn evaluate(program: &Program, counts: &Counts) -> Result<Value, String> {
    let values = [
        counts.requests,
        counts.total_successes,
        counts.total_failures,
        counts.consecutive_successes,
        counts.consecutive_failures,
    ];
    let evaluating = || {
        let mut context = Context::default();
        for (name, value) in VARIABLES.into_iter().zip(values) {
            context.add_variable_from_value(name, i64::from(value));
        }
        program.execute(&context).map_err(|error| error.to_string())
    };
    let evaluating = std::panic::AssertUnwindSafe(evaluating);
    stacker::grow(STACK, || catch_unwind(evaluating))
        .unwrap_or_else(|_| Err("it cannot be evaluated".into()))
}

fn depth(text: &str) -> usize {
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The library's errors go on with a drawing of the place.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    line.trim_start_matches("ERROR: <input>:").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opens(text: &str, counts: Counts) -> bool {
        compile(text).expect(text)(&counts)
    }

    #[test]
    fn expressions_see_what_was_counted() {
        let counts = Counts {
            requests: 10,
            total_successes: 4,
            total_failures: 6,
            consecutive_successes: 0,
            consecutive_failures: 3,
        };
        for (text, expected) in [
            ("consecutiveFailures > 2", true),
            ("consecutiveFailures > 3", false),
            ("requests >= 10 && totalFailures * 2 > requests", true),
            ("totalFailures / requests > 0", false),
            ("double(totalFailures) / double(requests) >= 0.6", true),
            ("totalSuccesses == 4 || consecutiveSuccesses > 100", true),
        ] {
            assert_eq!(opens(text, counts), expected, "{text}");
        }
        assert!(default()(&Counts {
            consecutive_failures: 6,
            ..counts
        }));
        assert!(!default()(&Counts {
            consecutive_failures: 5,
            ..counts
        }));
    }

    #[test]
    fn what_is_no_condition_is_told() {
        for (text, problem) in [
            ("consecutiveFailures >", "mismatched input"),
            ("consecutiveErrors > 5", "consecutiveErrors"),
            ("consecutiveFailures", "not a boolean"),
            ("consecutiveFailures > 'x'", ""),
            ("", ""),
            (&"(".repeat(40), "nested deeper than 32"),
            (&"1+".repeat(600), "longer than 1024"),
        ] {
            let error = compile(text).err().expect(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    /// The worst that the limits let through needs no more stack than it has.
    #[test]
    fn the_largest_expressions_do_not_overflow_the_stack() {
        let nested =
            |open: &str, close: &str| format!("{}true{}", open.repeat(32), close.repeat(32));
        let chain = |part: &str| {
            let mut text = String::from("true");
            while text.len() + part.len() <= MAX_LENGTH {
                text.push_str(part);
            }
            text
        };
        for text in [
            nested("!(", ")"),
            nested("(", ")"),
            chain("&&true"),
            chain("==true"),
            chain("?true:true"),
            format!("{}true", "!".repeat(1000)),
            format!("{}requests>0", "0+".repeat(500)),
            nested("[", "]"),
        ] {
            drop(compile(&text));
        }
    }

    proptest! {
        #[test]
        fn no_text_ends_the_process(text in "[a-z0-9 .()\\[\\]{}!&|<>=+*/%'\"?:,-]{0,60}") {
            if let Ok(trip) = compile(&text) {
                trip(&Counts::default());
            }
        }
    }
}
