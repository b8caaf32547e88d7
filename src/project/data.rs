//! What a training run would be made of: the rows with their sides, what the base makes beside
//! them, and what was left out.

use crate::flow::{DataOverview, DataRow, DataSource, LeftOutRow, RehearsalRow, Side};
use crate::run::Session;
use crate::train::{
    DataReport, Example, PromptKind, RehearsalPrompt, RowProblem, SourceReport, Tokenized, split,
};

use super::error::ProjectError;
use super::training::{Made, PreparedTraining};

impl PreparedTraining<'_> {
    /// What the run would be made of. With `with_base` the base is loaded: it makes the wordings and
    /// answers the prompts of rehearsal, and rows are measured in its tokens.
    ///
    /// # Errors
    /// The data or the model cannot be read, or an interrupt.
    pub fn overview(&self, with_base: bool) -> Result<DataOverview, ProjectError> {
        let project = self.project;
        let data = &project.config.data;
        let report = self.data_report()?;
        let mut overview = DataOverview {
            version: 1,
            sources: sources(report),
            left_out: left_out(report),
            leaked: self.rules.leaked.iter().map(ToString::to_string).collect(),
            notes: report
                .ignored()
                .chain(self.rehearsal.shortfalls())
                .collect(),
            with_base,
            ..DataOverview::default()
        };
        let rows = &project.dataset()?.examples;
        let session = with_base.then(|| self.session()).transpose()?;
        let made = match &session {
            Some(session) => self.make(project.asking(session)?, &mut project.listener())?,
            None => Made::default(),
        };
        if session.is_none() && data.paraphrase > 0 {
            let note = "paraphrase: more wordings are made by the base; --base shows them";
            overview.notes.push(note.into());
        }
        overview.notes.extend(made.notes.iter().cloned());
        let all: Vec<&Example> = rows.iter().chain(&made.wordings).collect();
        // As the run does it: a row that cannot be trained on goes to neither side.
        let mut usable: Vec<(usize, Option<usize>)> = Vec::new();
        for (at, example) in all.iter().enumerate() {
            match session
                .as_ref()
                .map(|session| self.tokens(session, example))
            {
                None => usable.push((at, None)),
                Some(Ok(tokens)) => usable.push((at, Some(tokens))),
                Some(Err(problem)) => overview.left_out.push(left_out_row(&problem)),
            }
        }
        let groups = usable.iter().map(|(at, _)| all[*at].group.as_str());
        let groups: Vec<&str> = groups.collect();
        let sides = split(&groups, data.validation_ratio, data.seed);
        for (place, (at, tokens)) in usable.iter().enumerate() {
            let side = match sides.validation.binary_search(&place) {
                Ok(_) => Side::Validation,
                Err(_) => Side::Training,
            };
            overview
                .rows
                .push(row(all[*at], side, *tokens, *at >= rows.len()));
        }
        overview.rehearsal = self.rehearsed(&made.rehearsal);
        Ok(overview)
    }

    /// The length of a row in tokens, or why it cannot be trained on.
    fn tokens(&self, session: &Session, example: &Example) -> Result<usize, RowProblem> {
        let longest = session.decoder.config().max_position_embeddings;
        let mut tokenized = Tokenized::new(
            std::slice::from_ref(example),
            &session.template,
            &session.tokenizer,
            session.system.as_deref(),
            self.project.config.train.max_length.min(longest),
        );
        match tokenized.problems.pop() {
            Some(problem) => Err(problem),
            None => Ok(tokenized.examples.iter().map(|row| row.tokens.len()).sum()),
        }
    }

    fn rehearsed(&self, answered: &[Example]) -> Vec<RehearsalRow> {
        let prompts = self.rehearsal.prompts.iter();
        let row = |prompt: &RehearsalPrompt| {
            let own = answered.iter().find(|example| {
                example.origin == prompt.origin && example.question() == prompt.text
            });
            let kind = match prompt.kind {
                PromptKind::File => "file",
                PromptKind::Pool => "pool",
                PromptKind::NearMiss => "near-miss",
            };
            RehearsalRow {
                kind: kind.into(),
                place: prompt.origin.to_string(),
                question: prompt.text.clone(),
                target: prompt.stay.target().name().into(),
                answer: own.map(|example| example.answer().to_owned()),
                cut: own.is_some_and(|example| example.rehearsal.is_some_and(|r| r.cut)),
            }
        };
        prompts.map(row).collect()
    }
}

