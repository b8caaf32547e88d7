//! Parts of an adapter that can be switched off by themselves: layers that follow each other, one
//! kind of linear layer everywhere, its rows of the embedding, those of the head.
//!
//! What a part carries is seen by asking the adapter without it. How large a part is says little of
//! that; its share of the whole stands beside it all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::{Adapter, LowRankPair};
use crate::model::{ModuleId, Projection};

/// A part of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdapterPart {
    /// Whatever stands on these layers, both ends included.
    Layers {
        /// The first, from 0.
        first: usize,
        /// The last.
        last: usize,
    },
    /// Every linear layer of this kind.
    Modules(Projection),
    /// Its rows of the embedding.
    Embedding,
    /// Its rows of the head.
    Head,
}

impl AdapterPart {
    /// Whether a linear layer belongs to it.
    pub fn holds(&self, module: ModuleId) -> bool {
        match *self {
            AdapterPart::Layers { first, last } => (first..=last).contains(&module.layer),
            AdapterPart::Modules(projection) => module.projection == projection,
            AdapterPart::Embedding | AdapterPart::Head => false,
        }
    }

    /// As it is typed, without a blank: `20-24`, `7`, `q_proj`, `embed_tokens`, `lm_head`.
    pub fn typed(&self) -> String {
        match *self {
            AdapterPart::Layers { first, last } if first == last => first.to_string(),
            AdapterPart::Layers { first, last } => format!("{first}-{last}"),
            AdapterPart::Modules(projection) => projection.hf_name().to_owned(),
            AdapterPart::Embedding => "embed_tokens".to_owned(),
            AdapterPart::Head => "lm_head".to_owned(),
        }
    }
}

impl fmt::Display for AdapterPart {
    /// `layers 20-24`, `layer 7`, `q_proj`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = self.typed();
        match self {
            AdapterPart::Layers { first, last } if first == last => write!(f, "layer {typed}"),
            AdapterPart::Layers { .. } => write!(f, "layers {typed}"),
            _ => f.write_str(&typed),
        }
    }
}

impl FromStr for AdapterPart {
    type Err = String;

    /// Reads what [`AdapterPart::typed`] and [`Display`](fmt::Display) write.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let numbers = text.strip_prefix("layers").or(text.strip_prefix("layer"));
        let numbers = numbers.unwrap_or(text).trim();
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        if let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse())
            && first <= last
        {
            return Ok(AdapterPart::Layers { first, last });
        }
        let mut kinds = Projection::ALL.into_iter();
        match (kinds.find(|kind| kind.hf_name() == text), text) {
            (Some(kind), _) => Ok(AdapterPart::Modules(kind)),
            (None, "embed_tokens") => Ok(AdapterPart::Embedding),
            (None, "lm_head") => Ok(AdapterPart::Head),
            (None, _) => Err(format!(
                "give layers (`20-24`, or one: `7`), or one of {}, embed_tokens, lm_head",
                Projection::ALL.map(Projection::hf_name).join(", ")
            )),
        }
    }
}

impl Adapter {
    /// Every linear layer that it changes.
    fn changed(&self) -> BTreeSet<ModuleId> {
        let outputs = self.beside.outputs.keys();
        self.modules.keys().chain(outputs).copied().collect()
    }

    /// The layers that it changes, from 0, in order.
    pub fn layers(&self) -> Vec<usize> {
        let layers: BTreeSet<usize> = self.changed().iter().map(|id| id.layer).collect();
        layers.into_iter().collect()
    }

    /// Its layers in so many bands of neighbours, as equal as can be; one a layer where there are no
    /// more layers than that. None where it changes no layer.
    pub fn bands(&self, count: usize) -> Vec<AdapterPart> {
        let layers = self.layers();
        let count = count.clamp(1, layers.len().max(1));
        let bands = (0..count).map(|band| {
            let ends = [band, band + 1].map(|end| end * layers.len() / count);
            &layers[ends[0]..ends[1]]
        });
        let part = |band: &[usize]| {
            let (&first, &last) = (band.first()?, band.last()?);
            Some(AdapterPart::Layers { first, last })
        };
        bands.filter_map(part).collect()
    }

