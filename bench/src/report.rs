//! What is written about a comparison: a page of tables, and charts.

use std::fmt::Write;

use crate::compare::{Found, Results, Task};
use crate::load::Outcome;
use crate::pace::Mode;
use crate::plot::{Bar, Chart, Group, number};
use crate::target::Target;

/// A task in words.
pub(crate) fn title(task: &Task) -> String {
    match task {
        Task::Deliver(cell) => {
            let load = match cell.mode {
                Mode::Open { rate } => format!("{rate} deliveries/s"),
                Mode::Closed { window } => format!("saturated, window {window}"),
            };
            format!("room of {}, senders: {}, {load}", cell.members, cell.senders)
        }
        Task::Handshake { at_once, .. } => format!("new connections, {at_once} at once"),
        Task::Idle { connections, members } => format!("{connections} idle connections, rooms of {members}"),
        Task::Join { members } => format!("join storm of {members}"),
    }
}

/// The file of a task's chart.
fn file_name(task: &Task) -> String {
    match task {
        Task::Deliver(cell) => {
            let load = if matches!(cell.mode, Mode::Open { .. }) { "open" } else { "saturated" };
            format!("{load}-{}x{}.svg", cell.members, cell.senders)
        }
        Task::Handshake { .. } => "handshakes.svg".into(),
        Task::Idle { .. } => "idle.svg".into(),
        Task::Join { .. } => "joins.svg".into(),
    }
}

/// A column: its head, and its value.
type Column = (&'static str, fn(&Found) -> f64);

fn of_delivery(found: &Found, value: fn(&Outcome) -> f64) -> f64 {
    if let Found::Deliver(outcome) = found { value(outcome) } else { 0.0 }
}

/// The columns of a task's table; the first is what the chart shows.
fn columns(task: &Task) -> &'static [Column] {
    match task {
        Task::Deliver(_) => &[
            ("CPU-s per million deliveries", |f| of_delivery(f, |o| o.server_cpu_per_million)),
            ("deliveries/s", |f| of_delivery(f, |o| o.deliveries_per_second)),
            ("p50 ms", |f| of_delivery(f, |o| o.latency_p50)),
            ("p99 ms", |f| of_delivery(f, |o| o.latency_p99)),
            ("p99.9 ms", |f| of_delivery(f, |o| o.latency_p999)),
            ("bytes/delivery", |f| of_delivery(f, |o| o.bytes_per_delivery)),
            ("server, cores", |f| of_delivery(f, |o| o.server_cpu_share)),
            ("generator, cores", |f| of_delivery(f, |o| o.generator_cpu_share)),
            ("switches/s", |f| of_delivery(f, |o| o.switches_per_second)),
            ("faults", |f| of_delivery(f, |o| o.faults.total() as f64)),
            ("unfinished", |f| of_delivery(f, |o| o.unfinished as f64)),
        ],
        Task::Handshake { .. } => &[
            ("CPU-ms per connection", |f| if let Found::Handshake(h) = f { h.cpu_ms } else { 0.0 }),
            ("connections/s", |f| if let Found::Handshake(h) = f { h.per_second } else { 0.0 }),
            ("generator, cores", |f| if let Found::Handshake(h) = f { h.generator_cpu_share } else { 0.0 }),
        ],
        Task::Idle { .. } => &[
            ("PSS KiB per connection", |f| if let Found::Idle(i) = f { i.pss / 1024.0 } else { 0.0 }),
            ("kernel KiB, both ends", |f| if let Found::Idle(i) = f { i.kernel_both_ends / 1024.0 } else { 0.0 }),
            ("of it slab", |f| if let Found::Idle(i) = f { i.kernel_slab / 1024.0 } else { 0.0 }),
            ("stacks", |f| if let Found::Idle(i) = f { i.kernel_stacks / 1024.0 } else { 0.0 }),
            ("CPU share", |f| if let Found::Idle(i) = f { i.cpu_share } else { 0.0 }),
        ],
        Task::Join { .. } => &[
            ("bytes per joiner", |f| if let Found::Join(j) = f { j.bytes_per_joiner } else { 0.0 }),
            ("seconds", |f| if let Found::Join(j) = f { j.seconds } else { 0.0 }),
            ("until quiet, seconds", |f| if let Found::Join(j) = f { j.seconds_until_quiet } else { 0.0 }),
            ("CPU-ms per joiner", |f| if let Found::Join(j) = f { j.cpu_ms_per_joiner } else { 0.0 }),
        ],
    }
}

