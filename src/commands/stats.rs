//! `stats`: what VMs use of the host, measured between two looks.
//!
//! Where the figures come from is `control::usage`'s and QEMU's; of a VM that does not run, and what
//! nobody counts, is null.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};

use super::context::{Context, Vm};
use crate::cli::output::{Column, Output, Shape, plain};
use crate::cli::table::Flag;
use crate::control::ask::{Patience, Question, Reply, ask};
use crate::control::life::{self, Life};
use crate::control::usage;
use crate::definition::units::{self, Limit};
use crate::error::{Error, Kind, Result};
use crate::sys::{self, Interest};
use crate::wire::message::{Call, Request};
use crate::wire::status::State;

/// Between two looks, where --every says nothing: with -f, and for one answer.
const EVERY: Duration = Duration::from_secs(1);
const ONCE: Duration = Duration::from_millis(500);
/// The least that --every may say: the kernel counts time on CPUs in hundredths of a second.
const SHORTEST: Duration = Duration::from_millis(100);
/// For QEMU to tell what its disks have done.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// For as long as anybody will look.
const FOR_EVER: Duration = Duration::from_secs(100 * 366 * 86_400);

const SHAPE: Shape = Shape {
    list: true,
    columns: &[
        Column { title: "NAME", path: "name", show: plain },
        Column { title: "STATE", path: "state", show: plain },
        Column { title: "CPU", path: "cpu", show: percent },
        Column { title: "MEMORY", path: "memory", show: bytes },
        Column { title: "RUNNER", path: "runner_memory", show: bytes },
        Column { title: "READ/S", path: "disk_read_rate", show: bytes },
        Column { title: "WRITTEN/S", path: "disk_write_rate", show: bytes },
        Column { title: "IN/S", path: "net_receive_rate", show: bytes },
        Column { title: "OUT/S", path: "net_send_rate", show: bytes },
        Column { title: "READ", path: "disk_read", show: bytes },
        Column { title: "WRITTEN", path: "disk_written", show: bytes },
        Column { title: "IN", path: "net_received", show: bytes },
        Column { title: "OUT", path: "net_sent", show: bytes },
    ],
    fields: &[
        "name",
        "id",
        "state",
        "qemu_pid",
        "uptime",
        "interval",
        "cpu",
        "memory",
        "runner_memory",
        "disk_read",
        "disk_written",
        "disk_read_rate",
        "disk_write_rate",
        "net_received",
        "net_sent",
        "net_receive_rate",
        "net_send_rate",
    ],
};
/// The same with one array a line.
const ARRAYS: Shape = Shape { list: false, ..SHAPE };

/// One VM: bytes, bytes a second, and percents of one CPU.
#[derive(Debug, Serialize)]
struct Stats<'a> {
    name: &'a str,
    id: &'a str,
    state: State,
    qemu_pid: Option<u32>,
    uptime: Option<u64>,
    /// Seconds between the two looks.
    interval: Option<f64>,
    cpu: Option<f64>,
    memory: Option<u64>,
    runner_memory: Option<u64>,
    disk_read: Option<u64>,
    disk_written: Option<u64>,
    disk_read_rate: Option<u64>,
    disk_write_rate: Option<u64>,
    net_received: Option<u64>,
    net_sent: Option<u64>,
    net_receive_rate: Option<u64>,
    net_send_rate: Option<u64>,
}

/// What one look at one VM has found.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Option<Instant>,
    qemu_pid: Option<u32>,
    cpu: Option<Duration>,
    memory: Option<u64>,
    runner_memory: Option<u64>,
    /// Read and written.
    disk: Option<(u64, u64)>,
    /// Received and sent by the guest.
    net: Option<(u64, u64)>,
}

