//! The verdict as a comment on a pull request: what a reviewer wants to know first, the rest folded.
//!
//! GitHub refuses a comment of more than 65,536 characters, so suites that pass, and then what is
//! folded, are left out, and said to be, until the comment is below 65,000.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

use super::baseline::baseline_markdown;
use super::exam::exam_markdown;
use super::style::{difference, interval, one_line, score};
use crate::flow::{
    Candidate, CaseComparison, Comparison, Decision, Goal, NextCommands, ProbeComparison,
    SuiteState, SuiteVerdict, Verdict,
};
use crate::text::{ellipsize, harmless, plural};

/// Most characters of the whole.
pub const MOST_CHARACTERS: usize = 65_000;
/// Probes that are shown with their answers.
const WORST: usize = 5;
/// Changed snapshots that are named.
const NAMED: usize = 20;
/// Longest quoted text of one answer or prompt, in characters.
const LONGEST: usize = 1500;
/// Reasons, causes, and notes that are told.
const REASONS: usize = 10;
/// Longest of them, in characters.
const SENTENCE: usize = 400;
/// Characters of an interval bar.
const BAR: usize = 21;
/// Characters that the rows of suites may take: the rest is for what was lost.
const ROWS: usize = 40_000;
/// Longest name of a suite.
const NAME: usize = 100;

/// The comment. `changed` names each probe whose answer is not the accepted one, with the reason;
/// `None` where none was accepted yet. `next` shows the same comparison on one's own machine.
pub fn markdown(
    comparison: &Comparison,
    candidate: &Candidate,
    changed: Option<&[(String, String)]>,
    next: &NextCommands,
) -> String {
    let mut text = head(comparison, candidate);
    text.push_str(&suites(comparison, candidate));
    text.push_str(&legend(next));
    text.push_str(&baseline_markdown(comparison.baseline.as_ref(), escape));
    let mut folded: Vec<String> = worst(candidate).into_iter().map(folded_probe).collect();
    if !folded.is_empty() {
        folded.insert(0, "\n**Largest losses**\n".to_owned());
    }
    let tail = changed.map_or_else(String::new, snapshots) + &notes(candidate);
    let room = MOST_CHARACTERS.saturating_sub(tail.chars().count() + 200);
    let mut left_out = 0;
    let mut length = text.chars().count();
    for part in folded {
        let part_length = part.chars().count();
        if length + part_length > room {
            left_out += 1;
            continue;
        }
        length += part_length;
        text.push_str(&part);
    }
    if left_out > 0 {
        let probes = plural(left_out, "probe");
        let _ = writeln!(text, "\n{probes} left out: the comment would be too long.");
    }
    text.push_str(&tail);
    text
}

fn mark(verdict: &Verdict) -> &'static str {
    match verdict.decision {
        _ if !verdict.learned_enough() => "❌",
        Decision::Pass => "✅",
        Decision::Regression => "❌",
        Decision::Inconclusive => "⚠️",
    }
}

fn head(comparison: &Comparison, candidate: &Candidate) -> String {
    let verdict = &candidate.verdict;
    let mut text = format!(
        "## {} qeval: {}\n\n`{}` against `{}`\n\n",
        mark(verdict),
        verdict.headline(),
        inline(&candidate.subject.label()),
        inline(&comparison.base_label())
    );
    text.push_str(&exam_markdown(comparison.exam.as_ref(), plain));
    let missed: Vec<String> = verdict.missed().map(SuiteVerdict::explained).collect();
    let reasons = missed.iter().chain(&verdict.reasons);
    for reason in reasons.chain(&verdict.could_not_measure).take(REASONS) {
        let _ = writeln!(text, "- {}", plain(&one_line(reason, SENTENCE)));
    }
    for cause in candidate.causes.iter().take(REASONS) {
        let _ = writeln!(text, "- cause: {}", plain(&one_line(cause, SENTENCE)));
    }
    text.push('\n');
    text
}

