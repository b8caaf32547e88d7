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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Result<GenerationDefaults, ModelError> {
        let path = Path::new("generation_config.json");
        GenerationDefaults::from_keys(&Keys::parse(path, text.as_bytes())?)
    }

    #[test]
    fn an_empty_file_has_no_opinion() {
        assert_eq!(read("{}").unwrap(), GenerationDefaults::default());
    }

    #[test]
    fn qwen_file_is_read() {
        let found = read(
            r#"{"bos_token_id": 151643, "do_sample": true, "eos_token_id": [151645, 151643],
                "repetition_penalty": 1.05, "temperature": 0.7, "top_k": 20, "top_p": 0.8}"#,
        );
        let expected = GenerationDefaults {
            do_sample: true,
            temperature: Some(0.7),
            top_k: Some(20),
            top_p: Some(0.8),
            repetition_penalty: Some(1.05),
            eos_token_ids: vec![151645, 151643],
        };
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn zero_temperature_is_greedy_and_zero_top_k_is_off() {
        let found = read(r#"{"do_sample": true, "temperature": 0.0, "top_k": 0}"#).unwrap();
        assert_eq!(found, GenerationDefaults::default());
    }

    #[test]
    fn impossible_values_are_refused_by_key() {
        for key in ["temperature", "top_p", "repetition_penalty"] {
            let error = read(&format!(r#"{{"{key}": -1}}"#))
                .unwrap_err()
                .to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
        insta::assert_snapshot!(read(r#"{"top_p": 1.5}"#).unwrap_err(), @"generation_config.json: `top_p` is 1.5; it must be in (0, 1]");
        insta::assert_snapshot!(read(r#"{"top_k": -1}"#).unwrap_err(), @"generation_config.json: `top_k` is -1; it must be a whole number from 1 to 2147483648");
    }
}
