//! The properties of the codec; `tests/golden/modern-lines.txt` holds a line of each kind.

mod bounds;
mod forms;
mod properties;
pub(super) mod sample;
