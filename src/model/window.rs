//! Layers that see the last positions of the context alone (sliding-window attention, Beltagy et al.
//! 2020): which, how many positions, and their rotary embedding where it is another.

use serde_json::Value;

use super::ModelError;
use super::architecture::{Architecture, WindowRule};
use super::json::Keys;

/// Attention over the last positions alone, in some layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Positions that a row sees, its own among them; at least 1.
    pub size: usize,
    /// Whether a layer has the window, one a layer.
    pub layers: Vec<bool>,
    /// Base of the rotary embedding's frequencies in these layers, which nothing stretches there;
    /// `None` takes what the other layers have.
    pub rope_theta: Option<f64>,
}

impl Window {
    /// What `config.json` says; `None` when every layer sees the whole context.
    ///
    /// # Errors
    /// A kind of layer that is not known, or a list of another length.
    pub(super) fn read(
        keys: &Keys,
        architecture: Architecture,
        num_hidden_layers: usize,
    ) -> Result<Option<Window>, ModelError> {
        let layers = layers(keys, architecture, num_hidden_layers)?;
        if !layers.contains(&true) {
            return Ok(None);
        }
        let size = keys.size("sliding_window")?;
        let Some(size) = size.or(architecture.default_size("sliding_window")) else {
            // A list of layers without a size says nothing: transformers masks nothing then.
            return Ok(None);
        };
        let rope_theta = match architecture.is_gemma() {
            true => Some(local_theta(keys)?),
            false => None,
        };
        Ok(Some(Window {
            size,
            layers,
            rope_theta,
        }))
    }

    /// All layers but each one of `every`.
    pub(super) fn all_but_every(every: usize, layers: usize) -> Vec<bool> {
        (1..=layers).map(|n| !n.is_multiple_of(every)).collect()
    }
}

fn layers(
    keys: &Keys,
    architecture: Architecture,
    num_hidden_layers: usize,
) -> Result<Vec<bool>, ModelError> {
    if let Some(Value::Array(types)) = keys.get("layer_types") {
        if types.len() != num_hidden_layers {
            let found = types.len();
            let problem = format!("has {found} entries for {num_hidden_layers} layers");
            return Err(keys.wrong("layer_types", problem));
        }
        let kind = |kind: &Value| match kind.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            _ => Err(keys.unsupported(
                "layer_types",
                kind,
                "qeval computes full_attention and sliding_attention",
            )),
        };
        return types.iter().map(kind).collect();
    }
    let none = || vec![false; num_hidden_layers];
    Ok(match architecture.window_rule() {
        WindowRule::None => none(),
        WindowRule::EveryLayer => vec![keys.get("sliding_window").is_some(); num_hidden_layers],
        WindowRule::OnRequest => {
            if !keys.boolean("use_sliding_window", false)? || keys.get("sliding_window").is_none() {
                return Ok(none());
            }
            // Qwen2Config's default for a missing `max_window_layers` is 28.
            let full = match keys.get("max_window_layers") {
                None => 28,
                Some(n) => n
                    .as_u64()
                    .ok_or_else(|| keys.wrong("max_window_layers", format!("is {n}, no count")))?,
            };
            (0..num_hidden_layers as u64).map(|n| n >= full).collect()
        }
        WindowRule::AllButEvery(every) => {
            let every = keys.size("sliding_window_pattern")?.unwrap_or(every);
            Window::all_but_every(every, num_hidden_layers)
        }
    })
}

/// Gemma's `rope_local_base_freq`, or what transformers 5 writes in its place.
fn local_theta(keys: &Keys) -> Result<f64, ModelError> {
    let by_kind = keys.object("rope_parameters")?;
    let local = match &by_kind {
        Some(kinds) => kinds.object("sliding_attention")?,
        None => None,
    };
    if let Some(local) = local {
        match local.text("rope_type")? {
            None | Some("default") => {}
            Some(other) => {
                let rule = "layers with a window have a rotary embedding without scaling";
                return Err(local.unsupported("rope_type", &Value::from(other), rule));
            }
        }
        if let Some(theta) = local.positive("rope_theta")? {
            return Ok(theta);
        }
    }
    // The default of Gemma3TextConfig.
    Ok(keys.positive("rope_local_base_freq")?.unwrap_or(10_000.0))
}