/// What was measured, and of whom; `None` when it failed.
fn subject(found: &Found) -> (Option<Task>, Target) {
    match found {
        Found::Deliver(outcome) => (Some(Task::Deliver(outcome.cell)), outcome.target),
        Found::Handshake(found) => (None, found.target),
        Found::Idle(found) => {
            (Some(Task::Idle { connections: found.connections, members: found.members }), found.target)
        }
        Found::Join(found) => (Some(Task::Join { members: found.members }), found.target),
        Found::NotRun { task, target, .. } | Found::Failed { task, target, .. } => (Some(*task), *target),
    }
}

/// Whether it came of this task.
fn is_of(found: &Found, task: &Task) -> bool {
    match (found, task) {
        (Found::Handshake(found), Task::Handshake { at_once, .. }) => found.at_once == *at_once,
        (
            Found::NotRun { task: Task::Handshake { at_once: its, .. }, .. }
            | Found::Failed { task: Task::Handshake { at_once: its, .. }, .. },
            Task::Handshake { at_once, .. },
        ) => its == at_once,
        (found, task) => subject(found).0.is_some_and(|its| its == *task),
    }
}

fn task_of(found: &Found) -> Task {
    match (found, subject(found).0) {
        (Found::Handshake(found), _) => Task::Handshake { at_once: found.at_once, seconds: 0.0 },
        (_, Some(task)) => task,
        (_, None) => Task::Join { members: 0 }, // all others have one
    }
}

/// All tasks, in the order in which they were first done.
fn tasks(results: &Results) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    for found in results.found.iter().filter(|found| !matches!(found, Found::NotRun { .. })) {
        if !tasks.iter().any(|task| is_of(found, task)) {
            tasks.push(task_of(found));
        }
    }
    tasks
}

/// The median; of two in the middle, the lower.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// One line of a table: the medians of a target's rounds, or why there are none.
struct Row {
    target: Target,
    values: Result<Vec<f64>, String>,
    /// Rounds that failed.
    failed: usize,
}

fn rows(results: &Results, task: &Task) -> Vec<Row> {
    let row = |target: &Target| {
        let mut of_target =
            results.found.iter().filter(|found| subject(found).1 == *target && is_of(found, task)).peekable();
        if let Some(Found::NotRun { why, .. }) = of_target.peek() {
            return Some(Row { target: *target, values: Err(format!("not run: {why}")), failed: 0 });
        }
        let (failed, good): (Vec<_>, Vec<_>) = of_target.partition(|found| matches!(found, Found::Failed { .. }));
        let of_column = |(_, value): &Column| median(good.iter().map(|found| value(found)).collect());
        let values: Option<Vec<_>> = columns(task).iter().map(of_column).collect();
        let why = match failed.first() {
            Some(Found::Failed { why, .. }) => why.lines().next().unwrap_or_default().to_owned(),
            _ => return values.map(|values| Row { target: *target, values: Ok(values), failed: 0 }),
        };
        Some(Row { target: *target, values: values.ok_or(format!("failed: {why}")), failed: failed.len() })
    };
    Target::ALL.iter().filter_map(row).collect()
}

/// The charts, and their files.
pub(crate) fn charts(results: &Results) -> Vec<(String, Chart)> {
    tasks(results).iter().map(|task| (file_name(task), chart(results, task))).collect()
}

fn chart(results: &Results, task: &Task) -> Chart {
    let unit = columns(task).first().map_or("", |(head, _)| head);
    let bar = |row: Row| {
        let value = *row.values.ok()?.first()?;
        Some(Bar { label: row.target.name().into(), value, ours: row.target.is_ours() })
    };
    let mut bars: Vec<_> = rows(results, task).into_iter().filter_map(bar).collect();
    bars.sort_by(|a, b| a.value.total_cmp(&b.value));
    let groups = vec![Group { label: String::new(), bars }];
    Chart { title: title(task), unit: format!("{unit} (less is better)"), groups }
}

const PREFACE: &str = "\
Written by the load generator in `bench/`; do not edit. Each server is started on a loopback port with its limits raised, all with
the same kind of certificate (P-256), and driven over TLS by one thread with thousands of clients. Rounds are interleaved, and
the figures are medians. A message has 700 bytes: on the legacy wire the package without its keys, on the modern wire a line
around the same token, with NATS and MQTT the payload; with IRC, which takes no more, 400. Senders do not get their own messages. In an open
loop, latency counts from when a message was due. `modern`, `legacy` and `legacy-keys` are this project's server; the `-keys` have an entry of
`encrypted_keys` for every member, as Python clients send it, and a Python server gets such a message in packages of at most 4096 bytes.
CPU is utime and stime of all threads of the server from /proc. Where the generator has a core to itself, it is the limit, and deliveries/s say
nothing about the server; CPU per delivery does.
";

