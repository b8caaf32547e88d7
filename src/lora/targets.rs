//! Which linear layers an adapter sits on: PEFT's rules for `target_modules` and its companions.
//!
//! A list matches whole paths or their ends after a dot; a string is a regular expression over the
//! whole path; the keys of `rank_pattern` and `alpha_pattern` are regular expressions over the
//! end of a path, the first that fits wins (peft `tuners_utils.check_target_module_exists`,
//! `utils/other.get_pattern_key`).

use regex::Regex;

use super::{LoraConfig, LoraError};
use crate::model::{ModelConfig, ModuleId, Projection};

/// `target_modules`, or `exclude_modules`.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetModules {
    /// `all-linear`: every linear layer of the decoder; the head is not one of them.
    AllLinear,
    /// Whole paths or their ends: `q_proj`, `mlp.up_proj`, `model.layers.3.self_attn.q_proj`.
    Names(Vec<String>),
    /// A regular expression over the whole path.
    Pattern(String),
}

/// Modules outside of the decoder's layers that PEFT could put an adapter on.
const OUTSIDE: [&str; 2] = ["lm_head", "model.embed_tokens"];

impl LoraConfig {
    /// The linear layers of a model that the adapter sits on.
    ///
    /// # Errors
    /// Nothing fits, a pattern does not parse. With `strict`, also: the head or the embedding is taken
    /// in, a name, a layer or a pattern key that fits nothing: a slip of the pen in a training
    /// configuration, but harmless in an adapter that PEFT wrote.
    pub fn targets(&self, model: &ModelConfig, strict: bool) -> Result<Vec<ModuleId>, LoraError> {
        let selector = Selector::new(self)?;
        // Of an adapter that is there, the file shows what the embedding and the head have.
        let outside = strict.then_some(OUTSIDE).into_iter().flatten();
        if let Some(module) = outside.into_iter().find(|m| selector.takes(m)) {
            return Err(LoraError::OutsideDecoder {
                target: self.target_modules.to_string(),
                module,
                names: names(),
            });
        }
        let found: Vec<ModuleId> = ModuleId::all(model)
            .filter(|id| selector.takes(&id.to_string()))
            .collect();
        let no_match =
            |key, target: String, rule: String| Err(LoraError::NoMatch { key, target, rule });
        if found.is_empty() {
            let rule = format!("possible are all-linear, {}, or paths of modules", names());
            return no_match("target_modules", self.target_modules.to_string(), rule);
        }
        if !strict {
            return Ok(found);
        }
        if let TargetModules::Names(list) = &self.target_modules {
            let fits =
                |name: &String| ModuleId::all(model).any(|id| ends_with(&id.to_string(), name));
            if let Some(lost) = list.iter().find(|name| !fits(name)) {
                let rule = format!("possible are {}, or paths of modules", names());
                return no_match("target_modules", lost.clone(), rule);
            }
        }
        let layers = self.layers_to_transform.iter().flatten();
        if let Some(beyond) = layers.into_iter().find(|l| **l >= model.num_hidden_layers) {
            let rule = format!("its layers are 0 to {}", model.num_hidden_layers - 1);
            return no_match("layers_to_transform", beyond.to_string(), rule);
        }
        for (key, patterns) in [
            (
                "rank_pattern",
                self.rank_pattern.iter().map(|p| &p.0).collect::<Vec<_>>(),
            ),
            (
                "alpha_pattern",
                self.alpha_pattern.iter().map(|p| &p.0).collect(),
            ),
        ] {
            for pattern in patterns {
                let regex = end_pattern(key, pattern)?;
                if !found.iter().any(|id| regex.is_match(&id.to_string())) {
                    let rule = "its keys are ends of the paths of targeted modules".to_owned();
                    return no_match(key, pattern.clone(), rule);
                }
            }
        }
        Ok(found)
    }

    /// The same of an adapter whose base sees pictures too, so that its text is one level down.
    pub(super) fn targets_below(&self, model: &ModelConfig) -> Result<Vec<ModuleId>, LoraError> {
        let selector = Selector::new(self)?;
        let takes = |id: &ModuleId| {
            let own = id.to_string();
            let below = own.strip_prefix("model.").unwrap_or(&own);
            // As transformers names modules today, and as it did before.
            ["model.language_model", "language_model.model"]
                .iter()
                .any(|head| selector.takes(&format!("{head}.{below}")))
        };
        Ok(ModuleId::all(model).filter(takes).collect())
    }

