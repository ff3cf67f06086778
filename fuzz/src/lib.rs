//! Fuzz targets, and what they are run under: CONTRIBUTING.md says how.

#![forbid(unsafe_code)] // libfuzzer-sys has its own, which `target!` brings into the programs

mod limits;
pub mod targets;

pub use libfuzzer_sys;
pub use limits::watched;

/// The program of a target.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::watched(stringify!($name), data));
    };
}
