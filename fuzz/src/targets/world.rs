//! The worlds of the tests: the real hub, codecs and clients without sockets.

#[path = "../../../tests/common/world.rs"]
#[allow(dead_code, unreachable_pub, clippy::all, reason = "tests use the rest of it")]
pub mod hub;
#[path = "../../../tests/modern_world/mod.rs"]
#[allow(clippy::all, reason = "tests check it")]
pub mod modern;
