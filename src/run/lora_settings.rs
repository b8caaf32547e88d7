//! `[lora]` as the adapter's own settings.

use crate::lora::{LoraConfig, TargetModules};
use crate::train::{LoraSection, TargetSelection};

/// The settings of an adapter that `[lora]` asks for.
pub(super) fn lora_config(section: &LoraSection) -> LoraConfig {
    LoraConfig {
        rank: section.rank,
        alpha: section.alpha,
        dropout: section.dropout,
        use_rslora: section.use_rslora,
        target_modules: match &section.target_modules {
            TargetSelection::AllLinear => TargetModules::AllLinear,
            TargetSelection::Named(names) => match names.as_slice() {
                // One entry with a sign that no module name has is a pattern over whole paths.
                [one] if one.contains(['*', '|', '(', '\\', '[', '^', '$']) => {
                    TargetModules::Pattern(one.clone())
                }
                names => TargetModules::Names(names.to_vec()),
            },
        },
        rank_pattern: section.rank_pattern.clone().into_iter().collect(),
        alpha_pattern: section.alpha_pattern.clone().into_iter().collect(),
        ..LoraConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_over_paths_is_told_from_names() {
        let targets = |names: &[&str]| {
            let named = names.iter().map(ToString::to_string).collect();
            let section = LoraSection {
                target_modules: TargetSelection::Named(named),
                ..LoraSection::default()
            };
            lora_config(&section).target_modules
        };
        let names =
            |names: &[&str]| TargetModules::Names(names.iter().map(ToString::to_string).collect());
        assert_eq!(targets(&["q_proj"]), names(&["q_proj"]));
        assert_eq!(targets(&["q_proj", "v_proj"]), names(&["q_proj", "v_proj"]));
        let pattern = r".*\.(q|v)_proj";
        assert_eq!(targets(&[pattern]), TargetModules::Pattern(pattern.into()));
    }
}