pub(super) fn stats(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let follows = invocation.has(Flag::Follow);
    let shape = if follows && invocation.has(Flag::Json) { ARRAYS } else { SHAPE };
    let mut output = Output::new(invocation, shape)?;
    let every = match invocation.limit(Flag::Every) {
        None if follows => EVERY,
        None => ONCE,
        Some(Limit::After(every)) if every >= SHORTEST => every,
        Some(_) => return Err(Error::usage("--every is a time of at least 100ms")),
    };
    let selected = context.selects_vms();
    let vms = if selected { context.vms()? } else { context.every_vm()? };
    let deadline = context.deadline(FOR_EVER);
    let mut before = vec![Sample::default(); vms.len()];
    let mut first = true;
    let mut lines = 0;
    loop {
        let lives = looks(context, &vms);
        let samples = samples(context, &lives);
        let shown: Vec<Stats<'_>> = vms
            .iter()
            .zip(&lives)
            .zip(before.iter().zip(&samples))
            // Who names none wants to see those that run.
            .filter(|((_, life), _)| {
                selected || life.as_ref().is_some_and(|life| life.state.is_live())
            })
            .map(|((vm, life), (before, now))| compared(vm, life.as_ref(), before, now))
            .collect();
        if !first {
            if lines > 0 && output.is_terminal() {
                output.text(&format!("\x1b[{lines}A\x1b[J"))?;
            }
            lines = shown.len() + 1;
            if follows && output.is_json() {
                output.object(&shown)?;
            } else {
                shown.iter().try_for_each(|stats| output.object(stats))?;
            }
            output.finish()?;
            if !follows {
                return Ok(0);
            }
            output = Output::new(invocation, shape)?;
        }
        (first, before) = (false, samples);
        if !wait(Instant::now() + every, deadline)? {
            return Ok(if Instant::now() >= deadline { Kind::Timeout.exit_code() } else { 0 });
        }
    }
}

/// Waits until the next look; false where nobody reads any more, or the command's time is over.
fn wait(next: Instant, deadline: Instant) -> Result<bool> {
    let stdout = [(sys::standard_output(), Interest::Nothing)];
    while Instant::now() < next {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        let ready = sys::poll(&stdout, Some(next.min(deadline)))
            .map_err(|error| Error::io("wait", &error))?;
        if ready == [true] {
            return Ok(false);
        }
    }
    Ok(true)
}

fn looks(context: &Context<'_>, vms: &[Vm]) -> Vec<Option<Life>> {
    let names: Vec<(String, String)> =
        vms.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
    life::look(&context.folders, &names).into_iter().map(Result::ok).collect()
}

/// Looks at all VMs; QEMUs are asked side by side.
fn samples(context: &Context<'_>, lives: &[Option<Life>]) -> Vec<Sample> {
    let answers = |life: &&Life| life.responding == Some(true) && life.state != State::Starting;
    let call =
        Call::Qmp { command: "query-blockstats".into(), arguments: Map::new(), unsafe_: false };
    let question = |life: &Life| Question {
        id: life.id.clone(),
        request: Request::from(call.clone()),
        repeatable: true,
    };
    let questions: Vec<Question> = lives.iter().flatten().filter(answers).map(question).collect();
    let mut replies = ask(&context.folders, &questions, Patience::of(ANSWER_LIMIT)).into_iter();
    lives
        .iter()
        .map(|life| {
            let Some(life) = life else { return Sample::default() };
            let disk = Some(life).filter(answers).and_then(|_| match replies.next() {
                Some(Reply::Answer(Ok(answer))) => disk(&answer["return"]),
                _ => None,
            });
            let pid = life.qemu_pid;
            Sample {
                at: Some(Instant::now()),
                qemu_pid: pid,
                cpu: pid.and_then(usage::cpu_time),
                memory: pid.and_then(usage::resident),
                runner_memory: life.runner_pid.and_then(usage::resident),
                disk,
                net: pid.and_then(|pid| net(&usage::taps(pid))),
            }
        })
        .collect()
}

/// What went over these taps; nothing is known where there is none.
fn net(taps: &[String]) -> Option<(u64, u64)> {
    let all = taps.iter().map(|tap| usage::traffic(tap));
    all.reduce(|sum, one| sum.zip(one).map(|(sum, one)| (sum.0 + one.0, sum.1 + one.1))).flatten()
}

/// What all disks of a QEMU have read and written, as `query-blockstats` tells it.
fn disk(all: &Value) -> Option<(u64, u64)> {
    let count = |one: &Value, what: &str| one["stats"][what].as_u64().unwrap_or_default();
    let all = all.as_array()?;
    let sum = |what| all.iter().fold(0_u64, |sum, one| sum.saturating_add(count(one, what)));
    Some((sum("rd_bytes"), sum("wr_bytes")))
}

