//! What the kernel knows of a process and of the machine: /proc, as proc(5) describes it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// What a process has used since its start; the difference of two is what it used in between.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time of all its threads, those that have ended included.
    pub(crate) cpu: Duration,
    /// Context switches of the threads that are alive.
    pub(crate) switches: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        Ok(Self { cpu: cpu(pid)?, switches: switches(pid)? })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        let cpu = self.cpu.saturating_sub(earlier.cpu);
        Self { cpu, switches: self.switches.saturating_sub(earlier.switches) }
    }
}

/// utime and stime; its unit is a clock tick of 10 ms on most machines.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("{path}: has the process ended?"))?;
    let ticks = ticks_in(&stat).with_context(|| format!("{path} is not as proc(5) describes it"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

fn ticks_in(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn switches(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&path).with_context(|| format!("{path}: has the process ended?"))?;
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).unwrap_or_default(); // it may have ended
    Ok(tasks.flatten().map(status).map(|status| number(&status, "voluntary_ctxt_switches:")).sum())
}

/// The sum of the numbers behind `name`, which `nonvoluntary…` has, too: for context switches just what is wanted.
fn number(text: &str, name: &str) -> u64 {
    let numbers =
        text.lines().filter_map(|line| line.split_once(name)?.1.split_whitespace().next()?.parse::<u64>().ok());
    numbers.sum()
}

/// The proportional share of memory of a process, in bytes.
pub(crate) fn pss(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup =
        fs::read_to_string(&path).with_context(|| format!("{path}: only the process's owner and root may read it"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has no line Pss")?;
    kibibytes(line).with_context(|| format!("{path}: {line} is no size"))
}

/// What a process holds at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Holdings {
    /// Resident memory, in bytes.
    pub(crate) rss: u64,
    /// Its proportional share of memory, in bytes.
    pub(crate) pss: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

impl Holdings {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("{path}: has the process ended?"))?;
        let path = format!("/proc/{pid}/fd");
        let descriptors =
            fs::read_dir(&path).with_context(|| format!("{path}: has the process ended?"))?.count() as u64;
        Ok(Self {
            rss: number(&status, "VmRSS:") * 1024,
            pss: pss(pid)?,
            threads: number(&status, "Threads:"),
            descriptors,
        })
    }
}

/// Makes the calling thread give way to the others of this program, by so many steps of its priority (nice(2)).
pub(crate) fn give_way(steps: i32) {
    let _ = rustix::process::nice(steps); // to give way is always allowed
}

/// How many want the processors: the averages of the last 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The largest resident memory that a process has had, in bytes.
pub(crate) fn peak(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path}: has the process ended?"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("status has no line VmHWM")?;
    kibibytes(line).with_context(|| format!("{path}: {line} is no size"))
}

fn kibibytes(line: &str) -> Option<u64> {
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// What the kernel itself takes, in bytes: of the whole machine, so both ends of a loopback connection are in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Kernel {
    pub(crate) slab: i64,
    pub(crate) stacks: i64,
    pub(crate) page_tables: i64,
    /// What waits in TCP's buffers.
    pub(crate) tcp: i64,
}

impl Kernel {
    pub(crate) fn now() -> Result<Self> {
        let memory = fs::read_to_string("/proc/meminfo").context("/proc/meminfo cannot be read")?;
        let sockets = fs::read_to_string("/proc/net/sockstat").context("/proc/net/sockstat cannot be read")?;
        let of = |name: &str| (number(&memory, name) * 1024) as i64;
        let tcp = sockets.lines().find(|line| line.starts_with("TCP:")).map_or(0, |line| number(line, " mem "));
        let page = rustix::param::page_size() as u64;
        Ok(Self {
            slab: of("Slab:"),
            stacks: of("KernelStack:"),
            page_tables: of("PageTables:"),
            tcp: (tcp * page) as i64,
        })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            slab: self.slab - earlier.slab,
            stacks: self.stacks - earlier.stacks,
            page_tables: self.page_tables - earlier.page_tables,
            tcp: self.tcp - earlier.tcp,
        }
    }

    pub(crate) fn total(self) -> i64 {
        self.slab + self.stacks + self.page_tables + self.tcp
    }
}

/// The name of the processor, its number of cores, and the kernel.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().split('-').next().unwrap_or_default(); // what follows names a build
    format!("{model}, {cores} cores, Linux {kernel}")
}

/// Raises the limit on open files as far as it goes, for this process and the servers that it starts; the limit.
pub(crate) fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    in_force.unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(ticks_in(stat), Some(300));
        assert_eq!(ticks_in("7 (a) R 1"), None);
        assert_eq!(ticks_in(""), None);
    }

    #[test]
    fn both_kinds_of_switches_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(number(status, "voluntary_ctxt_switches:"), 21);
    }

    #[test]
    fn this_process_and_its_machine_can_be_read() {
        let pid = std::process::id();
        let before = Usage::of(pid).unwrap();
        let used = Usage::of(pid).unwrap().since(before);
        assert!(used.cpu < Duration::from_secs(60));
        assert!(pss(pid).unwrap() > 100_000 && peak(pid).unwrap() > 100_000);
        let holdings = Holdings::of(pid).unwrap();
        assert!(holdings.rss > 100_000 && holdings.threads > 0 && holdings.descriptors > 2);
        assert_eq!(load_average().split(' ').count(), 3);
        assert!(Kernel::now().unwrap().slab > 0);
        assert!(machine().contains("Linux"));
    }
}
