//! How a model's authors want it sampled: `generation_config.json`.

use super::ModelError;
use super::json::Keys;

/// What `generation_config.json` says; a model without one has no opinion.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Sample instead of taking the most likely token. Default: false, as in transformers.
    pub do_sample: bool,
    /// Softmax temperature, above 0.
    pub temperature: Option<f64>,
    /// Only the k most likely tokens can be drawn; absent when 0.
    pub top_k: Option<usize>,
    /// Only the most likely tokens up to this mass can be drawn, in (0, 1].
    pub top_p: Option<f64>,
    /// Logits of tokens already in the context are divided (multiplied when negative) by this.
    pub repetition_penalty: Option<f64>,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
}

impl GenerationDefaults {
    pub(super) fn from_keys(keys: &Keys) -> Result<GenerationDefaults, ModelError> {
        let top_p = keys.positive("top_p")?;
        if let Some(p) = top_p.filter(|p| *p > 1.0) {
            return Err(keys.wrong("top_p", format!("is {p}; it must be in (0, 1]")));
        }
        let top_k = match keys.get("top_k").and_then(serde_json::Value::as_u64) {
            Some(0) => None,
            _ => keys.size("top_k")?,
        };
        // Temperature 0 is how some files write greedy.
        let temperature = keys.float("temperature")?;
        if let Some(t) = temperature.filter(|t| *t < 0.0) {
            return Err(keys.wrong("temperature", format!("is {t}; it must not be negative")));
        }
        Ok(GenerationDefaults {
            do_sample: keys.boolean("do_sample", false)? && temperature != Some(0.0),
            temperature: temperature.filter(|t| *t > 0.0),
            top_k,
            top_p,
            repetition_penalty: keys.positive("repetition_penalty")?,
            eos_token_ids: keys.token_ids("eos_token_id")?,
        })
    }
}
