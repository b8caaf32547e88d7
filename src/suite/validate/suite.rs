//! The rules of a file as a whole and of `[suite]`.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;

use crate::flow::{Goal, Suite};
use crate::suite::error::SuiteErrorKind;
use crate::suite::file::{SuiteFile, SuiteTable};
use crate::text::plural;
use crate::toml_file::{Lines, Place};

use super::validator::Validator;

impl Validator<'_> {
    /// The suite, its digest still empty. Only to be used if no issue was added.
    pub(in crate::suite) fn suite_of(&mut self, read: &SuiteFile) -> Suite {
        let whole = 0..self.source.find('\n').unwrap_or(self.source.len());
        let (mut name, mut description, mut goal) = (String::new(), None, Goal::Keep);
        let (mut margin, mut target) = (None, None);
        match &read.suite {
            None => self.missing(
                &read.broken,
                whole.clone(),
                "a suite file",
                "suite",
                "write a table [suite] with `name` and `goal`",
            ),
            Some(table) => {
                let (span, table) = (table.span(), table.get_ref());
                name = self.name(&table.name, &table.broken, &span, "[suite]", "name");
                description = table.description.as_ref().map(|d| d.get_ref().clone());
                goal = self.goal(table, &span);
                margin = table.margin.as_ref().map(|margin| *margin.get_ref());
                target = table.target.as_ref().map(|target| *target.get_ref());
                if let Some(margin) = &table.margin {
                    self.margin(margin, goal, read.probes.len());
                }
                if let (Some(target), Goal::Keep) = (&table.target, goal) {
                    self.bad(target.span(), "`target` in a suite with goal \"keep\"", "`target` is the score that a suite with goal \"learn\" has to reach; a \"keep\" suite is compared with the base, within its `margin`");
                }
            }
        }
        if read.probes.is_empty() {
            self.missing(
                &read.broken,
                whole,
                "this suite",
                "probe",
                "write at least one table [[probe]] with `id`, `prompts`, and a [[probe.check]]",
            );
        }
        let mut first: HashMap<&str, Range<usize>> = HashMap::new();
        let mut probes = Vec::new();
        let lines = Lines::of(self.source);
        for table in &read.probes {
            if let Some(id) = &table.get_ref().id
                && let Some(taken) = first.insert(id.get_ref(), id.span())
            {
                first.insert(id.get_ref(), taken.clone());
                let kind = SuiteErrorKind::Duplicate {
                    what: "probe",
                    name: id.get_ref().clone(),
                    first: Place::among(&lines, self.file, self.source, &taken).to_string(),
                    rule: "a probe's `id` is unique within its suite: snapshots and records are \
                           named by it",
                };
                self.issues.push((id.span(), kind));
            }
            probes.push(self.probe(table, &read.generation));
        }
        Suite {
            name,
            description,
            goal,
            margin,
            target,
            probes,
            digest: String::new(),
        }
    }

    fn goal(&mut self, table: &SuiteTable, span: &Range<usize>) -> Goal {
        if let Some(goal) = &table.goal {
            return *goal.get_ref();
        }
        self.missing(
            &table.broken,
            span.clone(),
            "[suite]",
            "goal",
            "`goal` is \"keep\" (not worse than the base) or \"learn\" (reach a target)",
        );
        Goal::Keep
    }

    /// A margin that could not be shown even if nothing changed promises what cannot be kept.
    fn margin(&mut self, margin: &Spanned<f64>, goal: Goal, probes: usize) {
        if goal == Goal::Learn {
            self.bad(margin.span(), "`margin` in a suite with goal \"learn\"", "`margin` is the loss that a suite with goal \"keep\" tolerates; a \"learn\" suite has a `target`");
            return;
        }
        let value = *margin.get_ref();
        // With n probes and no change at all, the loss excluded at one-sided 95 percent.
        let smallest = |n: f64| 1.0 - 0.05_f64.powf(1.0 / n);
        if probes == 0 || value >= smallest(probes as f64) {
            return;
        }
        let wanted = (0.05_f64.ln() / (1.0 - value).ln()).ceil();
        self.bad(
            margin.span(),
            format!(
                "`margin` is {value}, but {} cannot exclude a loss below {:.3}, even if no answer \
                 changes",
                plural(probes, "probe"),
                smallest(probes as f64)
            ),
            format!(
                "n probes can exclude a loss of 1 - 0.05^(1/n): write {wanted} probes, a larger \
                 margin, or none (the suite then counts in the pooled verdict)"
            ),
        );
    }
}
