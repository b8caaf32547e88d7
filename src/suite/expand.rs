//! Suites to cases: one for each prompt, in file order.

use crate::flow::{CaseId, Generation, Suite};

/// One concrete prompt and how it is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name: `suite::probe#0`.
    pub id: CaseId,
    /// What is asked.
    pub prompt: String,
    /// System prompt of the probe; `None` takes the configured one.
    pub system: Option<String>,
    /// How many samples, and how each is drawn.
    pub generation: Generation,
}

/// The cases of all probes, in the order of suites, probes, and prompts.
pub fn cases(suites: &[Suite]) -> Vec<Case> {
    let mut cases = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            for (i, prompt) in probe.prompts.iter().enumerate() {
                cases.push(Case {
                    id: CaseId {
                        suite: suite.name.clone(),
                        probe: probe.id.clone(),
                        prompt: i,
                    },
                    prompt: prompt.clone(),
                    system: probe.system.clone(),
                    generation: probe.generation.clone(),
                });
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::suite::{SuiteSource, load};

    #[test]
    fn every_prompt_is_a_case_in_file_order() {
        let text = r#"
            [suite]
            name = "s"
            goal = "keep"
            [generation]
            samples = 2
            temperature = 0.5
            [[probe]]
            id = "b"
            system = "Be brief, {{name}}."
            prompts = ["one {{name}}", "two"]
            generation = { max_new_tokens = 7 }
            [[probe.check]]
            type = "contains"
            value = "x"
            [[probe]]
            id = "a"
            prompts = ["three"]
            [[probe.check]]
            type = "contains"
            value = "x"
        "#;
        let vars = BTreeMap::from([("name".to_owned(), "Aurora".to_owned())]);
        let suites = load(&[SuiteSource::new("s.toml", text)], &vars).unwrap();
        let shown: Vec<String> = cases(&suites)
            .iter()
            .map(|case| {
                let g = &case.generation;
                format!(
                    "{} {:?} {:?} {} tokens, {} samples at {:?}",
                    case.id, case.prompt, case.system, g.max_new_tokens, g.samples, g.temperature
                )
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        s::b#0 "one Aurora" Some("Be brief, Aurora.") 7 tokens, 2 samples at Some(0.5)
        s::b#1 "two" Some("Be brief, Aurora.") 7 tokens, 2 samples at Some(0.5)
        s::a#0 "three" None 256 tokens, 2 samples at Some(0.5)
        "#);
    }
}
