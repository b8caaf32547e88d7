//! Error rates and power of the gate on a project's own suites and base.

use crate::flow::{Grid, ScoreTable, Simulation};
use crate::gate::{Rules, SimulationSettings, SuiteModel, grid, grid_rates, simulate};
use crate::text::plural;
use crate::train::Every;

use super::error::ProjectError;
use super::open::Project;
use super::order::Order;

/// Steps of a run whose gates come by its parts: any large number has as many of them.
const MANY_STEPS: usize = 10_000;

impl Project {
    /// Simulates the rule on the configured suites as the configured base answers them, twice; what
    /// it has answered already is not asked again. `looks`: `None` takes those of the planned run.
    /// Answers to another version of a suite are other answers, and take no part.
    ///
    /// # Errors
    /// Settings outside their range, and whatever stops the base from answering.
    pub fn simulate(
        &self,
        comparisons: Option<u64>,
        looks: Option<usize>,
    ) -> Result<Simulation, ProjectError> {
        let order = Order {
            noise: true,
            ..Order::new(self, &["base"])?
        };
        let usual = SimulationSettings::default();
        let settings = SimulationSettings {
            comparisons: comparisons.unwrap_or(usual.comparisons),
            seed: order.seed,
            looks: match looks {
                Some(looks) => looks,
                None => self.planned_looks()?,
            },
        };
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(ProjectError::Gate(problems));
        }
        let measured = self.measure(&order)?;
        let nothing = ScoreTable::new();
        let again = measured.again.as_ref().map_or(&nothing, |m| &m.scores);
        let base = &measured.measurements[0].scores;
        let models: Vec<SuiteModel> = order
            .suites
            .iter()
            .filter_map(|suite| SuiteModel::measured(suite, base, again))
            .collect();
        if models.is_empty() {
            return Err(ProjectError::NothingToSimulate);
        }
        self.notice(format!(
            "simulating {} comparisons a setting: {}",
            settings.comparisons,
            plural(models.len(), "suite")
        ));
        let mut simulated =
            simulate(&models, &order.rules, &settings, &mut |_| {}).map_err(ProjectError::Gate)?;
        simulated.notes.extend(order.notes);
        Ok(simulated)
    }

    /// The error rates of made-up suites.
    ///
    /// # Errors
    /// A number of comparisons outside its range.
    pub fn simulate_grid(&self, comparisons: Option<u64>) -> Result<Grid, ProjectError> {
        let usual = SimulationSettings::default();
        let settings = SimulationSettings {
            comparisons: comparisons.unwrap_or(usual.comparisons),
            seed: self.overrides.seed.unwrap_or(usual.seed),
            ..usual
        };
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(ProjectError::Gate(problems));
        }
        let cells = grid().into_iter().map(|cell| {
            let rates = grid_rates(&cell, settings.comparisons, settings.seed);
            (cell, rates)
        });
        Ok(Grid {
            comparisons: settings.comparisons,
            seed: settings.seed,
            claimed: 1.0 - Rules::default().confidence,
            cells: cells.collect(),
        })
    }

    /// Looks of the configured run: each checkpoint at each scale. 1 where no training data are named.
    fn planned_looks(&self) -> Result<usize, ProjectError> {
        let config = &self.config;
        if config.data.sources.is_empty() {
            return Ok(1);
        }
        let train = &config.train;
        let steps = match train.gate_every() {
            Every::Part(_) => MANY_STEPS,
            Every::Steps(_) => {
                let examples = self.dataset()?.examples.len() as f64;
                let each = train.examples_per_step() as f64;
                (examples * train.num_train_epochs / each).ceil() as usize
            }
        };
        let checkpoints = train.gate_every().times(steps).len().max(1);
        Ok(checkpoints * config.gate.scales.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use crate::project::testing::Small;

    #[test]
    fn a_project_is_simulated_as_its_base_answers() {
        let small = Small::with_model();
        let project = small.open();
        let simulated = project.simulate(Some(1000), None).unwrap();
        assert_eq!(simulated.suites.len(), 1);
        let suite = &simulated.suites[0];
        assert_eq!((suite.suite.as_str(), suite.probes), ("small", 2));
        assert_eq!(simulated.runs.len(), 1, "no run is planned");
        assert!(simulated.runs[0].false_alarms <= 0.05);
        let named = suite.needs.is_some_and(|needs| needs > 2);
        assert!(named, "two probes decide nothing: {suite:?}");
        assert_eq!(
            project.simulate(Some(1000), None).unwrap(),
            simulated,
            "seeded"
        );
        let record = &project.store.list().unwrap()[0];
        assert!(record.record_of("base-again").unwrap().is_some());
    }

    /// What another version of a suite was answered is not mixed in.
    #[test]
    fn a_changed_suite_is_asked_anew() {
        let small = Small::with_model();
        let rate = |small: &Small| {
            let simulated = small.open().simulate(Some(1000), None).unwrap();
            simulated.suites[0].base_mean
        };
        assert!(rate(&small) > 0.0);
        let text = std::fs::read_to_string(small.path("small.toml")).unwrap();
        small.write("small.toml", &text.replace("value = 4", "value = 5"));
        assert_eq!(rate(&small), 0.0, "the other answers are not this one's");
    }

    #[test]
    fn a_simulation_out_of_range_is_refused_before_anything_is_asked() {
        let small = Small::with_model();
        let project = small.open();
        let error = project.simulate(Some(10), Some(0)).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @"
        a simulation of 10 comparisons: it is from 1000 to 1000000
          Way out: leave it out for its default, 10000.
        a simulation of 0 looks: it is from 1 to 2000
          Way out: leave it out for its default, 1.
        ");
        assert!(project.store.list().unwrap().is_empty());
    }

    #[test]
    fn looks_are_those_of_the_planned_run() {
        let planned = |settings: &str| Small::new(settings).open().planned_looks().unwrap();
        assert_eq!(planned(""), 1);
        let data = "[data]\nsources = [\"built-in:self-cognition#100\"]\n\
                    [vars]\nname = \"Aurora\"\nauthor = \"Northwind Labs\"\n";
        assert_eq!(planned(data), 12, "four checkpoints at three scales");
        let with = |more: &str| planned(&format!("{data}{more}"));
        assert_eq!(
            with("[train]\nsave_steps = 0.05\n[gate]\nscales = [1.0]\n"),
            20
        );
        // 100 examples twice, 16 a step: 13 steps, and the last is always a gate.
        assert_eq!(with("[train]\nsave_steps = 4\n[gate]\nscales = [1.0]\n"), 4);
    }
}
