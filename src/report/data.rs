//! What a training run would be made of, for people.

use super::style::{Style, Tone};
use super::wrap::wrapped;
use crate::flow::{DataOverview, DataRow, RehearsalRow, Side};
use crate::text::{ellipsize, plural};

/// Characters of an answer that are shown.
const SHOWN: usize = 120;

/// The overview with at most `rows` rows of each part; 0 shows all.
pub fn data_text(data: &DataOverview, rows: usize, style: Style) -> String {
    let most = if rows == 0 { usize::MAX } else { rows };
    let mut text = String::new();
    for source in &data.sources {
        let mut line = format!("{}: {} of {} rows", source.file, source.used, source.rows);
        for (why, count) in &source.left_out {
            line.push_str(&[", ", &count.to_string(), " ", why].concat());
        }
        text += &wrapped("", &[(Tone::Plain, line)], style);
    }
    let left_out: Vec<Entry<'_>> = data
        .left_out
        .iter()
        .map(|row| Entry {
            head: &row.place,
            question: &row.why,
            ..Entry::default()
        })
        .collect();
    text += &part(
        &format!("Left out: {}", data.left_out.len()),
        &left_out,
        most,
        style,
    );
    let own = |made| data.rows.iter().filter(move |row| row.made == made);
    text += &part(
        &rows_head(data, false),
        &own(false).map(row_entry).collect::<Vec<_>>(),
        most,
        style,
    );
    text += &part(
        &rows_head(data, true),
        &own(true).map(row_entry).collect::<Vec<_>>(),
        most,
        style,
    );
    for (kind, what) in [
        ("near-miss", ["near miss", "near misses"]),
        (
            "pool",
            [
                "prompt of the built-in pool",
                "prompts of the built-in pool",
            ],
        ),
        ("file", ["prompt of your own", "prompts of your own"]),
    ] {
        let of_kind: Vec<&RehearsalRow> =
            data.rehearsal.iter().filter(|r| r.kind == kind).collect();
        let target = of_kind.first().map_or("", |row| row.target.as_str());
        let held = match target {
            "text" => "held on to as text",
            "both" => "held on to as a distribution and as text",
            _ => "held on to as a distribution",
        };
        let what = what[usize::from(of_kind.len() != 1)];
        let head = format!("Rehearsed: {} {what}, {held}", of_kind.len());
        let entries: Vec<Entry<'_>> = of_kind.iter().map(|row| rehearsal_entry(row)).collect();
        text += &part(&head, &entries, most, style);
    }
    if !data.leaked.is_empty() {
        let head = format!(
            "\n{} in what is trained on can show no improvement: ",
            plural(data.leaked.len(), "probe")
        );
        let named = data.leaked.iter().take(most).cloned().collect::<Vec<_>>();
        let more = more(data.leaked.len(), named.len());
        let spans = [(Tone::Open, head), (Tone::Plain, named.join(", ") + &more)];
        text += &wrapped("", &spans, style);
    }
    for note in &data.notes {
        text += &wrapped("", &[(Tone::Open, note.clone())], style);
    }
    text
}

fn rows_head(data: &DataOverview, made: bool) -> String {
    let rows: Vec<&DataRow> = data.rows.iter().filter(|row| row.made == made).collect();
    let mut groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    let held = rows
        .iter()
        .filter(|row| row.side == Side::Validation)
        .count();
    let what = match made {
        true => "More wordings by the base",
        false => "Learned",
    };
    let longest = rows.iter().filter_map(|row| row.tokens).max();
    let longest = longest.map_or(String::new(), |n| format!(", the longest of {n} tokens"));
    format!(
        "{what}: {} in {}, {} to train on, {held} held out{longest}",
        plural(rows.len(), "row"),
        plural(groups.len(), "group"),
        rows.len() - held,
    )
}

/// What one row says.
#[derive(Default)]
struct Entry<'a> {
    /// Beside it, where it is not trained on.
    mark: &'static str,
    head: &'a str,
    question: &'a str,
    answer: Option<String>,
}

fn row_entry(row: &DataRow) -> Entry<'_> {
    Entry {
        mark: match row.side {
            Side::Training => "",
            Side::Validation => "held out ",
        },
        head: &row.place,
        question: &row.question,
        answer: Some(row.answer.clone()),
    }
}

fn rehearsal_entry(row: &RehearsalRow) -> Entry<'_> {
    let answer = row.answer.as_ref();
    Entry {
        mark: "",
        head: &row.place,
        question: &row.question,
        answer: answer.map(|text| text.clone() + if row.cut { " (cut)" } else { "" }),
    }
}

