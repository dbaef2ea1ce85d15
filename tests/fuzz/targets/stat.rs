#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| maqet_fuzz::run("stat", bytes));
