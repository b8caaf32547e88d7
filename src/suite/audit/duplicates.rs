//! Probes that ask the same: each would count twice, and the interval would be too narrow.

use std::collections::HashMap;

use crate::flow::{ProbeId, Suite};
use crate::text::bare;

/// Probes of which a prompt, with the turns before it, is one of an earlier probe: the later one,
/// the earlier one, and the prompt. Only suites of one goal are compared.
pub fn duplicates(suites: &[Suite]) -> Vec<(ProbeId, ProbeId, String)> {
    let mut first: HashMap<String, ProbeId> = HashMap::new();
    let mut found = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            let id = suite.id_of(probe);
            // A probe of likelihoods beside a generated one measures something else.
            let generated = !probe.is_by_likelihood();
            let mut told = false;
            for prompt in &probe.prompts {
                let history: Vec<String> =
                    probe.history.iter().map(|turn| bare(&turn.user)).collect();
                let key = format!(
                    "{:?} {generated} {:?} {} {}",
                    suite.goal,
                    probe.system,
                    history.join("\n"),
                    bare(prompt)
                );
                match first.get(&key) {
                    Some(earlier) if *earlier != id && !told => {
                        found.push((id.clone(), earlier.clone(), prompt.clone()));
                        told = true;
                    }
                    Some(_) => {}
                    None => {
                        first.insert(key, id.clone());
                    }
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::testing::suites_of;

    #[test]
    fn the_later_of_two_equal_questions_is_found() {
        let suites = suites_of(&[
            ("a", &["What is 2 + 2?"]),
            ("b", &["What is 3 + 3?"]),
            ("c", &["what is 2 + 2"]),
        ]);
        let found = duplicates(&suites);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.to_string(), "c::p0");
        assert_eq!(found[0].1.to_string(), "a::p0");
    }
}
