//! Whether a model fits into memory, with what is asked of it: told before anything is loaded.
//!
//! Without this a model that is too large ends the program without a word, or the whole machine
//! swaps. Weights are counted as they will be held, keys and values for answers at once, and what
//! training adds. Answers at once are no reason to refuse: where memory is short there are fewer.

use serde::Serialize;

use crate::flow::RunEvent;
use crate::generate::EngineOptions;
use crate::lora::LoraConfig;
use crate::model::{
    Code, Compute, Footprint, Format, Matrices, MemoryOf, ModelConfig, ModelError, Storage,
    TooLarge,
};
use crate::text::one_of;
use crate::train::{LoraSection, TrainSection};

use super::bench::shape;
use super::error::RunError;
use super::lora_settings::lora_config;
use super::memory::{self, Bound, Room};
use super::session::Session;

/// Tokens of a prompt and its answer, as far as that can be told before a prompt is rendered.
const POSITIONS: usize = 512;
/// Most rows whose logits are in memory together.
const LOGIT_ROWS: usize = 64;
/// From so many bytes on the user hears what a model takes.
const WORTH_A_LINE: u64 = 1_000_000_000;
/// The smallest passes that are proposed.
const LEAST_TOKENS: usize = 64;
/// What is proposed where a model is too large: the smaller built-in one, and its shape.
const SMALLER: (&str, &str) = ("smollm2-135m", "smollm2");

/// Formats of a plan.
const PLANNED: [&str; 5] = ["f32", "bf16", "q8_0", "q4_k", "nf4"];

/// What is asked of a model beside its weights.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demand<'a> {
    /// Answers at once; 0 is as many as suit the device.
    pub slots: usize,
    /// The adapter that is trained, and how.
    pub training: Option<(&'a LoraSection, &'a TrainSection)>,
}

/// A model at a place, with what is asked of it.
#[derive(Clone, Copy)]
struct Plan<'a> {
    footprint: Footprint<'a>,
    matrices: Matrices<'a>,
    config: &'a ModelConfig,
    place: MemoryOf,
    demand: Demand<'a>,
    /// Tokens of a training pass.
    tokens: usize,
}

impl<'a> Plan<'a> {
    fn new(
        config: &'a ModelConfig,
        matrices: Matrices<'a>,
        place: MemoryOf,
        demand: Demand<'a>,
    ) -> Self {
        Plan {
            footprint: Footprint::new(config, place, matrices),
            matrices,
            config,
            place,
            demand,
            tokens: demand.training.map_or(0, |(_, t)| t.micro_batch_tokens),
        }
    }

    fn slots(&self) -> usize {
        match self.demand.slots {
            0 => self.place.usual_slots(),
            slots => slots,
        }
    }

    /// Bytes of an adapter in training: its numbers, their gradients, and two moments, in F32; and
    /// a copy in whole lanes.
    fn adapter(&self) -> u64 {
        let Some((section, _)) = self.demand.training else {
            return 0;
        };
        let lora = lora_config(section);
        // What is wrong with the targets is told when the adapter is made.
        let targets = lora.targets(self.config, false).unwrap_or_default();
        let of = |lora: &LoraConfig, id: crate::model::ModuleId| {
            let (rank, _) = lora.rank_and_scale(id).ok()?;
            let ends =
                id.projection.in_features(self.config) + id.projection.out_features(self.config);
            Some((ends * (16 * rank + 4 * rank.next_multiple_of(16))) as u64)
        };
        targets.into_iter().filter_map(|id| of(&lora, id)).sum()
    }

    /// Bytes to compute in with so many answers at once, and what is counted nowhere: vocabulary,
    /// threads, what the allocator holds back. 2.53 GB of weights were seen to take 2.67 GB.
    fn working(&self, slots: usize) -> u64 {
        let rows = EngineOptions::new(slots, Vec::new(), 0).step_rows;
        let step = self.footprint.step(rows, slots.min(LOGIT_ROWS));
        step.saturating_add(self.footprint.weights() / 20)
    }

    fn activations(&self) -> u64 {
        self.footprint.activations(self.tokens)
    }

