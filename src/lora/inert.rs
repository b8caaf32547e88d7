//! Adapters that change nothing: `scale * B A` is zero in every layer.
//!
//! A trainer that never stepped, or stepped at a rate of zero, writes one: PEFT begins with B = 0.
//! It passes every gate of `keep` suites, so whoever loads or judges one is told. Told from the
//! folder alone, without a base: this is no check that the adapter fits one.

use std::fmt;
use std::path::Path;

use super::adapter::{CONFIG, WEIGHTS};
use super::tensor_names::{Part, TablePart, TensorRole};
use super::{LoraConfig, LoraError};
use crate::model::TensorFile;

/// Why an adapter changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inert {
    /// It is asked at scale 0, or its alpha is.
    Scale,
    /// Every B is zero, as before the first step of training.
    B,
    /// Every A is zero.
    A,
}

impl Inert {
    /// Why the adapter in a folder, asked at `scale` times its own, changes nothing; `None` when it
    /// changes something.
    ///
    /// # Errors
    /// No adapter is there, or its files are damaged.
    pub fn of(folder: &Path, scale: f64) -> Result<Option<Inert>, LoraError> {
        let config = LoraConfig::read(&folder.join(CONFIG))?;
        let mut alphas = config.alpha_pattern.iter().map(|(_, alpha)| *alpha);
        if scale == 0.0 || (config.alpha == 0.0 && alphas.all(|alpha| alpha == 0.0)) {
            return Ok(Some(Inert::Scale));
        }
        let file = TensorFile::open(&folder.join(WEIGHTS))?;
        let role = TensorRole::of;
        let is_more = |name: &str| match role(name) {
            Some(TensorRole::Of(_, Part::A | Part::B)) | None => false,
            // Copies of the base's may stand there; what they hold is seen beside a base alone.
            Some(TensorRole::OfTable(_, part)) => part != TablePart::Whole,
            Some(_) => true,
        };
        if file.names().any(is_more) {
            return Ok(None);
        }
        let side_of = |name: &str| match role(name) {
            Some(TensorRole::Of(_, Part::B)) => Some(Inert::B),
            Some(TensorRole::Of(_, Part::A)) => Some(Inert::A),
            _ => None,
        };
        for inert in [Inert::B, Inert::A] {
            let mut all_zero = true;
            for name in file.names().filter(|name| side_of(name) == Some(inert)) {
                let (_, values) = file.get(name)?;
                all_zero &= values.iter().all(|value| *value == 0.0);
                if !all_zero {
                    break;
                }
            }
            if all_zero {
                return Ok(Some(inert));
            }
        }
        Ok(None)
    }
}

impl fmt::Display for Inert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Inert::Scale => "its scale is 0",
            Inert::B => "every lora_B is zero",
            Inert::A => "every lora_A is zero",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::Adapter;
    use crate::model::ModelFiles;

    fn fixture(path: &str) -> std::path::PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        fixtures.join(path)
    }

    /// The adapter `good` with its matrices or alpha changed.
    fn written(change: impl FnOnce(&mut Adapter)) -> tempfile::TempDir {
        let files = ModelFiles::open(&fixture("models/fixture")).unwrap();
        let good = fixture("adapters/fixture/good");
        let mut adapter = Adapter::read(&good, &files.config).unwrap();
        change(&mut adapter);
        let folder = tempfile::tempdir().unwrap();
        adapter.write(folder.path(), None).unwrap();
        folder
    }

    #[test]
    fn an_adapter_without_effect_is_told_with_its_reason() {
        let zero_b = written(|a| a.modules.values_mut().for_each(|m| m.b.fill(0.0)));
        let zero_a = written(|a| a.modules.values_mut().for_each(|m| m.a.fill(-0.0)));
        let said = |folder: &Path, scale| {
            let inert = Inert::of(folder, scale).unwrap();
            inert.map(|inert| inert.to_string()).unwrap_or_default()
        };
        assert_eq!(said(zero_b.path(), 1.0), "every lora_B is zero");
        assert_eq!(said(zero_a.path(), 1.0), "every lora_A is zero");
        let good = fixture("adapters/fixture/good");
        assert_eq!(said(&good, 0.0), "its scale is 0");
        assert_eq!(said(&good, 0.5), "");
    }

    /// One number in one layer is an effect.
    #[test]
    fn a_single_number_is_enough() {
        let folder = written(|a| {
            a.modules.values_mut().for_each(|m| m.b.fill(0.0));
            let last = a.modules.values_mut().next_back().unwrap();
            *last.b.last_mut().unwrap() = 1e-6;
        });
        assert_eq!(Inert::of(folder.path(), 1.0).unwrap(), None);
    }

    #[test]
    fn what_is_no_adapter_is_an_error() {
        assert!(Inert::of(&fixture("models/fixture"), 1.0).is_err());
    }
}
