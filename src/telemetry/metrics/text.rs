//! The text that Prometheus reads.

use std::fmt::Write as _;

use super::families::{Family, Kind};

/// What is counted of something that took long or was large.
pub(super) struct Distribution<'a> {
    /// The upper bounds of its buckets, in the unit it is counted in.
    pub(super) bounds: &'a [u64],
    /// How many fell into each, and above the last.
    pub(super) counts: &'a [u64],
    /// Of all of them.
    pub(super) sum: u64,
}

/// A document under way.
#[derive(Default)]
pub(super) struct Text {
    out: String,
}

impl Text {
    /// Begins a metric.
    pub(super) fn family(&mut self, family: &Family) {
        let (name, kind) = (family.name, family.kind.as_str());
        let _ = writeln!(
            self.out,
            "# HELP {name} {}\n# TYPE {name} {kind}",
            family.help
        );
    }

    /// One value; the labels are written already.
    pub(super) fn sample(&mut self, family: &Family, labels: &str, value: f64) {
        self.line(family.name, "", labels, "", value);
    }

    /// One histogram.
    pub(super) fn histogram(&mut self, family: &Family, labels: &str, it: &Distribution<'_>) {
        let shown = |value: u64| shown(family.kind, value);
        let mut so_far = 0;
        for (bound, count) in it.bounds.iter().zip(it.counts) {
            so_far += count;
            let le = format!("le=\"{}\"", shown(*bound));
            self.line(family.name, "_bucket", labels, &le, number(so_far));
        }
        let all = number(it.counts.iter().sum());
        self.line(family.name, "_bucket", labels, "le=\"+Inf\"", all);
        self.line(family.name, "_sum", labels, "", shown(it.sum));
        self.line(family.name, "_count", labels, "", all);
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &str, more: &str, value: f64) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        if !labels.is_empty() || !more.is_empty() {
            let comma = if labels.is_empty() || more.is_empty() {
                ""
            } else {
                ","
            };
            let _ = write!(self.out, "{{{labels}{comma}{more}}}");
        }
        let _ = writeln!(self.out, " {value}");
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

/// Microseconds are shown as milliseconds.
fn shown(kind: Kind, value: u64) -> f64 {
    match kind {
        Kind::Latency => number(value) / 1000.0,
        _ => number(value),
    }
}

/// As the format has all numbers; beyond 2^53 the last digits are lost.
#[expect(
    clippy::cast_precision_loss,
    reason = "the format has no other numbers"
)]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

/// Appends `name="value"`, escaped, after a comma where one is due.
pub(super) fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            c => labels.push(c),
        }
    }
    labels.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::families;
    use super::*;

    #[test]
    fn a_histogram_adds_up_and_is_in_milliseconds() {
        let mut text = Text::default();
        let mut labels = String::new();
        push_label(&mut labels, "component", "a \"b\"\\\n");
        text.family(&families::INPUT_LATENCIES);
        text.histogram(
            &families::INPUT_LATENCIES,
            &labels,
            &Distribution {
                bounds: &[1000, 2000],
                counts: &[2, 1, 1],
                sum: 12_500,
            },
        );
        let name = "dapr_component_input_binding_latencies";
        let component = r#"component="a \"b\"\\\n""#;
        let expected = format!(
            "# HELP {name} How long events took from the first attempt to the last, in \
             milliseconds.\n# TYPE {name} histogram\n{name}_bucket{{{component},le=\"1\"}} 2\n\
             {name}_bucket{{{component},le=\"2\"}} 3\n{name}_bucket{{{component},le=\"+Inf\"}} 4\n\
             {name}_sum{{{component}}} 12.5\n{name}_count{{{component}}} 4\n"
        );
        assert_eq!(text.finish(), expected);
    }
}