    /// Rank and scale of one module: `alpha / r`, with `use_rslora` `alpha / sqrt(r)`, after
    /// `rank_pattern` and `alpha_pattern`.
    ///
    /// # Errors
    /// A pattern does not parse.
    pub fn rank_and_scale(&self, module: ModuleId) -> Result<(usize, f32), LoraError> {
        self.rank_and_scale_at(&module.to_string())
    }

    /// The same by the path of any module.
    pub(super) fn rank_and_scale_at(&self, path: &str) -> Result<(usize, f32), LoraError> {
        let rank = first_match("rank_pattern", &self.rank_pattern, path)?.unwrap_or(self.rank);
        let alpha = first_match("alpha_pattern", &self.alpha_pattern, path)?.unwrap_or(self.alpha);
        let by = if self.use_rslora {
            (rank as f64).sqrt()
        } else {
            rank as f64
        };
        Ok((rank, (alpha / by) as f32))
    }
}

fn first_match<T: Copy>(
    key: &'static str,
    patterns: &[(String, T)],
    path: &str,
) -> Result<Option<T>, LoraError> {
    for (pattern, value) in patterns {
        if end_pattern(key, pattern)?.is_match(path) {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn names() -> String {
    Projection::ALL.map(Projection::hf_name).join(", ")
}

fn ends_with(path: &str, end: &str) -> bool {
    path == end
        || path
            .strip_suffix(end)
            .is_some_and(|rest| rest.ends_with('.'))
}

fn compile(key: &'static str, pattern: &str, whole: String) -> Result<Regex, LoraError> {
    // The parser's message draws the expression over several lines; its last says what is wrong.
    let problem = |e: regex::Error| {
        let text = e.to_string();
        text.lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned()
    };
    // On its own first: `a)|(b` becomes valid only by what is put around it.
    Regex::new(pattern)
        .and_then(|_| Regex::new(&whole))
        .map_err(|e| LoraError::Pattern {
            key,
            pattern: pattern.to_owned(),
            problem: problem(e),
        })
}

fn whole_pattern(key: &'static str, pattern: &str) -> Result<Regex, LoraError> {
    compile(key, pattern, format!(r"\A(?:{pattern})\z"))
}

fn end_pattern(key: &'static str, pattern: &str) -> Result<Regex, LoraError> {
    compile(key, pattern, format!(r"\A(?:.*\.)?(?:{pattern})\z"))
}

impl std::fmt::Display for TargetModules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetModules::AllLinear => f.write_str("all-linear"),
            // PEFT often writes out every path.
            TargetModules::Names(list) if list.len() > 8 => {
                write!(f, "{}, ... {} in all", list[..2].join(", "), list.len())
            }
            TargetModules::Names(list) => f.write_str(&list.join(", ")),
            TargetModules::Pattern(pattern) => f.write_str(pattern),
        }
    }
}

/// [`TargetModules`] with its expression compiled.
enum Matcher {
    AllLinear,
    Names(Vec<String>),
    Pattern(Regex),
}

impl Matcher {
    fn new(key: &'static str, modules: &TargetModules) -> Result<Matcher, LoraError> {
        Ok(match modules {
            TargetModules::AllLinear => Matcher::AllLinear,
            TargetModules::Names(list) => Matcher::Names(list.clone()),
            TargetModules::Pattern(pattern) => Matcher::Pattern(whole_pattern(key, pattern)?),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Matcher::AllLinear => ModuleId::parse(path).is_some(),
            Matcher::Names(list) => list.iter().any(|name| ends_with(path, name)),
            Matcher::Pattern(regex) => regex.is_match(path),
        }
    }

    fn names_exactly(&self, path: &str) -> bool {
        matches!(self, Matcher::Names(list) if list.iter().any(|name| name == path))
    }
}

struct Selector<'a> {
    target: Matcher,
    exclude: Option<Matcher>,
    layers: Option<&'a [usize]>,
    layer_number: Vec<Regex>,
}

