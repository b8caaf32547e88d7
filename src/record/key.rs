//! Keys of finished work: a digest of everything that decides an answer, and of nothing else.
//!
//! The case's name is left out, so that a renamed probe keeps its answers where its seed stays;
//! so is the number of samples, so that asking for more keeps the first ones.

use crate::digest::Parts;
use crate::flow::Generation;

/// Key of one sample of an answer: 64 hex characters.
///
/// - `subject`: [`super::Header::digest`].
/// - `prompt_ids`: the rendered prompt, so that tokenizer, template, and system prompt count.
/// - `generation`: with every default filled in; `samples` does not count.
/// - `seed`: of the sample's random draws.
pub fn answer_key(
    subject: &str,
    prompt_ids: &[u32],
    generation: &Generation,
    seed: u64,
    sample: usize,
) -> String {
    key(subject, &id_bytes(prompt_ids), generation, seed, sample)
}

/// Key of one sample of an answer that a server gives. `conversation` is what it is sent, in one form:
/// who renders it counts. The other arguments are those of [`answer_key`].
pub fn served_answer_key(
    subject: &str,
    conversation: &str,
    generation: &Generation,
    seed: u64,
    sample: usize,
) -> String {
    let prompt = format!("served {conversation}");
    key(subject, prompt.as_bytes(), generation, seed, sample)
}

/// Key of the likelihood of a text that a server measures.
pub fn served_likelihood_key(subject: &str, conversation: &str, text: &str) -> String {
    Parts::new("likelihood")
        .part("subject", subject)
        .part("prompt", format!("served {conversation}"))
        .part("text", text)
        .finish()
}

fn key(subject: &str, prompt: &[u8], generation: &Generation, seed: u64, sample: usize) -> String {
    let Generation {
        max_new_tokens,
        samples: _,
        temperature,
        top_k,
        top_p,
        repetition_penalty,
    } = generation;
    Parts::new("answer")
        .part("subject", subject)
        .part("prompt", prompt)
        .part("max_new_tokens", max_new_tokens.to_string())
        .part("temperature", format!("{temperature:?}"))
        .part("top_k", format!("{top_k:?}"))
        .part("top_p", format!("{top_p:?}"))
        .part("repetition_penalty", format!("{repetition_penalty:?}"))
        .part("seed", seed.to_string())
        .part("sample", sample.to_string())
        .finish()
}

/// Key of the likelihood of a text as the answer to a prompt: 64 hex characters. Arguments as in
/// [`answer_key`].
pub fn likelihood_key(subject: &str, prompt_ids: &[u32], text: &str) -> String {
    Parts::new("likelihood")
        .part("subject", subject)
        .part("prompt", id_bytes(prompt_ids))
        .part("text", text)
        .finish()
}

fn id_bytes(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greedy() -> Generation {
        Generation {
            max_new_tokens: 60,
            samples: 1,
            temperature: Some(0.0),
            top_k: None,
            top_p: None,
            repetition_penalty: None,
        }
    }

    #[test]
    fn everything_that_decides_an_answer_is_in_its_key() {
        let mut keys = vec![
            answer_key("s", &[1, 2], &greedy(), 7, 0),
            answer_key("t", &[1, 2], &greedy(), 7, 0),
            answer_key("s", &[1, 258], &greedy(), 7, 0),
            answer_key("s", &[1, 2], &greedy(), 8, 0),
            answer_key("s", &[1, 2], &greedy(), 7, 1),
            likelihood_key("s", &[1, 2], "Paris"),
            likelihood_key("s", &[1, 2], "Lyon"),
            likelihood_key("s", &[1], "Paris"),
        ];
        for generation in [
            Generation {
                max_new_tokens: 61,
                ..greedy()
            },
            Generation {
                temperature: None,
                ..greedy()
            },
            Generation {
                temperature: Some(0.7),
                ..greedy()
            },
            Generation {
                top_k: Some(60),
                ..greedy()
            },
            Generation {
                top_p: Some(0.9),
                ..greedy()
            },
            Generation {
                repetition_penalty: Some(0.9),
                ..greedy()
            },
        ] {
            keys.push(answer_key("s", &[1, 2], &generation, 7, 0));
        }
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn more_samples_keep_the_first_ones() {
        let more = Generation {
            samples: 8,
            ..greedy()
        };
        assert_eq!(
            answer_key("s", &[1], &greedy(), 7, 0),
            answer_key("s", &[1], &more, 7, 0)
        );
    }

    /// Keys live on disk: a change here makes every stored answer unreachable and needs a new
    /// format number.
    #[test]
    fn key_is_stable() {
        insta::assert_snapshot!(answer_key("s", &[1, 2], &greedy(), 7, 0), @"4a3f639fd65b5f2f840f3f43c9555de248b0898e1ae2bb9346466f84b6384fb0");
    }
}