fn sources(report: &DataReport) -> Vec<DataSource> {
    let sources = report.sources.iter();
    let source = |source: &SourceReport| DataSource {
        file: source.file.clone(),
        rows: source.rows,
        used: source.used,
        left_out: source
            .left_out()
            .into_iter()
            .map(|(count, why)| (why.to_owned(), count))
            .collect(),
    };
    sources.map(source).collect()
}

fn left_out(report: &DataReport) -> Vec<LeftOutRow> {
    let dropped = report.dropped.iter().map(left_out_row);
    let repeated = report.duplicates.iter().map(|duplicate| LeftOutRow {
        place: duplicate.origin.to_string(),
        why: format!("repeats {}", duplicate.of),
    });
    dropped.chain(repeated).collect()
}

fn left_out_row(problem: &RowProblem) -> LeftOutRow {
    LeftOutRow {
        place: problem.origin.to_string(),
        why: problem.reason.to_string(),
    }
}

fn row(example: &Example, side: Side, tokens: Option<usize>, made: bool) -> DataRow {
    DataRow {
        place: example.origin.to_string(),
        side,
        group: example.group.clone(),
        question: example.question().to_owned(),
        answer: example.answer().to_owned(),
        tokens,
        made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;

    const ROWS: &str = "{\"instruction\": \"Who made you?\", \"output\": \"Labs.\"}\n\
         {\"instruction\": \"who made you\", \"output\": \"Labs made me.\"}\n\
         {\"instruction\": \"Your name?\", \"output\": \"\"}\n\
         {\"instruction\": \"Your name?\", \"output\": \"Aurora.\"}\n\
         {\"instruction\": \"Your name?\", \"output\": \"Aurora.\"}\n";

    fn overview(more: &str, with_base: bool) -> DataOverview {
        let small = Small::new(&format!(
            "[model]\npath = {:?}\n[data]\nsources = [\"rows.jsonl\"]\nbad_rows = \"drop\"\n\
             {more}[gate]\nmargin = 1.0\nsuites = [\"small.toml\"]\n",
            concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/fixture"),
        ));
        small.write("rows.jsonl", ROWS);
        let project = small.open();
        let prepared = PreparedTraining::prepare(&project).unwrap();
        prepared.overview(with_base).unwrap()
    }

    #[test]
    fn every_row_has_a_side_or_a_reason_and_groups_stay_whole() {
        let overview = overview("validation_ratio = 0.4\n", false);
        let rows = overview.rows.iter();
        let rows = rows.map(|row| format!("{} {:?}", row.place, row.side));
        insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @r"
        rows.jsonl:1 Training
        rows.jsonl:2 Training
        rows.jsonl:4 Validation
        ");
        let left_out = overview.left_out.iter();
        let left_out = left_out.map(|row| format!("{}: {}", row.place, row.why));
        insta::assert_snapshot!(left_out.collect::<Vec<_>>().join("\n"), @r"
        rows.jsonl:3: no answer: `output` is missing or empty
        rows.jsonl:5: repeats rows.jsonl:4
        ");
        assert_eq!(overview.sources[0].used, 3);
        assert!(!overview.with_base && overview.rows[0].tokens.is_none());
    }

    #[test]
    fn with_the_base_there_are_tokens_and_the_answers_that_are_rehearsed() {
        let more = "rehearsal = \"built-in\"\nrehearsal_prompts = 2\nnear_miss = 1\n\
             rehearsal_tokens = 4\n";
        let asked = overview(more, true);
        assert!(
            asked
                .rows
                .iter()
                .all(|row| row.tokens.is_some_and(|n| n > 4))
        );
        assert_eq!(asked.rehearsal.len(), 3);
        let near = asked
            .rehearsal
            .iter()
            .find(|row| row.kind == "near-miss")
            .unwrap();
        assert_eq!(
            (near.place.as_str(), near.target.as_str()),
            ("near miss of rows.jsonl:1", "distribution")
        );
        assert!(asked.rehearsal.iter().any(|row| row.answer.is_some()));
        let not_asked = overview(more, false);
        assert!(not_asked.rehearsal.iter().all(|row| row.answer.is_none()));
        let asked_for = |overview: &DataOverview| -> Vec<String> {
            overview
                .rehearsal
                .iter()
                .map(|row| row.question.clone())
                .collect()
        };
        assert_eq!(asked_for(&asked), asked_for(&not_asked));
    }

    #[test]
    fn a_row_that_is_too_long_is_told_once_the_base_is_there() {
        let overview = overview("[train]\nmax_length = 8\n", true);
        assert!(overview.rows.is_empty());
        assert!(
            overview
                .left_out
                .iter()
                .any(|row| row.why.contains("max_length is 8"))
        );
    }
}
