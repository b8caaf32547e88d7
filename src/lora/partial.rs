//! A copy of a PEFT folder without one of its parts: the other tensors as they are stored, and
//! `target_modules` naming what is left, path by path, so that every program that loads the folder
//! leaves the part as the base has it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value};

use super::adapter::{CONFIG, TRAINED_ON, WEIGHTS};
use super::tensor_names::{Part, Table, TablePart, TensorRole};
use super::{AdapterPart, LoraError};
use crate::atomic_file;
use crate::model::{ModelError, ModuleId};

/// Writes the adapter in `from` to the folder `to` without a part, which is replaced at once if it is
/// there.
///
/// # Errors
/// `from` is no PEFT folder, has nothing of the part or nothing else; the part is its embedding or
/// head; or `to` cannot be written: an older folder is untouched then.
pub fn write_without(from: &Path, to: &Path, part: &AdapterPart) -> Result<(), LoraError> {
    let refused = |why: &'static str| LoraError::NotPartible {
        path: from.to_path_buf(),
        part: part.to_string(),
        why,
    };
    if matches!(part, AdapterPart::Embedding | AdapterPart::Head) {
        return Err(refused(
            "rows of the embedding and of the head are not taken out of a file; train again with \
             linear layers alone",
        ));
    }
    let path = from.join(CONFIG);
    let text = fs::read(&path).map_err(LoraError::at("read", &path))?;
    let mut config: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|source| LoraError::Json { path, source })?;
    let weights = from.join(WEIGHTS);
    let bytes = fs::read(&weights).map_err(LoraError::at("read", &weights))?;
    let corrupt = |error: safetensors::SafeTensorError| ModelError::Corrupt {
        path: weights.clone(),
        problem: error.to_string(),
    };
    let file = SafeTensors::deserialize(&bytes).map_err(corrupt)?;
    let mut kept: Vec<(String, TensorView<'_>)> = Vec::new();
    let (mut targets, mut left_out) = (BTreeSet::new(), 0);
    for (name, tensor) in file.iter() {
        match TensorRole::of(name) {
            Some(TensorRole::Of(module, _)) if part.holds(module) => {
                left_out += 1;
                continue;
            }
            Some(TensorRole::Of(module, Part::A)) => {
                targets.insert(path_of(name, module));
            }
            Some(TensorRole::OfTable(table, TablePart::A)) => {
                targets.insert(Table::module(table).to_owned());
            }
            _ => {}
        }
        kept.push((name.to_owned(), tensor));
    }
    if left_out == 0 {
        return Err(refused("it has nothing there"));
    }
    if targets.is_empty() {
        return Err(refused("nothing would be left of it"));
    }
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    let targets: Vec<Value> = targets.into_iter().map(Value::from).collect();
    config.insert("target_modules".into(), targets.into());
    // The paths say it all; PEFT takes these for names and expressions only.
    for key in ["exclude_modules", "layers_to_transform", "layers_pattern"] {
        if let Some(value) = config.get_mut(key) {
            *value = Value::Null;
        }
    }
    let config = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let kept = safetensors::serialize(kept, Some(metadata)).map_err(corrupt)?;
    atomic_file::write_folder(to, |aside| {
        let place = aside.join(CONFIG);
        fs::write(&place, config).map_err(LoraError::at("write", &place))?;
        let place = aside.join(WEIGHTS);
        fs::write(&place, kept).map_err(LoraError::at("write", &place))?;
        let trained_on = from.join(TRAINED_ON);
        if trained_on.is_file() {
            fs::copy(&trained_on, aside.join(TRAINED_ON))
                .map_err(LoraError::at("copy", &trained_on))?;
        }
        Ok(())
    })
}

/// A module's path as PEFT compares it with targets. Only models that see pictures have their text
/// one level down, which the tensor's name shows.
fn path_of(name: &str, module: ModuleId) -> String {
    let own = module.to_string();
    if !name.contains("language_model") {
        return own;
    }
    let path = name.split(".lora_A").next().unwrap_or(name);
    path.strip_prefix("base_model.model.")
        .unwrap_or(path)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::lora::Adapter;
    use crate::model::{ModelConfig, Projection};

    fn fixture(name: &str) -> PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        fixtures.join(name)
    }

    fn model(name: &str) -> ModelConfig {
        ModelConfig::read(&fixture("models").join(name).join("config.json")).unwrap()
    }

    #[test]
    fn what_is_left_is_the_adapter_without_the_part() {
        let folder = tempfile::tempdir().unwrap();
        for (base, name) in [("fixture", "fixture/good"), ("tiny-llama", "tiny-llama/qv")] {
            let from = fixture("adapters").join(name);
            let model = model(base);
            let whole = Adapter::read(&from, &model).unwrap();
            for part in whole.bands(99).into_iter().chain(whole.kinds()) {
                let to = folder.path().join(part.typed());
                write_without(&from, &to, &part).unwrap();
                let left = Adapter::read(&to, &model).unwrap();
                let mut expected = whole.modules.clone();
                expected.retain(|id, _| !part.holds(*id));
                assert_eq!(left.modules, expected, "{name} without {part}");
                assert!(expected.len() < whole.modules.len());
            }
        }
    }

    #[test]
    fn what_cannot_be_taken_out_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("out");
        let refused = |name: &str, part: &str| {
            let from = fixture("adapters").join(name);
            let error = write_without(&from, &to, &part.parse().unwrap()).unwrap_err();
            let from = from.display().to_string();
            error.to_string().replace(&from, "[adapter]")
        };
        let all = [
            refused("fixture/good", "90-99"),
            refused("fixture/good", "0-99"),
            refused("fixture/good", "lm_head"),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        [adapter] cannot be written without layers 90-99: it has nothing there
        [adapter] cannot be written without layers 0-99: nothing would be left of it
        [adapter] cannot be written without lm_head: rows of the embedding and of the head are not taken out of a file; train again with linear layers alone
        ");
        assert!(!to.exists());
    }

    #[test]
    fn a_magnitude_goes_with_its_layer() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("out");
        let part = AdapterPart::Modules(Projection::Down);
        write_without(&fixture("adapters/kinds/dora"), &to, &part).unwrap();
        let bytes = fs::read(to.join(WEIGHTS)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert!(file.names().iter().all(|name| !name.contains("down_proj")));
        assert!(file.names().iter().any(|name| name.contains("magnitude")));
    }
}