fn suites(comparison: &Comparison, candidate: &Candidate) -> String {
    let verdict = &candidate.verdict;
    let pooled = Some(&verdict.pooled).filter(|p| p.estimate.is_some());
    let rows: Vec<&SuiteVerdict> = verdict.suites.iter().chain(pooled).collect();
    let scale = scale(&rows);
    let mut text = format!(
        "| suite | goal | probes | base | candidate | difference | −{scale:.1} … 0 … +{scale:.1} | noise | verdict |\n\
         |---|---|--:|--:|--:|--:|:-:|--:|---|\n"
    );
    let lines: Vec<String> = rows
        .iter()
        .map(|row| line(comparison, verdict, row, scale))
        .collect();
    // What passes goes first where there is no room, the last suites before the first ones.
    let passes = |row: &SuiteVerdict| matches!(row.state, SuiteState::Pass | SuiteState::Reached);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&i| (passes(rows[i]) && !rows[i].is_pooled(), i));
    let mut shown = vec![false; rows.len()];
    let mut room = ROWS;
    for i in order {
        let length = lines[i].chars().count();
        shown[i] = length <= room;
        room -= length.min(room);
    }
    let of = |i: &usize| shown[*i];
    (0..rows.len())
        .filter(of)
        .for_each(|i| text.push_str(&lines[i]));
    let left: Vec<usize> = (0..rows.len()).filter(|i| !shown[*i]).collect();
    if !left.is_empty() {
        let passing = left.iter().filter(|&&i| passes(rows[i])).count();
        let _ = writeln!(
            text,
            "\n{} left out, of which {passing} pass: the comment would be too long.",
            plural(left.len(), "suite")
        );
    }
    text
}

/// What the bars mean, and how to see the comparison again.
fn legend(next: &NextCommands) -> String {
    format!(
        "\n<sub>`├─●─┤` the difference and its ends, each at 95 %; `┊` no difference; `!` the margin. \
         Again, with the answers: <code>{}</code></sub>\n",
        escape(&next.diff())
    )
}

/// The row of a suite.
fn line(comparison: &Comparison, verdict: &Verdict, row: &SuiteVerdict, scale: f64) -> String {
    let name = match row.suite.as_str() {
        SuiteVerdict::POOLED => "**all keep**".to_owned(),
        name => plain(&ellipsize(name, NAME)),
    };
    let goal = match (row.goal, row.margin, row.target) {
        (Goal::Keep, Some(margin), _) => format!("keep −{margin:.2}"),
        (Goal::Learn, _, Some(target)) => format!("learn {target:.2}"),
        (Goal::Keep, ..) => "keep".into(),
        (Goal::Learn, ..) => "learn".into(),
    };
    let noise = comparison
        .noise_of(verdict, row)
        .map_or_else(|| "–".into(), score);
    let sign = match row.state {
        SuiteState::Pass | SuiteState::Reached => "✅",
        SuiteState::Regression => "❌",
        _ => "⚠️",
    };
    let cells = match &row.estimate {
        None => "– | – | – | – | –".to_owned(),
        Some(e) => format!(
            "{} | {} | {} | {} | `{}`",
            e.probes,
            score(e.base_mean),
            score(e.candidate_mean),
            interval(e),
            bar(e.lower, e.difference, e.upper, row.margin, scale)
        ),
    };
    format!(
        "| {name} | {goal} | {cells} | {noise} | {sign} {} |\n",
        row.state
    )
}

/// Half width of the bars: the largest end or margin, in tenths.
fn scale(rows: &[&SuiteVerdict]) -> f64 {
    let ends = rows.iter().flat_map(|row| {
        let e = row.estimate.as_ref();
        [
            e.map_or(0.0, |e| e.lower.abs()),
            e.map_or(0.0, |e| e.upper.abs()),
            row.margin.unwrap_or(0.0),
        ]
    });
    let most = ends.fold(0.1_f64, f64::max);
    (most * 10.0).ceil() / 10.0
}

/// An interval as characters: `├`, `┤` its ends, `●` the difference, `┊` zero, `!` the margin.
fn bar(lower: f64, middle: f64, upper: f64, margin: Option<f64>, scale: f64) -> String {
    let place = |value: f64| {
        let share = (value.clamp(-scale, scale) + scale) / (2.0 * scale);
        (share * (BAR - 1) as f64).round() as usize
    };
    let mut cells = vec!['·'; BAR];
    cells[place(0.0)] = '┊';
    if let Some(margin) = margin {
        cells[place(-margin)] = '!';
    }
    let (from, to) = (place(lower), place(upper));
    for cell in &mut cells[from..=to] {
        *cell = '─';
    }
    cells[from] = '├';
    cells[to] = '┤';
    cells[place(middle)] = '●';
    cells.into_iter().collect()
}

