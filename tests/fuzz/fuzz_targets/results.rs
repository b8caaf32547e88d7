#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qeval_fuzz::run(qeval_fuzz::results, data));
