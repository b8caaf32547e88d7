//! A copy of a PEFT folder at another scale: the same matrices, with `lora_alpha` carrying the
//! factor, so that every program that loads the folder applies it.
//!
//! The update is `alpha / r * B A x`, or `alpha / sqrt(r) * B A x` for rank-stabilized LoRA: either
//! way it grows with alpha. Every other key of the configuration stays as it was written. What alpha
//! does not multiply, such as DoRA's magnitudes, cannot be scaled so.

use std::fs;
use std::path::Path;

use serde_json::{Map, Number, Value};

use super::adapter::{CONFIG, TRAINED_ON, WEIGHTS};
use super::tensor_names::{Part, TablePart, TensorRole};
use super::{LoraConfig, LoraError};
use crate::atomic_file;
use crate::model::TensorFile;

/// Writes the adapter in `from` to the folder `to`, which is replaced at once if it is there.
/// `scale` multiplies `lora_alpha` and every entry of `alpha_pattern`.
///
/// # Errors
/// `from` is no PEFT folder, or has what alpha does not multiply, or `to` cannot be written; an older
/// folder is untouched then.
pub fn write_scaled(from: &Path, to: &Path, scale: f64) -> Result<(), LoraError> {
    let path = from.join(CONFIG);
    check_scales(from, &path)?;
    let text = fs::read(&path).map_err(LoraError::at("read", &path))?;
    let mut config: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|source| LoraError::Json {
            path: path.clone(),
            source,
        })?;
    // A file that leaves the key out has PEFT's own default.
    let alpha = config.entry("lora_alpha").or_insert(Value::Null);
    if alpha.is_null() {
        *alpha = 8.into();
    }
    scaled(alpha, scale);
    if let Some(Value::Object(pattern)) = config.get_mut("alpha_pattern") {
        pattern.values_mut().for_each(|alpha| scaled(alpha, scale));
    }
    let config = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    atomic_file::write_folder(to, |aside| {
        let place = aside.join(CONFIG);
        fs::write(&place, config).map_err(LoraError::at("write", &place))?;
        let weights = from.join(WEIGHTS);
        fs::copy(&weights, aside.join(WEIGHTS)).map_err(LoraError::at("copy", &weights))?;
        let trained_on = from.join(TRAINED_ON);
        if trained_on.is_file() {
            fs::copy(&trained_on, aside.join(TRAINED_ON))
                .map_err(LoraError::at("copy", &trained_on))?;
        }
        Ok(())
    })
}

/// Whether alpha multiplies all that the adapter changes.
fn check_scales(folder: &Path, config: &Path) -> Result<(), LoraError> {
    let config = LoraConfig::read(config)?;
    let file = TensorFile::open(&folder.join(WEIGHTS))?;
    let is_apart = |name: &&str| match TensorRole::of(name) {
        Some(TensorRole::Of(_, part)) => matches!(part, Part::Magnitude | Part::Bias),
        // A copy of the base's may stand there; one that was trained is listed.
        Some(TensorRole::OfTable(_, TablePart::Whole)) => !config.beside.saved.is_empty(),
        Some(TensorRole::OfTable(_, part)) => {
            matches!(part, TablePart::Magnitude | TablePart::Tokens)
        }
        None => false,
    };
    match file.names().find(is_apart) {
        None => Ok(()),
        Some(name) => Err(LoraError::NotScalable {
            path: folder.to_path_buf(),
            name: name.to_owned(),
        }),
    }
}