/// The probes with the largest losses, the worst first.
fn worst(candidate: &Candidate) -> Vec<(&ProbeComparison, f64)> {
    let keep = |suite: &str| {
        let mut suites = candidate.verdict.suites.iter();
        suites.any(|s| s.suite == suite && s.goal == Goal::Keep)
    };
    let mut lost: Vec<(&ProbeComparison, f64)> = candidate
        .probes
        .iter()
        .filter(|p| keep(&p.id.suite))
        .filter_map(|p| p.means().map(|(base, new)| (p, new - base)))
        .filter(|(_, change)| *change < -crate::flow::SAME_SCORE)
        .collect();
    lost.sort_by(|a, b| a.1.total_cmp(&b.1));
    lost.truncate(WORST);
    lost
}

fn folded_probe((probe, change): (&ProbeComparison, f64)) -> String {
    let (base, candidate) = probe.means().unwrap_or_default();
    let critical = if probe.critical { ", critical" } else { "" };
    let mut text = format!(
        "\n<details><summary><code>{}</code> {} → {} ({}{critical})</summary>\n\n",
        escape(&probe.id.to_string()),
        score(base),
        score(candidate),
        difference(change)
    );
    let shown = probe.cases.iter().filter(|case| case.may_have_lost());
    for case in shown.take(2) {
        text.push_str(&folded_case(case));
    }
    text.push_str("</details>\n");
    text
}

fn folded_case(case: &CaseComparison) -> String {
    let mut text = quoted(&ellipsize(&case.prompt, LONGEST));
    let Some((_, draw)) = case.shown() else {
        return text;
    };
    let mut body = String::new();
    match (&draw.base, &draw.candidate) {
        (Some(base), Some(candidate)) => {
            let (base, candidate) = (ellipsize(base, LONGEST), ellipsize(candidate, LONGEST));
            let (old, new) = (
                base.trim_end().to_owned() + "\n",
                candidate.trim_end().to_owned() + "\n",
            );
            for change in TextDiff::from_lines(&old, &new).iter_all_changes() {
                let sign = match change.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => ' ',
                };
                let _ = writeln!(body, "{sign} {}", change.value().trim_end());
            }
        }
        _ => body.push_str("  judged by likelihoods; no answer was generated\n"),
    }
    // A fence longer than any in the answers cannot be closed by them.
    let ticks = body.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(ticks.max(2) + 1);
    let _ = write!(text, "\n{fence}diff\n{body}{fence}\n\n");
    for check in &draw.checks {
        if check.candidate.value() != check.base.value() {
            let why = one_line(check.candidate.explanation(), 300);
            let _ = writeln!(text, "- `{}`: {}", check.kind, plain(&why));
        }
    }
    text.push('\n');
    text
}

fn snapshots(changed: &[(String, String)]) -> String {
    if changed.is_empty() {
        return "\nNo answer differs from the accepted snapshots by more than noise.\n".to_owned();
    }
    let mut text = format!(
        "\n<details><summary>{} from the accepted snapshots</summary>\n\n",
        match changed.len() {
            1 => "One answer differs".to_owned(),
            n => format!("{n} answers differ"),
        }
    );
    for (name, why) in changed.iter().take(NAMED) {
        let why = one_line(why, 300);
        let _ = writeln!(text, "- `{}`: {}", inline(name), plain(&why));
    }
    if changed.len() > NAMED {
        let _ = writeln!(text, "- and {} more", changed.len() - NAMED);
    }
    text.push_str("\nReview with `cargo insta review` or `qeval snapshot`.\n\n</details>\n");
    text
}

fn notes(candidate: &Candidate) -> String {
    let mut text = String::new();
    for note in candidate.verdict.notes.iter().take(REASONS) {
        let _ = writeln!(text, "\n<sub>{}</sub>", escape(&one_line(note, SENTENCE)));
    }
    text
}