    /// Bytes with so many answers at once. Weights are loaded before anything is asked.
    fn with_slots(&self, slots: usize) -> u64 {
        let beside = [
            self.footprint.answers(slots, POSITIONS),
            self.working(slots),
            self.adapter(),
            self.activations(),
        ];
        let held = beside.iter().fold(self.footprint.weights(), |sum, more| {
            sum.saturating_add(*more)
        });
        held.max(self.footprint.while_loading())
    }

    /// Bytes that it cannot do without: one answer at a time.
    fn least(&self) -> u64 {
        self.with_slots(1)
    }

    /// What the bytes are for, with so many answers at once.
    fn takes(&self, slots: usize) -> String {
        let answers = match slots {
            1 => format!("one answer of {POSITIONS} tokens"),
            n => format!("{n} answers of {POSITIONS} tokens at once"),
        };
        let mut parts = vec![
            format!(
                "{} of weights {}",
                size(self.footprint.weights()),
                self.numbers()
            ),
            format!(
                "{} for {answers}",
                size(self.footprint.answers(slots, POSITIONS))
            ),
            format!("{} to compute in", size(self.working(slots))),
        ];
        if self.demand.training.is_some() {
            parts.push(format!(
                "{} for the adapter and its optimizer",
                size(self.adapter())
            ));
            parts.push(format!(
                "{} at least for passes of {} tokens",
                size(self.activations()),
                self.tokens
            ));
        }
        crate::text::all_of(&parts)
    }

    fn numbers(&self) -> &'static str {
        let quantized = match self.matrices {
            Matrices::Of(weights) => weights.storage() == Storage::Nf4,
            Matrices::In(_) => false,
        };
        match self.place {
            _ if quantized => "with the layers in NF4",
            _ if self.footprint.keeps_stored() => "as stored",
            MemoryOf::Host => "in F32",
            MemoryOf::Gpu { .. } => "in 16 bits",
        }
    }

    /// What would fit.
    fn ways_out(&self, room: &Room, compute: Compute) -> Vec<String> {
        let mut ways = Vec::new();
        let fits = |plan: &Plan<'_>| plan.least() <= room.bytes;
        let halves = std::iter::successors(Some(self.tokens / 2), |n| Some(n / 2));
        let fewer = halves
            .take_while(|&tokens| tokens >= LEAST_TOKENS)
            .find(|&tokens| fits(&Plan { tokens, ..*self }));
        if let Some(tokens) = fewer {
            ways.push(format!("set `micro_batch_tokens = {tokens}` under [train]"));
        }
        ways.extend(self.in_four_bits(&fits));
        if let Some(config) = shape(SMALLER.1) {
            let widened = Matrices::In(Format::F32);
            let smaller = Plan::new(&config, widened, self.place, self.demand);
            if smaller.least() < self.least() && fits(&smaller) {
                ways.push(format!(
                    "take a smaller model, such as `--model {}` ({})",
                    SMALLER.0,
                    size(smaller.least())
                ));
            }
        }
        ways.extend(self.other_device(compute));
        ways.push(match &room.bound {
            Bound::Machine if memory::total().is_none_or(|total| total < self.least()) => {
                "take a machine with more memory".into()
            }
            Bound::Machine => "end other programs".into(),
            Bound::Group(file) => format!("raise the limit in {}", file.display()),
            Bound::AddressSpace => "raise `ulimit -v`".into(),
        });
        ways
    }

    /// Layers in four bits, where they have more and that would fit.
    fn in_four_bits(&self, fits: &impl Fn(&Plan<'_>) -> bool) -> Option<String> {
        let more = match self.matrices {
            Matrices::Of(weights) => weights.quantized().is_none(),
            Matrices::In(format) => !format.is_quantized(),
        };
        let four = Matrices::In(Format::Codes(Code::Nf4));
        let four = Plan::new(self.config, four, self.place, self.demand);
        let fits = more && fits(&four);
        let way = || {
            format!(
                "set `load_in_4bit = true` under [model] ({})",
                size(four.least())
            )
        };
        (fits && four.least() < self.least()).then(way)
    }

    /// The other of processor and GPU, where it is there and was not tried.
    fn other_device(&self, compute: Compute) -> Option<String> {
        let at = |place| {
            let footprint = self.footprint.at(place);
            let plan = Plan {
                footprint,
                place,
                ..*self
            };
            plan.least()
        };
        match self.place {
            MemoryOf::Host => compute.unused_gpu().map(|name| {
                let there = size(at(MemoryOf::Gpu { free: 0 }));
                format!("give `--device gpu` if {there} are free on the {name}")
            }),
            MemoryOf::Gpu { .. } => {
                (memory::available()? >= at(MemoryOf::Host)).then(|| "give `--device cpu`".into())
            }
        }
    }

    /// What the user should hear before it is loaded.
    fn judge(
        &self,
        model: &str,
        compute: Compute,
        room: Option<&Room>,
    ) -> Result<Option<String>, ModelError> {
        if let Some(room) = room
            && self.least() > room.bytes
        {
            return Err(ModelError::TooLarge(Box::new(TooLarge {
                model: model.to_owned(),
                place: match self.place {
                    MemoryOf::Host => "memory",
                    MemoryOf::Gpu { .. } => "the GPU's memory",
                },
                takes: format!("{} ({})", size(self.least()), self.takes(1)),
                available: size(room.bytes),
                limit: room.bound.to_string(),
                way_out: one_of(&self.ways_out(room, compute)),
            })));
        }
        let slots = self.slots();
        if self.with_slots(slots) < WORTH_A_LINE {
            return Ok(None);
        }
        let available = room.map_or(String::new(), |room| {
            format!("; {} are available{}", size(room.bytes), room.bound)
        });
        Ok(Some(format!(
            "memory: {} ({}){available}",
            size(self.with_slots(slots)),
            self.takes(slots)
        )))
    }
}

