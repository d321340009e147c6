//! Bytes from the fuzzer into `references`: `cargo +nightly fuzz run references`.
//! It does not know what is right, only that nothing panics or hangs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanout_plan_fuzz::entry::references(bytes));