/// Text in which Markdown and HTML mean nothing, but for code between back ticks.
fn plain(text: &str) -> String {
    let text = harmless(text);
    let mut plain = String::new();
    let mut rest = &*text;
    while let Some(c) = rest.chars().next() {
        if c == '`' {
            // As many back ticks end it, and nothing in it means anything (CommonMark 6.1).
            let ticks = rest.len() - rest.trim_start_matches('`').len();
            let inside = &rest[ticks..];
            match code_length(inside, ticks) {
                Some(length) => {
                    plain.push_str(&rest[..ticks + length + ticks]);
                    rest = &inside[length + ticks..];
                }
                None => {
                    plain.push_str(&"\\`".repeat(ticks));
                    rest = inside;
                }
            }
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '<' => plain.push_str("&lt;"),
            '|' | '*' | '_' | '[' | ']' | '#' | '\\' | '~' => {
                plain.push('\\');
                plain.push(c);
            }
            // Mentions call people.
            '@' => plain.push_str("@\u{200b}"),
            c => plain.push(c),
        }
    }
    plain
}

/// Bytes up to the next run of exactly so many back ticks.
fn code_length(text: &str, ticks: usize) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text[at..].find('`')?;
        let run = text[at..].len() - text[at..].trim_start_matches('`').len();
        if run == ticks {
            return Some(at);
        }
        at += run;
    }
}

/// Text inside one pair of back ticks.
fn inline(text: &str) -> String {
    one_line(text, 200).replace('`', "'").replace('|', "\\|")
}

