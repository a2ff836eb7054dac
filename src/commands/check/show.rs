//! How findings are written: for people, for programs, for a GitHub workflow.

use std::fmt::Write as _;

use serde_json::json;

use super::veil::Veil;
use crate::catalogue::Catalogue;
use crate::resources::{Finding, Inspection, Position};

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// With the line and a mark under the place.
    #[default]
    Human,
    /// One JSON object.
    Json,
    /// Workflow commands, which GitHub shows beside the line.
    Github,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// All findings, the errors and the warnings of each file together, in the order of its lines.
fn sorted(inspection: &Inspection) -> Vec<(Severity, &Finding)> {
    let errors = inspection
        .errors
        .iter()
        .chain(&inspection.resources.mistakes)
        .map(|finding| (Severity::Error, finding));
    let warnings = inspection.resources.warnings.iter();
    let warnings = warnings
        .chain(&inspection.ignored)
        .map(|finding| (Severity::Warning, finding));
    let mut all: Vec<_> = errors.chain(warnings).collect();
    all.sort_by(|(_, a), (_, b)| (&a.file, a.at).cmp(&(&b.file, b.at)));
    all
}

impl Format {
    /// All that was found, and a sentence about it.
    pub(super) fn show(self, inspection: &Inspection) -> String {
        let findings = sorted(inspection);
        match self {
            Self::Human => human(&findings, inspection),
            Self::Json => json(&findings, inspection),
            Self::Github => findings.iter().map(github).collect(),
        }
    }
}

fn human(findings: &[(Severity, &Finding)], inspection: &Inspection) -> String {
    let mut out = String::new();
    let veil = Veil::new(&Catalogue::default());
    for (severity, finding) in findings {
        let place = match finding.at {
            Some(at) => format!("{}:{at}", finding.file.display()),
            None => finding.file.display().to_string(),
        };
        let _ = writeln!(
            out,
            "{place}: {}: {}",
            severity.as_str(),
            finding.message().replace('\n', " ")
        );
        let shown = finding
            .at
            .and_then(|at| Some((at, line(inspection.texts.get(&finding.file)?, at, &veil)?)));
        if let Some((at, line)) = shown {
            let number = at.line.to_string();
            let margin = " ".repeat(number.len());
            let mark = " ".repeat(at.column.saturating_sub(1));
            let _ = writeln!(out, " {number} | {line}\n {margin} | {mark}^");
        }
        if let Some(hint) = &finding.hint {
            let _ = writeln!(out, "   hint: {hint}");
        }
        out.push('\n');
    }
    let count = |severity| findings.iter().filter(|(s, _)| *s == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let components = inspection.resources.components.len() + inspection.resources.listed.len();
    let _ = writeln!(
        out,
        "{}, {}: {}, {}",
        plural(inspection.files, "file"),
        plural(components, "usable component"),
        plural(errors, "error"),
        plural(warnings, "warning"),
    );
    out
}

fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn json(findings: &[(Severity, &Finding)], inspection: &Inspection) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|(severity, finding)| {
            json!({
                "severity": severity.as_str(),
                "file": finding.file.display().to_string(),
                "line": finding.at.map(|at| at.line),
                "column": finding.at.map(|at| at.column),
                "component": finding.component,
                "setting": finding.key,
                "problem": finding.problem,
                "hint": finding.hint,
            })
        })
        .collect();
    let names = inspection.resources.components.iter();
    let names: Vec<_> = names.map(|component| component.name.to_string()).collect();
    let all = json!({
        "files": inspection.files,
        "components": names,
        "findings": findings,
    });
    format!("{all}\n")
}

fn github((severity, finding): &(Severity, &Finding)) -> String {
    let place = finding.at.map_or_else(String::new, |at| {
        format!(",line={},col={}", at.line, at.column)
    });
    let hint = finding.hint.as_ref();
    let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
    let message = escaped(&format!("{}{hint}", finding.message()), &[]);
    let file = escaped(&finding.file.display().to_string(), &[':', ',']);
    format!("::{} file={file}{place}::{message}\n", severity.as_str())
}

/// Escapes as workflow commands want it.
fn escaped(text: &str, more: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '\r' | '\n') || more.contains(&c) {
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// A line of a text, as it can be shown: without what would move the mark or the terminal.
fn line(text: &str, at: Position, veil: &Veil) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let line = veil.line(&lines, at.line.checked_sub(1)?)?;
    let shown = line.trim_start_matches('\u{feff}').trim_end();
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    Some(shown.chars().map(plain).collect())
}
