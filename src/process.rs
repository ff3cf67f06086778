//! What a process gives up before it touches a secret: files that others may read, and core dumps. And what a thread gives up: its turn.

/// Lets nobody else read the files that this process makes from now on, nor, unless `core_dumps`, its memory: a core dump would
/// have its keys and passwords in it, and so would a debugger of the same user.
///
/// Where the system has no such thing, nothing is given up.
pub fn give_up(core_dumps: bool) {
    #[cfg(unix)]
    {
        use rustix::fs::Mode;
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        if !core_dumps {
            forbid_core_dumps();
        }
    }
    #[cfg(not(unix))]
    let _ = core_dumps;
}

/// A limit of zero does not count where dumps are piped to a program, as they are with systemd; a process that is not dumpable
/// has none there either (core(5), PR_SET_DUMPABLE(2const)).
#[cfg(unix)]
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }); // to lower it is always allowed
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable); // as is this
    }
}

/// Lets the other threads of its scheduling group (the process, or a session's or a cgroup's processes) go before the calling one, for
/// good, when there are fewer processors than threads with something to do: beside another's share, one who is 5 `steps` back gets a
/// third of it, and one who is 10 back a tenth (sched(7), *The nice value*; 19 is the most). Threads that it starts from now on are as
/// far back.
///
/// On Linux alone has each thread a priority of its own (setpriority(2), *C library/kernel differences*); elsewhere nothing is given up.
pub fn step_back(steps: u8) {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(steps.into()); // to step back is always allowed
    #[cfg(not(target_os = "linux"))]
    let _ = steps;
}
