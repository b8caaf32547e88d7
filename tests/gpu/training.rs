//! Runs of the trainer on both devices.

use std::ops::ControlFlow;

use qeval::gpu::Cuda;
use qeval::half_type::HalfType;
use qeval::lora::{LoraConfig, TargetModules, TrainedOn};
use qeval::model::{Keep, ModelRef};
use qeval::train::{
    CheckpointHook, CheckpointView, Origin, Rehearsal, Stay, TokenizedExample, TrainError,
    TrainLine, TrainSection, Training,
};

use crate::support::{gpu, pair, tokens};

/// Losses, validation losses, and notices.
#[derive(Default)]
struct Lines(Vec<f64>, Vec<f64>, Vec<String>);

impl CheckpointHook for Lines {
    fn at_checkpoint(&mut self, _: &CheckpointView<'_>) -> ControlFlow<String> {
        ControlFlow::Continue(())
    }

    fn at_line(&mut self, line: &TrainLine, _: f64) -> ControlFlow<String> {
        self.0.extend(line.loss);
        self.1.extend(line.eval_loss);
        ControlFlow::Continue(())
    }

    fn at_notice(&mut self, notice: &str) {
        self.2.push(notice.into());
    }
}

fn examples(config: &qeval::model::ModelConfig) -> Vec<TokenizedExample> {
    let example = |i: usize| {
        let ids = tokens(20 + i * 13 % 90, config, i as u64 % 5);
        TokenizedExample {
            is_label: (0..ids.len()).map(|t| t > 6).collect(),
            tokens: ids,
            group: i.to_string(),
            origin: Origin {
                file: "test".into(),
                line: i,
            },
            rehearsal: None,
            base: None,
        }
    };
    (0..40).map(example).collect()
}

fn train(model: ModelRef<'_>, keep: Keep, dropout: f64, folder: &std::path::Path) -> Lines {
    try_train(model, keep, dropout, folder).unwrap()
}

fn try_train(
    model: ModelRef<'_>,
    keep: Keep,
    dropout: f64,
    folder: &std::path::Path,
) -> Result<Lines, TrainError> {
    let examples = examples(model.config());
    try_train_on(model, &examples, &section(), keep, dropout, folder)
}

fn section() -> TrainSection {
    TrainSection {
        learning_rate: 2e-3,
        num_train_epochs: 11.0,
        per_device_train_batch_size: 8,
        gradient_accumulation_steps: 1,
        micro_batch_tokens: 300,
        ..TrainSection::default()
    }
}

fn try_train_on(
    model: ModelRef<'_>,
    examples: &[TokenizedExample],
    section: &TrainSection,
    keep: Keep,
    dropout: f64,
    folder: &std::path::Path,
) -> Result<Lines, TrainError> {
    let training = Training {
        model,
        examples: &examples[..36],
        validation: &examples[36..],
        section,
        lora: LoraConfig {
            rank: 8,
            alpha: 16.0,
            dropout,
            target_modules: TargetModules::AllLinear,
            ..LoraConfig::default()
        },
        base_name: None,
        trained_on: TrainedOn::new("digest", "base"),
        identity: "test".into(),
        folder: folder.to_path_buf(),
        keep,
        rungs: &[],
    };
    let mut lines = Lines::default();
    training.run(&mut lines)?;
    Ok(lines)
}

pub fn loss_falls_as_on_the_cpu_and_bits_repeat() {
    let cuda = gpu();
    let pair = pair(&cuda, "qwen2");
    for dropout in [0.0, 0.1] {
        let folder = || tempfile::tempdir().unwrap();
        let (a, b, c) = (folder(), folder(), folder());
        let host = train((&pair.cpu).into(), Keep::Products, dropout, a.path());
        let card = train((&pair.gpu).into(), Keep::All, dropout, b.path());
        assert!(host.0.len() >= 20);
        assert!(host.0.last() < host.0.first());
        for (i, (h, c)) in host.0.iter().zip(&card.0).enumerate() {
            assert!((h - c).abs() < 0.02 * h, "step {i}: {c}, on the CPU {h}");
        }
        for (h, c) in host.1.iter().zip(&card.1) {
            assert!((h - c).abs() < 0.02 * h, "validation {c}, on the CPU {h}");
        }
        let again = train((&pair.gpu).into(), Keep::Input, dropout, c.path());
        assert_eq!(
            card.0, again.0,
            "neither a restart nor the memory plan changes a bit"
        );
        assert!(adapter(b.path()) == adapter(c.path()));
    }
}

/// The bytes of the last checkpoint's matrices.
fn adapter(folder: &std::path::Path) -> Vec<u8> {
    let checkpoints = std::fs::read_dir(folder).unwrap();
    let last = checkpoints.map(|e| e.unwrap().path()).max().unwrap();
    std::fs::read(last.join("adapter_model.safetensors")).unwrap()
}

pub fn full_memory_is_answered_with_a_smaller_plan_and_the_same_bits() {
    let cuda = gpu();
    let pair = pair(&cuda, "qwen2");
    let run = |keep| {
        let folder = tempfile::tempdir().unwrap();
        cuda.reset_peak();
        let lines = train((&pair.gpu).into(), keep, 0.1, folder.path());
        (lines, adapter(folder.path()), cuda.memory().peak)
    };
    let (all, expected, most) = run(Keep::All);
    let (_, _, least) = run(Keep::Input);
    assert!(all.2.is_empty() && least < most, "{least} {most}");
    cuda.limit_memory(Some(least));
    let (lines, found, _) = run(Keep::All);
    assert_eq!(lines.0, all.0);
    assert!(found == expected);
    assert!(lines.2[0].contains("memory is full"), "{:?}", lines.2);
    let used = cuda.memory().used;
    cuda.limit_memory(Some(used));
    assert!(cuda.had_room().is_ok());
    let folder = tempfile::tempdir().unwrap();
    let refused = try_train((&pair.gpu).into(), Keep::All, 0.0, folder.path());
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("`micro_batch_tokens`"), "{text}");
    cuda.limit_memory(None);
    assert_eq!(cuda.memory().used, used, "what was begun is let go of");
}

/// A large weight takes gradients beyond 65504 under the usual loss scale.
pub fn half_precision_computes_again_what_was_too_large_for_it() {
    let cuda = Cuda::open(0, HalfType::Float16).unwrap();
    let pair = pair(&cuda, "qwen2");
    let stay = |(i, example): (usize, TokenizedExample)| {
        let rehearsal = (i % 2 == 1).then_some(Rehearsal {
            stay: Stay::DISTRIBUTION,
            cut: false,
        });
        let example = TokenizedExample {
            rehearsal,
            ..example
        };
        example.anchored(&pair.gpu).unwrap()
    };
    let examples = examples(&pair.config).into_iter().enumerate();
    let examples: Vec<TokenizedExample> = examples.map(stay).collect();
    let section = TrainSection {
        rehearsal_weight: 1e6,
        num_train_epochs: 3.0,
        ..section()
    };
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let model = (&pair.gpu).into();
        let lines = try_train_on(model, &examples, &section, Keep::All, 0.0, folder.path());
        (lines.unwrap().0, adapter(folder.path()))
    };
    let (losses, bits) = run();
    assert!(losses.iter().all(|loss| loss.is_finite()));
    assert_eq!(cuda.loss_scale(), HalfType::Float16.loss_scale());
    assert!(run() == (losses, bits), "the same again");
}