impl<'a> Selector<'a> {
    fn new(config: &'a LoraConfig) -> Result<Selector<'a>, LoraError> {
        let key = "layers_pattern";
        let layer_number = if config.layers_pattern.is_empty() {
            vec![compile(key, "", r"\A.*\.[^.]*\.(\d+)\.".to_owned())?]
        } else {
            config
                .layers_pattern
                .iter()
                .map(|pattern| compile(key, pattern, format!(r"\A.*\.(?:{pattern})\.(\d+)\.")))
                .collect::<Result<_, _>>()?
        };
        Ok(Selector {
            target: Matcher::new("target_modules", &config.target_modules)?,
            exclude: config
                .exclude_modules
                .as_ref()
                .map(|modules| Matcher::new("exclude_modules", modules))
                .transpose()?,
            layers: config.layers_to_transform.as_deref(),
            layer_number,
        })
    }

    fn takes(&self, path: &str) -> bool {
        if self.exclude.as_ref().is_some_and(|e| e.matches(path)) || !self.target.matches(path) {
            return false;
        }
        // PEFT does not filter a module that is named by its whole path.
        let Some(layers) = self.layers.filter(|_| !self.target.names_exactly(path)) else {
            return true;
        };
        let number = self
            .layer_number
            .iter()
            .find_map(|regex| regex.captures(path));
        number
            .and_then(|c| c.iter().flatten().last()?.as_str().parse().ok())
            .is_some_and(|layer: usize| layers.contains(&layer))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Two layers.
    fn model() -> ModelConfig {
        let path = "fixtures/models/tiny-llama/config.json";
        ModelConfig::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    }

    fn names(list: &[&str]) -> TargetModules {
        TargetModules::Names(list.iter().map(|n| (*n).to_owned()).collect())
    }

    fn on(target_modules: TargetModules) -> LoraConfig {
        LoraConfig {
            target_modules,
            ..LoraConfig::default()
        }
    }

    /// `0.q_proj 1.q_proj`
    fn found(config: &LoraConfig) -> String {
        let targets = config.targets(&model(), true).unwrap();
        let short = targets
            .iter()
            .map(|id| format!("{}.{}", id.layer, id.projection));
        short.collect::<Vec<_>>().join(" ")
    }

    fn refused(config: &LoraConfig) -> String {
        config.targets(&model(), true).unwrap_err().to_string()
    }

    #[test]
    fn all_linear_is_every_projection_and_not_the_head() {
        assert_eq!(
            on(TargetModules::AllLinear)
                .targets(&model(), true)
                .unwrap()
                .len(),
            14
        );
    }

    #[test]
    fn names_match_whole_paths_or_their_ends_after_a_dot() {
        assert_eq!(found(&on(names(&["q_proj"]))), "0.q_proj 1.q_proj");
        assert_eq!(found(&on(names(&["mlp.up_proj"]))), "0.up_proj 1.up_proj");
        assert_eq!(
            found(&on(names(&["model.layers.1.self_attn.v_proj"]))),
            "1.v_proj"
        );
        // A list holds names, never expressions, and never a part of a word.
        assert!(on(names(&["proj"])).targets(&model(), false).is_err());
        assert!(on(names(&[".*q_proj"])).targets(&model(), false).is_err());
    }

    #[test]
    fn a_string_is_an_expression_over_the_whole_path() {
        let pattern = |p: &str| on(TargetModules::Pattern(p.to_owned()));
        assert_eq!(
            found(&pattern(r".*\.1\..*(q|gate)_proj")),
            "1.q_proj 1.gate_proj"
        );
        // Not anchored at one end only: `q_proj` alone is no whole path.
        assert!(pattern("q_proj").targets(&model(), false).is_err());
    }

    #[test]
    fn excluded_modules_and_other_layers_are_left_out() {
        let base = on(names(&["q_proj", "v_proj"]));
        let exclude = |m: TargetModules| LoraConfig {
            exclude_modules: Some(m),
            ..base.clone()
        };
        assert_eq!(found(&exclude(names(&["q_proj"]))), "0.v_proj 1.v_proj");
        assert_eq!(
            found(&exclude(TargetModules::Pattern(r".*layers\.0\..*".into()))),
            "1.q_proj 1.v_proj"
        );
        let layers = |pattern: &[&str]| LoraConfig {
            layers_to_transform: Some(vec![1]),
            layers_pattern: pattern.iter().map(|p| (*p).to_owned()).collect(),
            ..base.clone()
        };
        assert_eq!(found(&layers(&[])), "1.q_proj 1.v_proj");
        assert_eq!(found(&layers(&["layers"])), "1.q_proj 1.v_proj");
        assert!(layers(&["h"]).targets(&model(), false).is_err());
        // PEFT's filter does not reach modules that are named in full.
        let full = LoraConfig {
            layers_to_transform: Some(vec![1]),
            ..on(names(&["model.layers.0.self_attn.q_proj"]))
        };
        assert_eq!(found(&full), "0.q_proj");
    }

    #[test]
    fn rank_and_scale_follow_the_first_pattern_that_fits_the_end() {
        let config = LoraConfig {
            rank: 4,
            alpha: 8.0,
            rank_pattern: vec![
                ("layers.1.self_attn.q_proj".into(), 2),
                ("q_proj".into(), 16),
            ],
            alpha_pattern: vec![("^model.layers.0.self_attn.q_proj".into(), 3.0)],
            ..LoraConfig::default()
        };
        let of = |config: &LoraConfig, path: &str| {
            config
                .rank_and_scale(ModuleId::parse(path).unwrap())
                .unwrap()
        };
        assert_eq!(of(&config, "model.layers.0.mlp.up_proj"), (4, 2.0));
        assert_eq!(
            of(&config, "model.layers.0.self_attn.q_proj"),
            (16, 3.0 / 16.0)
        );
        assert_eq!(of(&config, "model.layers.1.self_attn.q_proj"), (2, 4.0));
        let stabilized = LoraConfig {
            use_rslora: true,
            ..config
        };
        assert_eq!(of(&stabilized, "model.layers.0.mlp.up_proj"), (4, 4.0));
        assert_eq!(
            of(&stabilized, "model.layers.0.self_attn.q_proj"),
            (16, 0.75)
        );
    }

    #[test]
    fn slips_of_the_pen_are_refused_in_training_only() {
        let slips = [
            on(names(&["q_proj", "k_porj"])),
            LoraConfig {
                layers_to_transform: Some(vec![0, 2]),
                ..on(names(&["q_proj"]))
            },
            LoraConfig {
                rank_pattern: vec![("v_proj".into(), 2)],
                ..on(names(&["q_proj"]))
            },
            LoraConfig {
                alpha_pattern: vec![("v_proj".into(), 2.0)],
                ..on(names(&["q_proj"]))
            },
        ];
        for config in &slips {
            assert!(config.targets(&model(), false).is_ok());
        }
        insta::assert_snapshot!(slips.each_ref().map(refused).join("\n"), @r#"
        `target_modules`: "k_porj" fits no linear layer of this base; possible are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or paths of modules
        `layers_to_transform`: "2" fits no linear layer of this base; its layers are 0 to 1
        `rank_pattern`: "v_proj" fits no linear layer of this base; its keys are ends of the paths of targeted modules
        `alpha_pattern`: "v_proj" fits no linear layer of this base; its keys are ends of the paths of targeted modules
        "#);
    }

    #[test]
    fn what_cannot_carry_an_adapter_is_refused() {
        let pattern = |p: &str| on(TargetModules::Pattern(p.to_owned()));
        let all = [
            on(names(&["c_attn"])),
            on(names(&["q_proj", "lm_head"])),
            on(names(&["embed_tokens"])),
            pattern(".*"),
            pattern("(?!lm_head).*_proj"),
            pattern("(q_proj"),
            pattern("a)|(b"),
            LoraConfig {
                rank_pattern: vec![("(".into(), 2)],
                ..LoraConfig::default()
            },
        ];
        insta::assert_snapshot!(all.each_ref().map(refused).join("\n"), @r#"
        `target_modules`: "c_attn" fits no linear layer of this base; possible are all-linear, q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or paths of modules
        `target_modules`: "q_proj, lm_head" takes in `lm_head`; adapters go on the linear layers of the decoder only (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)
        `target_modules`: "embed_tokens" takes in `model.embed_tokens`; adapters go on the linear layers of the decoder only (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)
        `target_modules`: ".*" takes in `lm_head`; adapters go on the linear layers of the decoder only (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)
        `target_modules`: cannot match "(?!lm_head).*_proj": look-around, including look-ahead and look-behind, is not supported; write it without look-around and back-references, or list the names of the modules
        `target_modules`: cannot match "(q_proj": unclosed group; write it without look-around and back-references, or list the names of the modules
        `target_modules`: cannot match "a)|(b": unopened group; write it without look-around and back-references, or list the names of the modules
        `rank_pattern`: cannot match "(": unclosed group; write it without look-around and back-references, or list the names of the modules
        "#);
    }
}