    /// The kinds of linear layers that it changes, and the embedding and the head where it has rows
    /// of them.
    pub fn kinds(&self) -> Vec<AdapterPart> {
        let changed = self.changed();
        let mut kinds = Projection::ALL.to_vec();
        kinds.retain(|kind| changed.iter().any(|id| id.projection == *kind));
        let modules = kinds.into_iter().map(AdapterPart::Modules);
        let embedding = self.beside.embedding.as_ref();
        let head = self.beside.head.as_ref();
        modules
            .chain(embedding.map(|_| AdapterPart::Embedding))
            .chain(head.map(|_| AdapterPart::Head))
            .collect()
    }

    /// Whether it has anything of a part.
    pub fn has(&self, part: &AdapterPart) -> bool {
        match part {
            AdapterPart::Embedding => self.beside.embedding.is_some(),
            AdapterPart::Head => self.beside.head.is_some(),
            _ => self.changed().iter().any(|id| part.holds(*id)),
        }
    }

    /// How much of the low-rank update each part is, in [0, 1]: its sum of squares of `scale * B A`
    /// over that of all. `None` for the embedding and the head, which are rows and no update.
    pub fn shares(&self, parts: &[AdapterPart]) -> Vec<Option<f64>> {
        let squares: Vec<(ModuleId, f64)> = self
            .modules
            .iter()
            .map(|(id, pair)| (*id, square(pair)))
            .collect();
        let all: f64 = squares.iter().map(|(_, square)| square).sum();
        let share = |part: &AdapterPart| {
            let own = squares.iter().filter(|(id, _)| part.holds(*id));
            let own: f64 = own.map(|(_, square)| square).sum();
            let rows = matches!(part, AdapterPart::Embedding | AdapterPart::Head);
            (!rows && all > 0.0).then(|| own / all)
        };
        parts.iter().map(share).collect()
    }
}

/// An expression that fits these numbers of layers and no other: `[0-9]|1[0-4]|17`.
pub fn layers_pattern(layers: &[usize]) -> String {
    let mut tens: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for layer in layers {
        tens.entry(layer / 10).or_default().push(layer % 10);
    }
    let of_ten = |(ten, units): (&usize, &Vec<usize>)| {
        let lead = match ten {
            0 => String::new(),
            ten => ten.to_string(),
        };
        match units[..] {
            [only] => format!("{lead}{only}"),
            [first, .., last] if last - first + 1 == units.len() => {
                format!("{lead}[{first}-{last}]")
            }
            _ => {
                let units: String = units.iter().map(ToString::to_string).collect();
                format!("{lead}[{units}]")
            }
        }
    };
    tens.iter().map(of_ten).collect::<Vec<_>>().join("|")
}

