//! A room that somebody is in: its log, who is listed there, what each run said last.

mod counters;
mod log;
mod roster;