/// Judges whether a model may be loaded at a place; returns what the user should hear before.
///
/// # Errors
/// It takes more than there is.
pub fn may_load(
    model: &str,
    (config, matrices): (&ModelConfig, Matrices<'_>),
    compute: Compute,
    demand: Demand<'_>,
    place: MemoryOf,
) -> Result<Option<String>, ModelError> {
    let plan = Plan::new(config, matrices, place, demand);
    plan.judge(model, compute, room_at(place).as_ref())
}

/// What a model takes in this machine's memory, held in one way.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    /// How its matrices are held.
    pub held: String,
    /// Bytes of the weights.
    pub weights: u64,
    /// Bytes with one answer at a time.
    pub one_answer: u64,
    /// Bytes of a gate with the usual answers at once.
    pub gate: u64,
    /// Bytes of a training run as `qeval.toml` begins.
    pub training: u64,
}

/// What a model takes at a place: as its files have it, where there are any, and in other formats; and
/// how much is available there.
pub fn plan(
    config: &ModelConfig,
    matrices: Matrices<'_>,
    place: MemoryOf,
) -> (Vec<Planned>, Option<u64>) {
    let (lora, train) = (LoraSection::default(), TrainSection::default());
    let training = Demand {
        training: Some((&lora, &train)),
        ..Demand::default()
    };
    let planned = |held: String, matrices| {
        let gate = Plan::new(config, matrices, place, Demand::default());
        let with_adapter = Plan::new(config, matrices, place, training);
        Planned {
            held,
            weights: gate.footprint.weights(),
            one_answer: gate.least(),
            gate: gate.with_slots(place.usual_slots()),
            training: with_adapter.least(),
        }
    };
    let as_stored = match matrices {
        Matrices::Of(weights) => {
            let format = weights.quantized();
            let format = format.map_or(String::new(), |format| format!(" ({format})"));
            Some(planned(format!("as stored{format}"), matrices))
        }
        Matrices::In(_) => None,
    };
    // A GPU holds F32 in 16 bits.
    let of_place = |name: &&str| place == MemoryOf::Host || *name != "f32";
    let formats = PLANNED.into_iter().filter(of_place).filter_map(|name| {
        let format = Format::NAMED.iter().find(|(known, _)| *known == name)?.1;
        Some(planned(name.to_owned(), Matrices::In(format)))
    });
    let rows = as_stored.into_iter().chain(formats).collect();
    (rows, room_at(place).map(|room| room.bytes))
}

fn room_at(place: MemoryOf) -> Option<Room> {
    match place {
        MemoryOf::Host => memory::room(),
        MemoryOf::Gpu { free } => Some(Room {
            bytes: free,
            bound: Bound::Machine,
        }),
    }
}