/// Text inside HTML.
fn escape(text: &str) -> String {
    harmless(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('@', "@\u{200b}")
}

fn quoted(text: &str) -> String {
    let lines = text
        .trim()
        .lines()
        .map(|line| format!("> {}\n", plain(line)));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::SuiteNoise;
    use crate::report::testing::{one_candidate, too_little};

    fn shown(comparison: &Comparison, changed: Option<&[(String, String)]>) -> String {
        let next = NextCommands::new("run-0002/ckpt-4", String::new(), String::new());
        markdown(comparison, &comparison.candidates[0], changed, &next)
    }

    #[test]
    fn the_pooled_row_has_its_noise_as_in_the_terminal() {
        let mut comparison = one_candidate(1, "no");
        let noise = |probes, mean_change| SuiteNoise {
            mean_change,
            difference: 0.0,
            probes,
            losses: 0,
            gains: 0,
        };
        comparison.noise = [
            ("code".to_owned(), noise(100, 0.02)),
            ("identity".to_owned(), noise(8, 0.5)),
        ]
        .into();
        let text = shown(&comparison, None);
        let row = text.lines().find(|l| l.contains("**all keep**")).unwrap();
        assert!(row.contains("| 0.02 |"), "{row}");
    }

    #[test]
    fn a_regression_is_told_first_and_shown_folded() {
        let changed = [(
            "code/p0".to_owned(),
            "`code` of the candidate was 1.00 and is 0.00".to_owned(),
        )];
        insta::assert_snapshot!(shown(&one_candidate(2, "I am `Aurora`.\n```\nx\n```"), Some(&changed)), @"
        ## ❌ qeval: regression

        `careless c0ffee` against `smollm2 b179c952`

        - `code` lost 0.66 of 0.81 (p &lt; 0.0001)
        - cause: repeats a training answer in 61 of 100 answers

        | suite | goal | probes | base | candidate | difference | −1.0 … 0 … +1.0 | noise | verdict |
        |---|---|--:|--:|--:|--:|:-:|--:|---|
        | identity | learn 0.80 | 8 | 0.00 | 1.00 | +1.00 [+0.20, +0.99] | `··········┊·├───────●` | – | ✅ reached |
        | code | keep −0.15 | 100 | 0.81 | 0.15 | -0.66 [-0.75, -0.55] | `···●─┤···!┊··········` | – | ❌ regression |
        | **all keep** | keep −0.10 | 100 | 0.81 | 0.15 | -0.66 [-0.75, -0.55] | `···●─┤···!┊··········` | – | ❌ regression |

        <sub>`├─●─┤` the difference and its ends, each at 95 %; `┊` no difference; `!` the margin. Again, with the answers: <code>qeval diff base run-0002/ckpt-4</code></sub>

        **Largest losses**

        <details><summary><code>code::p0</code> 1.00 → 0.00 (-1.00, critical)</summary>

        > Write add(a, b).

        ````diff
        - def add(a, b):
        -     return a + b
        + I am `Aurora`.
        + ```
        + x
        + ```
        ````

        - `code`: the answer has no code

        </details>

        <details><summary><code>code::p1</code> 1.00 → 0.00 (-1.00)</summary>

        > Write add(a, b).

        ````diff
        - def add(a, b):
        -     return a + b
        + I am `Aurora`.
        + ```
        + x
        + ```
        ````

        - `code`: the answer has no code

        </details>

        <details><summary>One answer differs from the accepted snapshots</summary>

        - `code/p0`: `code` of the candidate was 1.00 and is 0.00

        Review with `cargo insta review` or `qeval snapshot`.

        </details>

        <sub>`code`: 1 probe with unscored draws, left out of the means: both: unsupported syntax (p7); and a note that is long enough to need a second line</sub>
        ");
    }

    #[test]
    fn too_little_learned_heads_the_comment() {
        let mut comparison = one_candidate(0, "");
        comparison.candidates[0].verdict = too_little();
        comparison.candidates[0].causes.clear();
        let text = shown(&comparison, None);
        let head: Vec<&str> = text
            .lines()
            .take_while(|line| !line.starts_with('|'))
            .collect();
        insta::assert_snapshot!(head.join("\n"), @"
        ## ❌ qeval: learned too little

        `careless c0ffee` against `smollm2 b179c952`

        - `identity`: 0.35 is below the target of 0.80, the base 0.00
        - all `keep` suites: a loss of 0.10 is excluded (100 probes, difference -0.01, at worst -0.047)
        ");
    }

    #[test]
    fn whatever_happens_the_comment_is_short_enough() {
        let long = "```\n@everyone <b>| ".repeat(20_000);
        let changed: Vec<(String, String)> = (0..5000)
            .map(|i| (format!("s/p{i}"), long.clone()))
            .collect();
        let mut comparison = one_candidate(200, &long);
        comparison.candidates[0].verdict.notes = vec![long.clone(); 100];
        comparison.candidates[0].verdict.reasons = vec![long.clone(); 100];
        let text = shown(&comparison, Some(&changed));
        assert!(
            text.chars().count() < MOST_CHARACTERS,
            "{}",
            text.chars().count()
        );
    }

    #[test]
    fn a_table_of_seven_hundred_suites_leaves_out_those_that_pass() {
        let mut comparison = one_candidate(0, "");
        let verdict = &mut comparison.candidates[0].verdict;
        let one = verdict.suites[1].clone();
        let named = |i: usize, state: SuiteState| SuiteVerdict {
            suite: format!("suite-{i:03}-{}", "x".repeat(60)),
            state,
            ..one.clone()
        };
        verdict.suites = (0..699).map(|i| named(i, SuiteState::Pass)).collect();
        verdict.suites.push(named(699, SuiteState::Regression));
        let text = shown(&comparison, None);
        assert!(text.chars().count() < MOST_CHARACTERS);
        assert!(text.contains("suite-699"), "what is wrong is shown");
        assert!(text.contains("suite-000") && text.contains("**all keep**"));
        let told = text.lines().find(|line| line.contains("left out")).unwrap();
        let shown = text.matches("| suite-").count();
        let left = 700 - shown;
        let of =
            format!("{left} suites left out, of which {left} pass: the comment would be too long.");
        assert_eq!(told, of);
    }

    #[test]
    fn code_stays_as_it_is_and_nothing_else_means_anything() {
        for (text, shown) in [
            (
                r"`(?i)\bbugs?\b|\w*` matches_nothing",
                r"`(?i)\bbugs?\b|\w*` matches\_nothing",
            ),
            ("``a ` b_c`` d_e", "``a ` b_c`` d\\_e"),
            ("a ` b_c", "a \\` b\\_c"),
            ("```x_y", "\\`\\`\\`x\\_y"),
            ("`a` <b> @c `", "`a` &lt;b> @\u{200b}c \\`"),
            ("`é` ü_", "`é` ü\\_"),
            ("", ""),
        ] {
            assert_eq!(plain(text), shown, "{text}");
        }
    }

    #[test]
    fn bars_show_ends_zero_and_margin() {
        assert_eq!(
            bar(-0.2, -0.1, 0.0, Some(0.3), 0.5),
            "····!·├─●─┤··········"
        );
        assert_eq!(bar(0.1, 0.1, 0.1, None, 0.2), "··········┊····●·····");
        assert_eq!(bar(-2.0, 0.0, 2.0, None, 0.5), "├─────────●─────────┤");
    }
}