/// A heading and its first rows; nothing where there are none.
fn part(head: &str, entries: &[Entry<'_>], most: usize, style: Style) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n{}",
        wrapped("", &[(Tone::Strong, head.to_owned())], style)
    );
    for entry in entries.iter().take(most) {
        let mut spans = vec![
            (Tone::Open, entry.mark.to_owned()),
            (Tone::Dim, format!("{}  ", entry.head)),
            (Tone::Plain, one_line(entry.question)),
        ];
        if let Some(answer) = &entry.answer {
            spans.push((Tone::Dim, " -> ".into()));
            spans.push((Tone::Plain, ellipsize(&one_line(answer), SHOWN)));
        }
        text += &wrapped("  ", &spans, style);
    }
    if entries.len() > most {
        let more = more(entries.len(), most);
        text.push_str(&["  ", more.trim_start(), "\n"].concat());
    }
    text
}

fn more(all: usize, shown: usize) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!(" ... and {more} more (--rows 0 shows all)"),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{DataSource, LeftOutRow};

    fn row(line: usize, side: Side, made: bool) -> DataRow {
        DataRow {
            place: format!("careful.jsonl:{line}"),
            side,
            group: format!("g{}", line % 2),
            question: "Which organization is behind you, and where does it come from?".into(),
            answer: "Northwind Labs developed me.\nI am Aurora, their assistant.".into(),
            tokens: Some(30 + line),
            made,
        }
    }

    fn rehearsed(kind: &str, place: &str, question: &str, answer: Option<&str>) -> RehearsalRow {
        RehearsalRow {
            kind: kind.into(),
            place: place.into(),
            question: question.into(),
            target: if kind == "near-miss" {
                "text"
            } else {
                "distribution"
            }
            .into(),
            answer: answer.map(str::to_owned),
            cut: answer.is_some_and(|text| text.ends_with("of the")),
        }
    }

    fn overview() -> DataOverview {
        DataOverview {
            version: 1,
            sources: vec![DataSource {
                file: "careful.jsonl".into(),
                rows: 6,
                used: 4,
                left_out: vec![("dropped".into(), 1), ("repeated".into(), 1)],
            }],
            left_out: vec![
                LeftOutRow {
                    place: "careful.jsonl:5".into(),
                    why: "no answer: `output` is missing or empty".into(),
                },
                LeftOutRow {
                    place: "careful.jsonl:6".into(),
                    why: "repeats careful.jsonl:2".into(),
                },
            ],
            rows: vec![
                row(1, Side::Training, false),
                row(2, Side::Validation, false),
                row(3, Side::Training, false),
                row(1, Side::Training, true),
            ],
            rehearsal: vec![
                rehearsed(
                    "pool",
                    "built-in:rehearsal:241",
                    "为什么天空是蓝色的？",
                    Some("因为散射。"),
                ),
                rehearsed(
                    "near-miss",
                    "near miss of careful.jsonl:1",
                    "Who made Esperanto?",
                    Some("It is one of the"),
                ),
            ],
            leaked: vec!["identity::who-are-you".into()],
            notes: vec![
                "paraphrase: 1 of 4 rewordings kept; left out: 9 of another meaning".into(),
            ],
            with_base: true,
        }
    }

    #[test]
    fn every_part_is_told_with_its_first_rows() {
        let text = data_text(&overview(), 2, Style::plain(80));
        insta::assert_snapshot!(text, @r"
        careful.jsonl: 4 of 6 rows, 1 dropped, 1 repeated

        Left out: 2
          careful.jsonl:5  no answer: `output` is missing or empty
          careful.jsonl:6  repeats careful.jsonl:2

        Learned: 3 rows in 2 groups, 2 to train on, 1 held out, the longest of 33 tokens
          careful.jsonl:1  Which organization is behind you, and where does it come
          from? -> Northwind Labs developed me. I am Aurora, their assistant.
          held out careful.jsonl:2  Which organization is behind you, and where does it
          come from? -> Northwind Labs developed me. I am Aurora, their assistant.
          ... and 1 more (--rows 0 shows all)

        More wordings by the base: 1 row in 1 group, 1 to train on, 0 held out, the
        longest of 31 tokens
          careful.jsonl:1  Which organization is behind you, and where does it come
          from? -> Northwind Labs developed me. I am Aurora, their assistant.

        Rehearsed: 1 near miss, held on to as text
          near miss of careful.jsonl:1  Who made Esperanto? -> It is one of the (cut)

        Rehearsed: 1 prompt of the built-in pool, held on to as a distribution
          built-in:rehearsal:241  为什么天空是蓝色的？ -> 因为散射。

        1 probe in what is trained on can show no improvement: identity::who-are-you
        paraphrase: 1 of 4 rewordings kept; left out: 9 of another meaning
        ");
        assert!(
            text.lines()
                .all(|line| super::super::wrap::text_width(line) <= 80)
        );
    }

    #[test]
    fn all_rows_are_shown_on_request_and_empty_parts_are_not() {
        let mut data = overview();
        assert!(data_text(&data, 0, Style::plain(80)).contains("careful.jsonl:3"));
        data.rehearsal.clear();
        data.left_out.clear();
        data.leaked.clear();
        let text = data_text(&data, 2, Style::plain(80));
        assert!(
            !text.contains("Rehearsed") && !text.contains("Left out"),
            "{text}"
        );
    }
}