/// Sum of squares of `scale * B A`, by the small products alone: the sum over i and j of
/// `(B^T B)[i, j] * (A A^T)[i, j]`.
fn square(pair: &LowRankPair) -> f64 {
    let rank = pair.rank;
    let inputs = pair.a.len() / rank.max(1);
    let dot = |x: &mut dyn Iterator<Item = (f32, f32)>| -> f64 {
        x.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
    };
    let row = |i: usize| pair.a[i * inputs..(i + 1) * inputs].iter().copied();
    let column = |i: usize| pair.b.iter().skip(i).step_by(rank).copied();
    let mut sum = 0.0;
    for i in 0..rank {
        for j in 0..=i {
            let product = dot(&mut row(i).zip(row(j))) * dot(&mut column(i).zip(column(j)));
            sum += if i == j { product } else { 2.0 * product };
        }
    }
    (sum * f64::from(pair.scale).powi(2)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::{Beside, LoraConfig, OwnRows};

    fn pair(scale: f32) -> LowRankPair {
        // B A = [[1*3 + 2*5, 1*4 + 2*6], [0, 0]] = [[13, 16], [0, 0]]
        LowRankPair {
            rank: 2,
            scale,
            a: vec![3.0, 4.0, 5.0, 6.0],
            b: vec![1.0, 2.0, 0.0, 0.0],
        }
    }

    /// `q_proj` and `up_proj` on these layers.
    fn adapter(layers: &[usize]) -> Adapter {
        let kinds = [(Projection::Q, 1.0), (Projection::Up, 3.0)];
        let modules: BTreeMap<ModuleId, LowRankPair> = layers
            .iter()
            .flat_map(|&layer| kinds.map(|(projection, scale)| (layer, projection, scale)))
            .map(|(layer, projection, scale)| (ModuleId { layer, projection }, pair(scale)))
            .collect();
        Adapter::new(LoraConfig::default(), modules)
    }

    fn written(parts: &[AdapterPart]) -> String {
        let each: Vec<String> = parts.iter().map(ToString::to_string).collect();
        each.join(", ")
    }

    #[test]
    fn bands_hold_every_layer_once() {
        let all: Vec<usize> = (0..24).collect();
        let adapter = adapter(&all);
        insta::assert_snapshot!(written(&adapter.bands(6)), @"layers 0-3, layers 4-7, layers 8-11, layers 12-15, layers 16-19, layers 20-23");
        for count in 1..30 {
            let bands = adapter.bands(count);
            assert_eq!(bands.len(), count.min(24));
            for &layer in &all {
                let id = ModuleId {
                    layer,
                    projection: Projection::Q,
                };
                assert_eq!(bands.iter().filter(|b| b.holds(id)).count(), 1, "{layer}");
            }
        }
    }

    #[test]
    fn parts_are_what_the_adapter_has() {
        let adapter = adapter(&[1, 2, 7]);
        insta::assert_snapshot!(written(&adapter.bands(2)), @"layer 1, layers 2-7");
        insta::assert_snapshot!(written(&adapter.kinds()), @"q_proj, up_proj");
        let rows = Beside {
            head: Some(OwnRows::Some(BTreeMap::new())),
            ..Beside::default()
        };
        let head = Adapter::with(LoraConfig::default(), BTreeMap::new(), rows);
        assert_eq!(written(&head.kinds()), "lm_head");
        assert!(head.bands(6).is_empty(), "it changes no layer");
        assert!(head.has(&AdapterPart::Head) && !head.has(&AdapterPart::Embedding));
    }

    #[test]
    fn a_pattern_fits_its_layers_and_no_other() {
        assert_eq!(layers_pattern(&[0, 1, 2, 14, 17]), "[0-2]|1[47]");
        for layers in [
            vec![3],
            (0..24).collect(),
            vec![1, 5, 9, 10, 30, 31, 32, 101],
        ] {
            let pattern = format!("^({})$", layers_pattern(&layers));
            let pattern = regex::Regex::new(&pattern).unwrap();
            for layer in 0..120 {
                let fits = pattern.is_match(&layer.to_string());
                assert_eq!(fits, layers.contains(&layer), "{layer} {pattern}");
            }
        }
    }

    #[test]
    fn shares_are_those_of_the_product() {
        let adapter = adapter(&[0, 1]);
        let squared = f64::from(13u16 * 13 + 16 * 16);
        assert!((square(&pair(3.0)) - 9.0 * squared).abs() < 1e-9);
        let shares = adapter.shares(&[
            AdapterPart::Layers { first: 0, last: 0 },
            AdapterPart::Modules(Projection::Q),
            AdapterPart::Modules(Projection::Up),
            AdapterPart::Head,
        ]);
        assert_eq!(shares, [Some(0.5), Some(0.1), Some(0.9), None]);
    }

    #[test]
    fn a_part_is_read_as_it_is_written() {
        let parts = [
            AdapterPart::Layers {
                first: 20,
                last: 24,
            },
            AdapterPart::Layers { first: 7, last: 7 },
            AdapterPart::Modules(Projection::Down),
            AdapterPart::Embedding,
            AdapterPart::Head,
        ];
        for part in parts {
            assert_eq!(part.to_string().parse(), Ok(part));
            assert_eq!(part.typed().parse(), Ok(part));
        }
        for wrong in ["", "5-2", "layers", "q_porj", "-1", "1-", "layers x"] {
            assert!(wrong.parse::<AdapterPart>().is_err(), "{wrong}");
        }
    }
}
