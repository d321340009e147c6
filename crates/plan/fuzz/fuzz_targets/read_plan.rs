//! Bytes from the fuzzer into `read_plan`: `cargo +nightly fuzz run read_plan`.
//! It does not know what is right, only that nothing panics or hangs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanout_plan_fuzz::entry::read_plan(bytes));