/// One VM as it is now, and what it has done since the look before.
fn compared<'a>(vm: &'a Vm, life: Option<&Life>, before: &Sample, now: &Sample) -> Stats<'a> {
    // Another QEMU has begun to count anew.
    let same = before.qemu_pid.is_some() && before.qemu_pid == now.qemu_pid;
    let interval = before.at.zip(now.at).filter(|_| same);
    let interval = interval.map(|(before, now)| now.duration_since(before).as_secs_f64());
    let rate = |before: Option<u64>, now: Option<u64>| {
        let (before, now) = before.zip(now)?;
        let seconds = interval.filter(|seconds| *seconds > 0.0)?;
        Some((now.saturating_sub(before) as f64 / seconds).round() as u64)
    };
    let spent = before.cpu.zip(now.cpu).map(|(before, now)| now.saturating_sub(before));
    let cpu = spent.zip(interval).map(|(spent, seconds)| spent.as_secs_f64() / seconds * 100.0);
    let first = |pair: Option<(u64, u64)>| pair.map(|(first, _)| first);
    let second = |pair: Option<(u64, u64)>| pair.map(|(_, second)| second);
    Stats {
        name: &vm.name,
        id: &vm.id,
        state: life.map_or(State::Stopped, |life| life.state),
        qemu_pid: now.qemu_pid,
        uptime: life.and_then(|life| life.uptime),
        interval: interval.map(|seconds| (seconds * 1000.0).round() / 1000.0),
        cpu: cpu.map(|percent| (percent * 10.0).round() / 10.0),
        memory: now.memory,
        runner_memory: now.runner_memory,
        disk_read: first(now.disk),
        disk_written: second(now.disk),
        disk_read_rate: rate(first(before.disk), first(now.disk)),
        disk_write_rate: rate(second(before.disk), second(now.disk)),
        net_received: first(now.net),
        net_sent: second(now.net),
        net_receive_rate: rate(first(before.net), first(now.net)),
        net_send_rate: rate(second(before.net), second(now.net)),
    }
}

fn bytes(value: &Value) -> String {
    value.as_u64().map_or_else(|| plain(value), units::bytes)
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| plain(value), |percent| format!("{percent:.1}%"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vm() -> Vm {
        Vm { id: "id".into(), name: "web".into(), definition: None }
    }

    #[test]
    fn two_looks_give_percents_and_rates() {
        let at = Instant::now();
        let before = Sample {
            at: Some(at),
            qemu_pid: Some(7),
            cpu: Some(Duration::from_secs(10)),
            disk: Some((1000, 0)),
            ..Sample::default()
        };
        let now = Sample {
            at: Some(at + Duration::from_secs(2)),
            cpu: Some(Duration::from_millis(10_500)),
            disk: Some((5000, 0)),
            net: Some((1, 2)),
            ..before
        };
        let vm = vm();
        let stats = compared(&vm, None, &before, &now);
        assert_eq!((stats.cpu, stats.interval), (Some(25.0), Some(2.0)));
        assert_eq!((stats.disk_read, stats.disk_read_rate), (Some(5000), Some(2000)));
        assert_eq!((stats.disk_write_rate, stats.net_sent), (Some(0), Some(2)));
        assert_eq!(stats.net_send_rate, None, "there was no tap before");
        let another = Sample { qemu_pid: Some(8), ..now };
        let stats = compared(&vm, None, &before, &another);
        assert_eq!((stats.cpu, stats.disk_read_rate), (None, None));
        assert_eq!(stats.disk_read, Some(5000));
    }

    #[test]
    fn what_all_disks_did_is_added_up() {
        let all = json!([
            {"stats": {"rd_bytes": 5, "wr_bytes": 7}},
            {"stats": {"rd_bytes": 1}},
            {},
        ]);
        assert_eq!(disk(&all), Some((6, 7)));
        assert_eq!(disk(&json!([])), Some((0, 0)));
        assert_eq!(disk(&Value::Null), None);
        assert_eq!(net(&[]), None);
    }
}
