//! The largest scale at which an adapter passes, by bisection over one loaded base.
//!
//! A smaller scale changes the base less, so losses are taken to fall with it. Where they do not,
//! what is found is still a scale that was judged and passed. Every look has the same share of the
//! error rate, and a pass is claimed as the best of all looks.

use std::path::PathBuf;

use crate::flow::{Candidate, Verdict};
use crate::gate::Look;
use crate::run::Session;

use super::error::ProjectError;
use super::open::Project;
use super::order::Order;

/// What the search is about.
pub struct ScaleSearch {
    /// The adapter, as a subject is named; a scale behind `@` is multiplied.
    pub subject: String,
    /// The search ends when the largest passing scale is known to this, in (0, 1).
    pub tolerance: f64,
}

/// An adapter judged at one scale.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleLook {
    /// Multiplies the adapter's own scale.
    pub scale: f64,
    /// What was judged.
    pub candidate: Candidate,
}

/// What a search found.
pub struct ScaleFound {
    /// Every scale that was judged, in their order.
    pub looks: Vec<ScaleLook>,
    /// The largest that may be kept; none does where there is none.
    pub scale: Option<f64>,
    /// The adapter's own folder.
    pub folder: PathBuf,
}

impl ScaleFound {
    /// The look at the scale that was found.
    pub fn look(&self) -> Option<&ScaleLook> {
        let scale = self.scale?;
        self.looks.iter().find(|look| look.scale == scale)
    }
}

impl ScaleSearch {
    /// How many scales are judged at most: the whole adapter, then halves of what is left open.
    pub fn looks(&self) -> usize {
        1 + (1.0 / self.tolerance).log2().ceil().max(1.0) as usize
    }
}

/// The scales worth judging, one after another: all of it, and if that may not be kept, the middle
/// of what is not decided. The ends stay apart by the tolerance at most.
struct Bisection {
    passes: f64,
    fails: Option<f64>,
    tolerance: f64,
}

impl Bisection {
    fn new(tolerance: f64) -> Self {
        Bisection {
            passes: 0.0,
            fails: None,
            tolerance,
        }
    }

    /// The next scale; `None` when the search is over. Rounded, so that it can be typed.
    fn next(&self) -> Option<f64> {
        let Some(fails) = self.fails else {
            return (self.passes < 1.0).then_some(1.0);
        };
        let open = fails - self.passes;
        let middle = ((self.passes + open / 2.0) * 1000.0).round() / 1000.0;
        (open > self.tolerance && middle > self.passes && middle < fails).then_some(middle)
    }

    fn judged(&mut self, scale: f64, verdict: &Verdict) {
        if verdict.may_keep() {
            self.passes = scale;
        } else {
            self.fails = Some(scale);
        }
    }
}

impl Project {
    /// Judges an adapter at one scale after another; `on_look` hears of each.
    ///
    /// # Errors
    /// The subject is no adapter, or whatever stops a measurement; finished answers are on disk.
    pub fn largest_passing_scale(
        &self,
        search: &ScaleSearch,
        on_look: &mut dyn FnMut(&ScaleLook),
    ) -> Result<ScaleFound, ProjectError> {
        let own = self.store.resolve(&search.subject)?;
        let Some(folder) = own.folder() else {
            return Err(ProjectError::NoAdapter {
                subject: search.subject.clone(),
            });
        };
        let looks = search.looks();
        // One order for all looks: they differ in the scale and in which look it is.
        let mut order = Order::new(self, &["base", &search.subject])?;
        order.noise = false;
        order.rules.chosen_from = looks;
        let (mut session, mut found): (Option<Session>, _) = (None, Vec::new());
        let mut bisection = Bisection::new(search.tolerance);
        while let Some(scale) = bisection.next() {
            order.rules.look = Look::Checkpoint {
                index: found.len() + 1,
                planned: Some(looks),
            };
            for subject in &mut order.subjects[1..] {
                subject.scale = own.scale * scale;
                subject.name = format!("{}@{}", base_name(&search.subject), subject.scale);
            }
            let measured = self.measure_in(&order, session.take())?;
            session = measured.session;
            let comparison = order.compare(&measured.measurements, None);
            let Some(candidate) = comparison.candidates.into_iter().next() else {
                break;
            };
            bisection.judged(scale, &candidate.verdict);
            let look = ScaleLook { scale, candidate };
            on_look(&look);
            found.push(look);
        }
        Ok(ScaleFound {
            looks: found,
            scale: Some(bisection.passes).filter(|scale| *scale > 0.0),
            folder: folder.to_path_buf(),
        })
    }
}

/// A subject's name without a scale behind it.
fn base_name(subject: &str) -> &str {
    match subject.rsplit_once('@') {
        Some((name, scale)) if scale.parse::<f64>().is_ok() => name,
        _ => subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;
    use crate::run::testing::{adapter_folder, verdict};

    /// The scales that are judged, and the one found, of an adapter that passes up to a scale.
    fn searched(passes_up_to: f64, tolerance: f64) -> (Vec<f64>, f64) {
        let mut bisection = Bisection::new(tolerance);
        let mut judged = Vec::new();
        while let Some(scale) = bisection.next() {
            let kept = if scale <= passes_up_to { 90 } else { 20 };
            bisection.judged(scale, &verdict(kept, 5));
            judged.push(scale);
        }
        (judged, bisection.passes)
    }

    #[test]
    fn a_scale_is_found_to_the_tolerance_in_the_planned_looks() {
        for passes_up_to in [0.0, 0.04, 0.3, 0.62, 0.97, 1.0] {
            for tolerance in [0.5, 0.1, 0.05, 0.01] {
                let (judged, found) = searched(passes_up_to, tolerance);
                let search = ScaleSearch {
                    subject: String::new(),
                    tolerance,
                };
                assert!(judged.len() <= search.looks(), "{passes_up_to} {judged:?}");
                assert!(found <= passes_up_to, "{found} does not pass");
                assert!(passes_up_to - found <= tolerance + 1e-3, "{judged:?}");
            }
        }
    }

    #[test]
    fn an_adapter_that_passes_as_it_is_takes_one_look() {
        assert_eq!(searched(1.0, 0.05), (vec![1.0], 1.0));
    }

    #[test]
    fn a_harmful_adapter_is_turned_down_until_it_passes() {
        let small = Small::with_model();
        let project = small.open();
        let search = ScaleSearch {
            subject: adapter_folder("harmful").display().to_string(),
            tolerance: 0.25,
        };
        let mut heard = Vec::new();
        let found = project
            .largest_passing_scale(&search, &mut |look| heard.push(look.scale))
            .unwrap();
        let judged: Vec<f64> = found.looks.iter().map(|look| look.scale).collect();
        assert_eq!(judged, heard);
        assert_eq!(found.folder, adapter_folder("harmful"));
        for look in &found.looks {
            let own = look.candidate.subject.adapter.as_ref().unwrap().scale;
            assert_eq!(own, look.scale);
            let passes = look.candidate.verdict.may_keep();
            assert_eq!(
                passes,
                found.scale.is_some_and(|s| look.scale <= s),
                "{judged:?}"
            );
        }
    }

    #[test]
    fn the_base_has_no_scale() {
        let small = Small::with_model();
        let search = ScaleSearch {
            subject: "base".into(),
            tolerance: 0.05,
        };
        let refused = small.open().largest_passing_scale(&search, &mut |_| {});
        insta::assert_snapshot!(refused.err().unwrap(), @r#"
        "base" is no adapter: only an adapter can be scaled
          Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder.
        "#);
    }
}
