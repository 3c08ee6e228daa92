//! See `westwork_gen::images::fuzz::table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| westwork_gen::images::fuzz::table(data));
