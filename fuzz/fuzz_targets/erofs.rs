//! See `westwork_gen::images::fuzz::image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| westwork_gen::images::fuzz::image(data));
