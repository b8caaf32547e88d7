//! Every input under `tests/fuzz/corpus`, through what the fuzzer does with it.

use std::time::{Duration, Instant};

#[path = "../fuzz/src/targets.rs"]
mod targets;

#[test]
fn inputs_of_the_fuzzer_are_read_or_refused() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let inputs = std::fs::read_dir(corpus.join(name)).unwrap();
        let inputs: Vec<_> = inputs.map(|entry| entry.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "{name}");
        for input in inputs {
            let began = Instant::now();
            target(&std::fs::read(&input).unwrap());
            // A hang, not a measurement: the fuzzer's own limit is one second.
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{}",
                input.display()
            );
        }
    }
}
