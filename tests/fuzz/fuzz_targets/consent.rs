#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| passerelle_fuzz_targets::consent(data));