/// How many of `wanted` answers of up to `positions` tokens fit beside a loaded model; the user
/// hears when there are fewer. A GPU's engine finds out by itself.
///
/// # Errors
/// Not even one fits.
pub(super) fn slots(
    session: &Session,
    what: &str,
    wanted: usize,
    positions: usize,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<usize, RunError> {
    let model = session.decoder.as_ref();
    match (model.place(), memory::available()) {
        (MemoryOf::Host, Some(available)) => {
            let footprint = model.footprint();
            let rows = session.engine_options(wanted).step_rows;
            let step = footprint.step(rows, wanted.min(LOGIT_ROWS));
            let (one, available) = (
                footprint.answers(1, positions),
                available.saturating_sub(step),
            );
            let (slots, notice) = fewer(what, wanted, positions, one, available)?;
            if let Some(notice) = notice {
                on_event(RunEvent::Notice(notice));
            }
            Ok(slots)
        }
        _ => Ok(wanted),
    }
}

fn fewer(
    what: &str,
    wanted: usize,
    positions: usize,
    one: u64,
    available: u64,
) -> Result<(usize, Option<String>), RunError> {
    let fit = usize::try_from(available / one.max(1)).unwrap_or(usize::MAX);
    if fit >= wanted {
        return Ok((wanted, None));
    }
    if fit == 0 {
        return Err(RunError::NoRoom {
            what: what.to_owned(),
            positions,
            takes: size(one),
            available: size(available),
        });
    }
    let notice = format!(
        "memory: {fit} answers at once, not {wanted}: each of up to {positions} tokens takes {}, and \
         {} are available; no answer depends on it",
        size(one),
        size(available)
    );
    Ok((fit, Some(notice)))
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::{cpu, session};

    const NAME: &str = "models/half.gguf";

    /// Qwen2.5's shape of half a billion weights, with a head of its own.
    fn half_a_billion() -> ModelConfig {
        ModelConfig {
            tie_word_embeddings: false,
            ..shape("0.5b").unwrap()
        }
    }

    fn room(bytes: u64, bound: Bound) -> Room {
        Room { bytes, bound }
    }

    fn group() -> Bound {
        Bound::Group("/sys/fs/cgroup/job/memory.max".into())
    }

    fn judged(demand: Demand<'_>, room: Option<Room>) -> String {
        let config = half_a_billion();
        let plan = Plan::new(&config, Matrices::In(Format::F32), MemoryOf::Host, demand);
        match plan.judge(NAME, cpu(), room.as_ref()) {
            Ok(notice) => notice.unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_fits_is_told_with_what_it_takes() {
        let (lora, train) = (LoraSection::default(), TrainSection::default());
        let training = Demand {
            training: Some((&lora, &train)),
            ..Demand::default()
        };
        let few = Demand {
            slots: 4,
            ..Demand::default()
        };
        let enough = || Some(room(8_000_000_000, Bound::Machine));
        let texts = [
            judged(Demand::default(), enough()),
            judged(few, Some(room(4_000_000_000, group()))),
            judged(training, enough()),
            judged(Demand::default(), None),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r"
        memory: 3.1 GB (2.5 GB of weights in F32, 403 MB for 32 answers of 512 tokens at once, and 163 MB to compute in); 8.0 GB are available
        memory: 2.7 GB (2.5 GB of weights in F32, 51 MB for 4 answers of 512 tokens at once, and 146 MB to compute in); 4.0 GB are available within the limit in /sys/fs/cgroup/job/memory.max
        memory: 3.4 GB (2.5 GB of weights in F32, 403 MB for 32 answers of 512 tokens at once, 163 MB to compute in, 106 MB for the adapter and its optimizer, and 247 MB at least for passes of 1024 tokens); 8.0 GB are available
        memory: 3.1 GB (2.5 GB of weights in F32, 403 MB for 32 answers of 512 tokens at once, and 163 MB to compute in)
        ");
    }

    #[test]
    fn a_small_model_is_no_news() {
        let session = session();
        let plan = Plan::new(
            session.decoder.config(),
            Matrices::In(Format::F32),
            MemoryOf::Host,
            Demand::default(),
        );
        let told = plan.judge(NAME, cpu(), Some(&room(8_000_000_000, Bound::Machine)));
        assert!(matches!(told, Ok(None)));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let (lora, train) = (LoraSection::default(), TrainSection::default());
        let training = Demand {
            training: Some((&lora, &train)),
            ..Demand::default()
        };
        let texts = [
            judged(Demand::default(), Some(room(1_900_000_000, group()))),
            judged(
                Demand::default(),
                Some(room(300_000_000, Bound::AddressSpace)),
            ),
            judged(training, Some(room(2_900_000_000, group()))),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r"
        models/half.gguf does not fit into memory: it takes 2.7 GB (2.5 GB of weights in F32, 13 MB for one answer of 512 tokens, and 144 MB to compute in), and 1.9 GB are available within the limit in /sys/fs/cgroup/job/memory.max; set `load_in_4bit = true` under [model] (822 MB), take a smaller model, such as `--model smollm2-135m` (598 MB), or raise the limit in /sys/fs/cgroup/job/memory.max
        models/half.gguf does not fit into memory: it takes 2.7 GB (2.5 GB of weights in F32, 13 MB for one answer of 512 tokens, and 144 MB to compute in), and 300 MB are available within `ulimit -v`; raise `ulimit -v`
        models/half.gguf does not fit into memory: it takes 3.0 GB (2.5 GB of weights in F32, 13 MB for one answer of 512 tokens, 144 MB to compute in, 106 MB for the adapter and its optimizer, and 247 MB at least for passes of 1024 tokens), and 2.9 GB are available within the limit in /sys/fs/cgroup/job/memory.max; set `micro_batch_tokens = 256` under [train], set `load_in_4bit = true` under [model] (1.2 GB), take a smaller model, such as `--model smollm2-135m` (792 MB), or raise the limit in /sys/fs/cgroup/job/memory.max
        ");
    }

    /// Every way out of a refusal is taken, and leads out.
    #[test]
    fn a_refusal_proposes_what_fits() {
        let (lora, mut train) = (LoraSection::default(), TrainSection::default());
        let bytes = 2_900_000_000;
        let told = judged(
            Demand {
                training: Some((&lora, &train)),
                ..Demand::default()
            },
            Some(room(bytes, group())),
        );
        let tokens = told.split("micro_batch_tokens = ").nth(1).unwrap();
        let tokens = tokens.split('`').next().unwrap().parse().unwrap();
        assert!(tokens < train.micro_batch_tokens);
        train.micro_batch_tokens = tokens;
        let demand = Demand {
            training: Some((&lora, &train)),
            ..Demand::default()
        };
        assert!(judged(demand, Some(room(bytes, group()))).starts_with("memory:"));
        let smaller = shape(SMALLER.1).unwrap();
        let plan = Plan::new(&smaller, Matrices::In(Format::F32), MemoryOf::Host, demand);
        assert!(plan.judge(NAME, cpu(), Some(&room(bytes, group()))).is_ok());
    }

    /// More answers at once are never a reason to refuse: there are fewer where memory is short.
    #[test]
    fn one_answer_is_enough_to_fit() {
        let config = half_a_billion();
        let many = Demand {
            slots: 4096,
            ..Demand::default()
        };
        let plan = Plan::new(&config, Matrices::In(Format::F32), MemoryOf::Host, many);
        assert!(plan.with_slots(4096) > 2 * plan.least());
        let just = room(plan.least(), group());
        assert!(plan.judge(NAME, cpu(), Some(&just)).is_ok());
        let short = room(plan.least() - 1, group());
        assert!(plan.judge(NAME, cpu(), Some(&short)).is_err());
    }

    #[test]
    fn fewer_answers_at_once_are_told() {
        let at = |available| fewer("suites", 32, 900, 22_000_000, available);
        assert_eq!(at(704_000_000).unwrap(), (32, None));
        let (slots, notice) = at(703_000_000).unwrap();
        assert_eq!(slots, 31);
        insta::assert_snapshot!(notice.unwrap(), @"memory: 31 answers at once, not 32: each of up to 900 tokens takes 22 MB, and 703 MB are available; no answer depends on it");
        insta::assert_snapshot!(at(20_999_999).unwrap_err(), @"suites: memory is full: one answer with its prompt, of up to 900 tokens, takes 22 MB, and 21 MB are available; lower `max_new_tokens`, shorten the longest prompt, or end other programs");
    }
}
