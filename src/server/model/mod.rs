//! The server's threads in a model checker: broker, connections, drains, store and checks as they are, over streams with real TLS, with
//! [`crate::model`] in the place of the operating system, and [`disk`] in that of the database.
//!
//! Each test is one scene, played many times: under a scheduler that draws every step, and under one that lets some threads run far
//! ahead of others (PCT), which finds what needs few but unlikely changes of turn. A failing schedule is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may fail loudly")]

mod client;
pub(super) mod disk;
mod endings;
mod kicks;
mod scene;
mod sockets;
mod store;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};

/// How many times more often each scene is played than without it.
const TIMES: &str = "CHAT_MODEL_TIMES";

/// A schedule that was printed: this one is played, once. For one test at a time.
const SCHEDULE: &str = "CHAT_MODEL_SCHEDULE";

/// Changes of turn that a schedule of PCT depends on.
const DEPTH: usize = 3;

/// Plays a scene under so many schedules of each kind.
fn play(schedules: usize, scene: impl Fn() + Send + Sync + 'static) {
    if let Ok(schedule) = std::env::var(SCHEDULE) {
        run(ReplayScheduler::new_from_encoded(&schedule), scene);
        return;
    }
    let times = std::env::var(TIMES).map_or(1, |times| times.parse().expect("a number of times"));
    let scene = std::sync::Arc::new(scene);
    let again = std::sync::Arc::clone(&scene);
    run(RandomScheduler::new(schedules * times), move || scene());
    run(PctScheduler::new(DEPTH, schedules * times), move || again());
}

fn run(scheduler: impl Scheduler + 'static, scene: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = 512 * 1024; // TLS handshakes and checks of keys happen on the scene's threads
    config.silence_warnings = true; // what it warns of is that it takes all atomics for sequentially consistent: the server asks for no less
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    Runner::new(scheduler, config).run(scene);
}

/// A number below `end`, of the checker's choice.
fn any(end: usize) -> usize {
    use shuttle::rand::Rng;
    shuttle::rand::thread_rng().gen_range(0..end)
}

/// Lets others go on for a while of the checker's choice.
fn pause() {
    (0..any(60)).for_each(|_| shuttle::thread::yield_now());
}
