//! Suites and their probes as they would be asked.

use super::style::{Style, Tone, one_line};
use super::wrap::wrapped;
use crate::flow::{Goal, Probe, Suite};
use crate::text::plural;

/// Longest prompt that is shown, in characters.
const PROMPT: usize = 200;

/// A line a suite, and with `alone` not set one a probe below it; the number of all at the end.
pub fn suite_list(suites: &[Suite], alone: bool, style: Style) -> String {
    let mut text = String::new();
    for suite in suites {
        let goal = match (suite.goal, suite.margin, suite.target) {
            (Goal::Keep, Some(margin), _) => format!("keep -{margin:.2}"),
            (Goal::Keep, None, _) => "keep".to_owned(),
            (Goal::Learn, _, Some(target)) => format!("learn {target:.2}"),
            (Goal::Learn, _, None) => "learn".to_owned(),
        };
        let probes = plural(suite.probes.len(), "probe");
        let head = [
            (Tone::Strong, suite.name.clone()),
            (Tone::Dim, format!("  {goal}  {probes}")),
        ];
        text.push_str(&wrapped("", &head, style));
        if !alone {
            let lines = suite.probes.iter().map(|probe| line(probe, style));
            text.push_str(&lines.collect::<String>());
        }
    }
    let probes: usize = suites.iter().map(|suite| suite.probes.len()).sum();
    let prompts = suites.iter().flat_map(|suite| &suite.probes);
    let prompts: usize = prompts.map(|probe| probe.prompts.len()).sum();
    text + &format!(
        "{} in {}, {}\n",
        plural(probes, "probe"),
        plural(suites.len(), "suite"),
        plural(prompts, "prompt")
    )
}

fn line(probe: &Probe, style: Style) -> String {
    let checks: Vec<String> = probe.checks.iter().map(|c| c.written_kind()).collect();
    let mut marks = probe.tags.clone();
    if probe.critical {
        marks.push("critical".to_owned());
    }
    marks.extend(checks);
    let prompt = probe.prompts.first().map_or("", String::as_str);
    let more = match probe.prompts.len() {
        0 | 1 => String::new(),
        count => format!(" and {}", plural(count - 1, "other wording")),
    };
    let spans = [
        (Tone::Plain, probe.id.clone()),
        (Tone::Dim, format!("  {}  ", marks.join(", "))),
        (Tone::Plain, format!("{:?}{more}", one_line(prompt, PROMPT))),
    ];
    wrapped("  ", &spans, style)
}