/// The page.
pub(crate) fn page(results: &Results) -> String {
    let mut page = format!("# Benchmarks\n{PREFACE}\n");
    // Writing to memory cannot fail.
    let _ = writeln!(page, "Machine: {}. Rounds: {}. To measure again:", results.machine, results.rounds);
    let _ = writeln!(page, "```\ncargo build --release -p secure-chat -p secure-chat-bench\n{}\n```", results.command);
    for (target, why) in &results.missing {
        let _ = writeln!(page, "- **{} is missing**: {why}", target.name());
    }
    page.push_str(&versions(results));
    for task in tasks(results) {
        page.push_str(&section(results, &task));
    }
    page
}

/// What was measured, by its own words.
fn versions(results: &Results) -> String {
    let mut text = String::from("\n| target | version | TLS |\n|---|---|---|\n");
    for target in Target::ALL {
        let mut outcomes = results.found.iter().filter_map(|found| match found {
            Found::Deliver(outcome) if outcome.target == *target => Some(outcome),
            _ => None,
        });
        if let Some(outcome) = outcomes.next() {
            // Writing to memory cannot fail.
            let _ = writeln!(text, "| {} | {} | {} |", target.name(), outcome.version, outcome.tls);
        }
    }
    text
}

fn section(results: &Results, task: &Task) -> String {
    let (title, columns) = (title(task), columns(task));
    let heads: Vec<_> = columns.iter().map(|(head, _)| *head).collect();
    let mut text = format!("\n## {}\n![{title}](benchmarks/{})\n\n", capital(&title), file_name(task));
    let _ = writeln!(text, "| target | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(columns.len()));
    for row in rows(results, task) {
        let mark = if row.failed > 0 { format!(" ({} rounds failed)", row.failed) } else { String::new() };
        let cells = match row.values {
            Ok(values) => values.iter().map(|value| shown(*value)).collect::<Vec<_>>().join(" | "),
            Err(why) => why.replace('|', "/"),
        };
        let _ = writeln!(text, "| {}{mark} | {cells} |", row.target.name());
    }
    text
}

fn shown(value: f64) -> String {
    if value == 0.0 { "0".into() } else { number(value) }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::joins::Joins;

    fn joins(target: Target, bytes_per_joiner: f64) -> Found {
        let (seconds, seconds_until_quiet, cpu_ms_per_joiner) = (1.0, 2.0, 3.0);
        Found::Join(Joins { target, members: 10, seconds, seconds_until_quiet, bytes_per_joiner, cpu_ms_per_joiner })
    }

    #[test]
    fn medians_are_of_the_rounds_that_did_not_fail() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!((median(vec![4.0, 1.0]), median(vec![])), (Some(1.0), None));
    }

    #[test]
    fn a_page_tells_what_was_found_what_failed_and_what_is_missing() {
        let failed = |target, task| Found::Failed { target, task, why: "it broke\nin the middle".into() };
        let task = Task::Join { members: 10 };
        let found = vec![
            joins(Target::Modern, 700.0),
            joins(Target::Modern, 100.0),
            joins(Target::Modern, 300.0),
            joins(Target::Nats, 50.0),
            failed(Target::Nats, task),
            failed(Target::Ngircd, task),
            Found::NotRun { target: Target::Python, task, why: "it would take hours".into() },
        ];
        let missing = vec![(Target::Mosquitto, "not installed".to_owned())];
        let results = Results { machine: "here".into(), command: "bench".into(), rounds: 3, missing, found };
        let page = page(&results);
        for line in [
            "| modern | 300 | 1.00 | 2.00 | 3.00 |",
            "| nats (1 rounds failed) | 50.0 | 1.00 | 2.00 | 3.00 |",
            "| ngircd (1 rounds failed) | failed: it broke |",
            "| python | not run: it would take hours |",
            "- **mosquitto is missing**: not installed",
        ] {
            assert!(page.contains(line), "{line} is not in:\n{page}");
        }
        assert_eq!(charts(&results).len(), 1);
    }
}
