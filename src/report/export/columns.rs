//! The columns of a table of answers, one row an answer: what CSV and Parquet have in common.

use crate::flow::{Finish, Recorded, RecordedAnswer, Score};

/// A cell. Numbers that may not exist are `None`, an empty cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// UTF-8.
    Text(Option<String>),
    /// A whole number, never negative.
    Whole(Option<u64>),
    /// A real number.
    Real(Option<f64>),
    /// Yes or no.
    Flag(bool),
}

/// A column: its name, and a row's cell in it.
pub(super) struct Column {
    pub name: &'static str,
    pub cell: fn(&Recorded, &RecordedAnswer<'_>) -> Cell,
}

const fn column(name: &'static str, cell: fn(&Recorded, &RecordedAnswer<'_>) -> Cell) -> Column {
    Column { name, cell }
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(Some(text.into()))
}

fn maybe(text: Option<impl Into<String>>) -> Cell {
    Cell::Text(text.map(Into::into))
}

fn whole(number: usize) -> Cell {
    Cell::Whole(Some(number as u64))
}

fn checks(answer: &RecordedAnswer<'_>) -> String {
    serde_json::to_string(answer.checks).unwrap_or_default()
}

/// All columns, in order. Later versions add some at the end.
pub(super) const COLUMNS: [Column; 28] = [
    column("run", |r, _| text(&r.run)),
    column("model", |r, _| text(&r.model)),
    column("subject", |r, _| text(&r.subject().name)),
    column("adapter", |r, _| {
        let adapter = r.subject().adapter.as_ref();
        maybe(adapter.map(|a| a.path.display().to_string()))
    }),
    column("adapter_digest", |r, _| {
        maybe(r.subject().adapter.as_ref().map(|a| &*a.digest))
    }),
    column("scale", |r, _| {
        Cell::Real(r.subject().adapter.as_ref().map(|a| a.scale))
    }),
    column("step", |r, _| {
        let step = r.subject().adapter.as_ref().and_then(|a| a.step);
        Cell::Whole(step.map(|step| step as u64))
    }),
    column("server", |r, _| {
        maybe(r.subject().server.as_ref().map(ToString::to_string))
    }),
    column("engine", |r, _| text(&r.engine)),
    column("suite", |_, a| text(&a.suite.name)),
    column("goal", |_, a| {
        text(match a.suite.goal {
            crate::flow::Goal::Keep => "keep",
            crate::flow::Goal::Learn => "learn",
        })
    }),
    column("probe", |_, a| text(&a.probe.id)),
    column("tags", |_, a| text(a.probe.tags.join(","))),
    column("critical", |_, a| Cell::Flag(a.probe.critical)),
    column("prompt", |_, a| whole(a.prompt)),
    column("sample", |_, a| whole(a.sample)),
    column("question", |_, a| text(a.question())),
    column("answer", |_, a| maybe(a.answer.map(|a| &*a.text))),
    column("thinking", |_, a| {
        maybe(a.answer.and_then(|a| Some(&*a.thinking.as_ref()?.text)))
    }),
    column("finish", |_, a| {
        maybe(a.answer.map(|a| match a.finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
        }))
    }),
    column("score", |_, a| Cell::Real(a.score.value())),
    column("evidence", |_, a| match &a.score {
        Score::Scored { evidence, .. } => text(evidence),
        Score::Unscored { .. } => Cell::Text(None),
    }),
    column("unscored", |_, a| match &a.score {
        Score::Scored { .. } => Cell::Text(None),
        Score::Unscored { reason } => text(reason),
    }),
    column("checks", |_, a| text(checks(a))),
    column("prompt_tokens", |_, a| {
        Cell::Whole(a.answer.map(|a| a.prompt_tokens as u64))
    }),
    column("answer_tokens", |_, a| {
        Cell::Whole(a.answer.map(|a| a.tokens() as u64))
    }),
    column("continued", |_, a| {
        Cell::Flag(a.answer.is_some_and(|a| a.continued))
    }),
    column("seed", |_, a| Cell::Whole(a.answer.map(|a| a.seed))),
];
