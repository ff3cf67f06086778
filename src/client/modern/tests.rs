//! Machines that talk with each other through a server; what each shows is written as one line for each thing shown.

mod lost;
mod malice;
mod mixed;
mod rooms;
mod scripts;
mod server;
mod talk;
mod trusting;
mod waiting;
mod world;
