//! A device whose memory is full in the middle of a training step.

use std::process::Command;

use qeval::lora::{DropoutKey, Trainable};
use qeval::model::{Decoder, Keep, ModelError};
use qeval::train::{
    AdamW, MicroBatch, StepBatch, StepLoss, TrainSection, accumulate_in_room, clip,
};

use crate::limited::{Carried, Limited};
use crate::support::{Tiny, bits, example};

const STEPS: u32 = 3;
/// Set where the test runs as the program does.
const AS_PROGRAM: &str = "QEVAL_TEST_AS_PROGRAM";

/// A short pass and then a long one, which is refused after the first has left its gradients.
fn batch() -> StepBatch {
    let micro_batches: Vec<MicroBatch> = [9u32, 70]
        .map(|length| {
            let tokens = (0..length).map(|t| 3 + (t * 29) % 200).collect();
            MicroBatch::pack(&[example(tokens, (0..length).map(|t| t > 1).collect())])
        })
        .into();
    StepBatch::of(micro_batches)
}

/// What some steps leave: their losses, notices, the plan at the end, the matrices' bits.
struct Left {
    losses: Vec<StepLoss>,
    notices: Vec<String>,
    keep: Keep,
    matrices: Vec<Vec<u32>>,
}

/// Trains with dropout on a device of so many bytes.
fn train(tiny: &Tiny, limit: usize, mut keep: Keep) -> (Result<Left, ModelError>, Limited) {
    let device = Limited::new(limit);
    let config = &tiny.files.config;
    let decoder = Decoder::load_on(device.clone(), config, &tiny.files.weights).unwrap();
    let values = tiny.fresh(4, 2.0, 7).values();
    let mut carried = Carried(Trainable::new(config, values, 0.1));
    let mut optimizer = AdamW::new(&TrainSection::default(), &carried.0);
    let (mut losses, mut notices) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        let key = DropoutKey {
            seed: 1,
            step,
            micro_batch: 0,
        };
        let step = accumulate_in_room(&decoder, &mut carried, &batch(), &mut keep, 0.0, key);
        let (loss, notice) = match step {
            Ok(step) => step,
            Err(error) => return (Err(error), device),
        };
        losses.push(loss);
        notices.extend(notice);
        clip(&mut carried.0, 1.0);
        optimizer.update(&mut carried.0, 1e-2);
    }
    let matrices = carried.0.matrices().map(|(_, m)| bits(&m.value));
    let left = Left {
        losses,
        notices,
        keep,
        matrices: matrices.collect(),
    };
    (Ok(left), device)
}

fn smaller_plans_are_taken() {
    for name in ["tiny-qwen2", "tiny-qwen3"] {
        let tiny = Tiny::load(name);
        let plans = [Keep::All, Keep::Products, Keep::Input];
        let peaks = plans.map(|keep| {
            let (left, device) = train(&tiny, usize::MAX, keep);
            let left = left.unwrap();
            assert_eq!((left.keep, left.notices.len()), (keep, 0));
            assert_eq!(device.used(), 0);
            device.peak()
        });
        assert!(peaks[0] > peaks[1] && peaks[1] > peaks[2], "{peaks:?}");
        for (place, &keep) in plans.iter().enumerate().skip(1) {
            let (expected, _) = train(&tiny, usize::MAX, keep);
            let expected = expected.unwrap();
            let (found, device) = train(&tiny, peaks[place], Keep::All);
            let found = found.unwrap();
            assert_eq!(found.keep, keep);
            assert_eq!(found.notices.len(), 1, "the user hears of it once");
            assert!(found.notices[0].contains("memory is full"));
            assert_eq!(found.losses, expected.losses, "{name} {keep:?}");
            assert!(found.matrices == expected.matrices, "{name} {keep:?}");
            assert_eq!(device.used(), 0);
        }
        let (none, device) = train(&tiny, peaks[2] - 1, Keep::All);
        let Err(error @ ModelError::OutOfMemory { .. }) = none else {
            panic!("no plan fits");
        };
        assert!(error.to_string().contains("`micro_batch_tokens`"));
        assert_eq!(device.used(), 0, "what was begun is let go of");
    }
}

/// In a process of its own, whose panics end it, as those of the program do.
#[test]
fn full_memory_is_answered_with_a_smaller_plan_and_the_same_bits() {
    if std::env::var_os(AS_PROGRAM).is_some() {
        qeval::exit::install_panic_hook();
        smaller_plans_are_taken();
        println!("done as the program");
        return;
    }
    let name = concat!(
        "full_memory::",
        "full_memory_is_answered_with_a_smaller_plan_and_the_same_bits"
    );
    let child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(AS_PROGRAM, "1")
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].map(|b| String::from_utf8(b).unwrap());
    assert!(
        child.status.success() && said[0].contains("done as the program"),
        "{}\n{}\n{}",
        child.status,
        said[0],
        said[1]
    );
}
