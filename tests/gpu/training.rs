//! Runs of the trainer on both devices.

use std::ops::ControlFlow;

use qeval::lora::{LoraConfig, TargetModules, TrainedOn};
use qeval::model::{Keep, ModelRef};
use qeval::train::{
    CheckpointHook, CheckpointView, Origin, TokenizedExample, TrainLine, TrainSection, Training,
};

use crate::support::{gpu, pair, tokens};

#[derive(Default)]
struct Lines(Vec<f64>, Vec<f64>);

impl CheckpointHook for Lines {
    fn at_checkpoint(&mut self, _: &CheckpointView<'_>) -> ControlFlow<String> {
        ControlFlow::Continue(())
    }

    fn at_line(&mut self, line: &TrainLine, _: f64) -> ControlFlow<String> {
        self.0.extend(line.loss);
        self.1.extend(line.eval_loss);
        ControlFlow::Continue(())
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
            is_rehearsal: false,
            base: None,
        }
    };
    (0..40).map(example).collect()
}

fn train(model: ModelRef<'_>, keep: Keep, dropout: f64, folder: &std::path::Path) -> Lines {
    let examples = examples(model.config());
    let section = TrainSection {
        learning_rate: 2e-3,
        num_train_epochs: 11.0,
        per_device_train_batch_size: 8,
        gradient_accumulation_steps: 1,
        micro_batch_tokens: 300,
        ..TrainSection::default()
    };
    let training = Training {
        model,
        examples: &examples[..36],
        validation: &examples[36..],
        section: &section,
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
    };
    let mut lines = Lines::default();
    training.run(&mut lines).unwrap();
    lines
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
        let file = |folder: &std::path::Path| {
            let last = std::fs::read_dir(folder)
                .unwrap()
                .map(|e| e.unwrap().path())
                .max()
                .unwrap();
            std::fs::read(last.join("adapter_model.safetensors")).unwrap()
        };
        assert!(file(b.path()) == file(c.path()));
    }
}