/// A whole number stays one, and a product that is none keeps six digits: 16 at 0.7 is 11.2.
fn scaled(alpha: &mut Value, scale: f64) {
    let Some(old) = alpha.as_f64() else { return };
    let new: f64 = format!("{:.5e}", old * scale)
        .parse()
        .unwrap_or(old * scale);
    *alpha = if new.fract() == 0.0 && new.abs() < 1e15 {
        Value::from(new as i64)
    } else {
        Number::from_f64(new).map_or(Value::Null, Value::Number)
    };
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::lora::Adapter;
    use crate::model::ModelConfig;

    fn fixture(name: &str) -> PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        fixtures.join(name)
    }

    fn good() -> PathBuf {
        fixture("adapters/fixture/good")
    }

    #[test]
    fn what_alpha_does_not_multiply_is_refused() {
        let to = tempfile::tempdir().unwrap();
        let refused = |name: &str| {
            let from = fixture("adapters/kinds").join(name);
            let error = write_scaled(&from, &to.path().join("half"), 0.5).unwrap_err();
            error
                .to_string()
                .replace(&from.display().to_string(), "[adapter]")
        };
        let all = ["dora", "bias_all", "head_saved", "tokens"].map(refused);
        insta::assert_snapshot!(all.join("\n"), @r"
        [adapter] cannot be written at another scale: PEFT's alpha does not multiply `base_model.model.model.layers.0.mlp.down_proj.lora_magnitude_vector`; ask it with `@SCALE`, which goes that far from the base, or train it again at a lower rate
        [adapter] cannot be written at another scale: PEFT's alpha does not multiply `base_model.model.model.layers.0.self_attn.k_proj.bias`; ask it with `@SCALE`, which goes that far from the base, or train it again at a lower rate
        [adapter] cannot be written at another scale: PEFT's alpha does not multiply `base_model.model.lm_head.weight`; ask it with `@SCALE`, which goes that far from the base, or train it again at a lower rate
        [adapter] cannot be written at another scale: PEFT's alpha does not multiply `base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta`; ask it with `@SCALE`, which goes that far from the base, or train it again at a lower rate
        ");
        assert!(!to.path().join("half").exists());
        write_scaled(
            &fixture("adapters/kinds/combined_cat"),
            &to.path().join("half"),
            0.5,
        )
        .unwrap();
    }

    fn alpha(folder: &Path) -> (Value, Value) {
        let text = fs::read(folder.join(CONFIG)).unwrap();
        let config: Value = serde_json::from_slice(&text).unwrap();
        (
            config["lora_alpha"].clone(),
            config["alpha_pattern"].clone(),
        )
    }

    #[test]
    fn the_matrices_stay_and_their_scale_changes() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("best");
        let model = &ModelConfig::read(&fixture("models/fixture/config.json")).unwrap();
        let whole = Adapter::read(&good(), model).unwrap();
        for scale in [1.0, 0.7, 0.5] {
            write_scaled(&good(), &to, scale).unwrap();
            let copy = Adapter::read(&to, model).unwrap();
            for (module, pair) in &whole.modules {
                let found = &copy.modules[module];
                assert_eq!((&found.a, &found.b), (&pair.a, &pair.b));
                assert!((f64::from(found.scale) - scale * f64::from(pair.scale)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn alphas_of_single_modules_are_scaled_too() {
        let folder = tempfile::tempdir().unwrap();
        let from = fixture("adapters/tiny-llama/rslora_patterns");
        write_scaled(&from, folder.path(), 0.5).unwrap();
        let (was, is) = (alpha(&from), alpha(folder.path()));
        assert_eq!(is.0.as_f64().unwrap(), was.0.as_f64().unwrap() * 0.5);
        let patterns = was.1.as_object().unwrap();
        assert!(!patterns.is_empty());
        for (module, alpha) in patterns {
            assert_eq!(
                is.1[module].as_f64().unwrap(),
                alpha.as_f64().unwrap() * 0.5
            );
        }
    }

    /// vLLM and PEFT read a whole number where there is one.
    #[test]
    fn a_product_is_written_as_people_would() {
        for (alpha, scale, expected) in [(16, 0.5, "8"), (16, 0.7, "11.2"), (3, 0.1, "0.3")] {
            let mut value = Value::from(alpha);
            scaled(&mut value, scale);
            assert_eq!(value.to_string(), expected);
        }
    }

    #[test]
    fn a_folder_that_is_no_adapter_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("best");
        assert!(write_scaled(&folder.path().join("none"), &to, 0.5).is_err());
        assert!(!to.exists());
    }
}
