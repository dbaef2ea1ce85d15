//! The commands that change something, and what each of them leads to.

use super::ground::Ground;
use super::strace::Whose;

/// What the ground is before the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Stopped,
    /// This VM runs.
    Running(&'static str),
    /// This VM is paused.
    Paused(&'static str),
    /// This VM is paused, and this device was plugged into it as `mine`.
    Plugged(&'static str, &'static str),
    /// This VM's runner was killed, and its things lie about.
    Crashed(&'static str),
}

impl Before {
    /// The VM that has a runner.
    pub(crate) fn alive(self) -> Option<&'static str> {
        match self {
            Before::Running(name) | Before::Paused(name) | Before::Plugged(name, _) => Some(name),
            Before::Stopped | Before::Crashed(_) => None,
        }
    }
}

/// A command and what it leads to.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) words: &'static [&'static str],
    pub(crate) before: Before,
    pub(crate) whose: &'static [Whose],
    /// What it may exit with without a fault, and a repeat: 0, and what says that it is so already.
    pub(crate) again: &'static [i32],
    /// What a listing of all VMs (`name state`, sorted) then says, or a closer look.
    pub(crate) leads_to: fn(&Ground) -> Result<(), String>,
}

impl Case {
    /// Whether the guest of the VM that runs before is to notice nothing.
    pub(crate) fn leaves_guest_alone(&self) -> bool {
        let ends = ["stop", "restart", "rm", "start", "run"];
        self.before.alive().is_some() && !ends.contains(&self.words[0])
    }
}

fn asked(ground: &Ground, words: &[&str], expected: &str) -> Result<(), String> {
    let ran = ground.host.maqet(words);
    match ran.code == 0 && ran.stdout.contains(expected) {
        true => Ok(()),
        false => Err(format!(
            "{words:?} gave {} {:?} {:?}, not {expected:?}",
            ran.code, ran.stdout, ran.stderr
        )),
    }
}

fn state(ground: &Ground, name: &str, expected: &str) -> Result<(), String> {
    asked(ground, &["ls", name, "-o", "state"], expected)
}

/// No VM of this name is there.
fn none(ground: &Ground, name: &str) -> Result<(), String> {
    let listed = ground.host.maqet(["ls", "-q"]);
    match listed.code == 0 && listed.stdout.lines().all(|line| line != name) {
        true => Ok(()),
        false => Err(format!("{name} is there: {} {:?}", listed.stdout, listed.stderr)),
    }
}

/// The names of what `words` lists, one a line, sorted.
fn listed(ground: &Ground, words: &[&str], expected: &str) -> Result<(), String> {
    let ran = ground.host.maqet(words);
    let mut names: Vec<&str> = ran.stdout.lines().collect();
    names.sort_unstable();
    match ran.code == 0
        && names.iter().flat_map(|name| [*name, "\n"]).collect::<String>() == expected
    {
        true => Ok(()),
        false => Err(format!("{words:?} gave {} {:?} {:?}", ran.code, ran.stdout, ran.stderr)),
    }
}

fn disks(ground: &Ground, expected: &str) -> Result<(), String> {
    listed(ground, &["disk", "ls", "pc", "-o", "name"], expected)
}

fn sizes(ground: &Ground, expected: &str) -> Result<(), String> {
    listed(ground, &["disk", "ls", "pc", "-o", "name,size"], expected)
}

fn ports(ground: &Ground, expected: &str) -> Result<(), String> {
    listed(ground, &["port", "ls", "net", "-o", "host"], expected)
}

/// The guest's ends of the ports of `lan`.
fn ends(ground: &Ground, expected: &str) -> Result<(), String> {
    listed(ground, &["port", "ls", "lan", "-o", "guest"], expected)
}

/// Whether `pc` has the device `mine`.
fn mine(ground: &Ground, expected: bool) -> Result<(), String> {
    let ran = ground.host.maqet(["device", "ls", "pc", "-q"]);
    match ran.code == 0 && ran.stdout.lines().any(|id| id == "mine") == expected {
        true => Ok(()),
        false => Err(format!("device ls gave {} {:?} {:?}", ran.code, ran.stdout, ran.stderr)),
    }
}

/// These snapshots are there and whole.
fn snapshots(ground: &Ground, names: &[&str]) -> Result<(), String> {
    let lines = names.iter().map(|name| format!("{name}\t[]\n"));
    listed(ground, &["snapshot", "ls", "pc", "-o", "name,missing"], &lines.collect::<String>())
}

/// An archive that tar(1) reads.
fn tar(ground: &Ground, name: &str) -> Result<(), String> {
    let ran = crate::harness::run(ground.host.command("tar").args(["-tf", name]));
    match ran.code {
        0 => Ok(()),
        _ => Err(ran.stderr),
    }
}

use Whose::{All, Command, Runner};

const STOPPED: &[Whose] = &[Command];
const STARTS: &[Whose] = &[Command, All];
const LIVE: &[Whose] = &[Command, Runner];

const fn case(
    name: &'static str,
    words: &'static [&'static str],
    before: Before,
    whose: &'static [Whose],
    again: &'static [i32],
    leads_to: fn(&Ground) -> Result<(), String>,
) -> Case {
    Case { name, words, before, whose, again, leads_to }
}

use Before::{Crashed, Paused, Plugged, Running, Stopped};

pub(crate) const CASES: &[Case] = &[
    case(
        "add",
        &["add", "new", "--machine", "none", "--accel", "tcg", "--memory", "16M"],
        Stopped,
        STOPPED,
        &[0, 7],
        |g| state(g, "new", "stopped"),
    ),
    case("start", &["start", "web"], Stopped, STARTS, &[0], |g| state(g, "web", "running")),
    case("start, making a disk", &["start", "fresh"], Stopped, STARTS, &[0], |g| {
        state(g, "fresh", "running")
    }),
    case("start after a crash", &["start", "web"], Crashed("web"), STARTS, &[0], |g| {
        state(g, "web", "running")
    }),
    case("stop", &["stop", "web"], Running("web"), LIVE, &[0], |g| state(g, "web", "stopped")),
    case("stop by force", &["stop", "web", "--force"], Running("web"), LIVE, &[0], |g| {
        state(g, "web", "stopped")
    }),
    case("stop after a crash", &["stop", "web"], Crashed("web"), STOPPED, &[0], |g| {
        state(g, "web", "crashed")
    }),
    case("rm", &["rm", "web"], Stopped, STOPPED, &[0, 4], |g| none(g, "web")),
    case("rm after a crash", &["rm", "web"], Crashed("web"), STOPPED, &[0, 4], |g| none(g, "web")),
    case(
        "rm with its images",
        &["rm", "pc", "--delete-storage", "-y"],
        Stopped,
        STOPPED,
        &[0, 4],
        |g| none(g, "pc"),
    ),
    case("rm by force", &["rm", "web", "--force"], Running("web"), LIVE, &[0, 4], |g| {
        none(g, "web")
    }),
    case(
        "restart by force",
        &["restart", "web", "--force"],
        Running("web"),
        &[Command, All, Runner],
        &[0],
        |g| state(g, "web", "running"),
    ),
    case("run", &["run", "brief"], Stopped, STOPPED, &[0], |g| state(g, "brief", "stopped")),
    case(
        "run --rm",
        &["run", "--rm", "files/ends.raw", "--accel", "tcg", "--net", "none", "--arg=-no-reboot"],
        Stopped,
        STOPPED,
        &[0],
        |g| none(g, "ends"),
    ),
    case("reset", &["reset", "web"], Running("web"), LIVE, &[0], |g| state(g, "web", "running")),
    case("pause", &["pause", "web"], Running("web"), LIVE, &[0], |g| state(g, "web", "paused")),
    case("resume", &["resume", "web"], Paused("web"), LIVE, &[0], |g| state(g, "web", "running")),
    case("apply", &["apply", "web", "--description", "x"], Stopped, STOPPED, &[0], |g| {
        asked(g, &["show", "web"], "\"description\": \"x\"")
    }),
    case("edit", &["edit", "web"], Stopped, STOPPED, &[0], |g| {
        asked(g, &["show", "web"], "\"memory\": \"17M\"")
    }),
    case("doctor", &["doctor", "--fix"], Crashed("web"), STOPPED, &[0, 1], |g| {
        state(g, "web", "crashed")
    }),
    case("rename", &["rename", "web", "www"], Stopped, STOPPED, &[0, 4], |g| {
        none(g, "web").and(state(g, "www", "stopped"))
    }),
    case("disk add", &["disk", "add", "pc", "name=extra,size=1M"], Stopped, STOPPED, &[0], |g| {
        disks(g, "extra\nroot\nspare\n")
    }),
    case(
        "disk rm",
        &["disk", "rm", "pc", "spare", "--delete-storage", "-y"],
        Stopped,
        STOPPED,
        &[0, 4],
        |g| disks(g, "root\n"),
    ),
    case(
        "disk add, live",
        &["disk", "add", "pc", "name=extra,size=1M"],
        Paused("pc"),
        LIVE,
        &[0],
        |g| disks(g, "extra\nroot\nspare\n"),
    ),
    case(
        "disk rm, live",
        &["disk", "rm", "pc", "spare", "--delete-storage", "-y"],
        Paused("pc"),
        LIVE,
        &[0, 4],
        |g| disks(g, "root\n"),
    ),
    case("disk resize", &["disk", "resize", "pc", "root", "2M"], Stopped, STOPPED, &[0], |g| {
        sizes(g, "root\t2097152\nspare\t1048576\n")
    }),
    case(
        "disk resize, live",
        &["disk", "resize", "pc", "root", "2M"],
        Paused("pc"),
        LIVE,
        &[0],
        |g| sizes(g, "root\t2097152\nspare\t1048576\n"),
    ),
    case(
        "device add",
        &["device", "add", "pc", "usb-tablet", "id=mine"],
        Paused("pc"),
        LIVE,
        &[0, 7],
        |g| mine(g, true),
    ),
    case(
        "device rm",
        &["device", "rm", "pc", "mine"],
        Plugged("pc", "usb-tablet"),
        LIVE,
        &[0, 4],
        |g| mine(g, false),
    ),
    case("port add, live", &["port", "add", "lan", "auto:82"], Paused("lan"), LIVE, &[0], |g| {
        ends(g, "81\n82\n")
    }),
    case("port rm, live", &["port", "rm", "lan", "auto:81"], Paused("lan"), LIVE, &[0, 4], |g| {
        ends(g, "")
    }),
    case("port add", &["port", "add", "net", "18082:82"], Stopped, STOPPED, &[0], |g| {
        ports(g, "18081\n18082\n")
    }),
    case("port rm", &["port", "rm", "net", "18081"], Stopped, STOPPED, &[0, 4], |g| ports(g, "")),
    case("snapshot create", &["snapshot", "create", "pc", "new"], Stopped, STOPPED, &[0, 7], |g| {
        snapshots(g, &["new", "old"])
    }),
    case("snapshot load", &["snapshot", "load", "pc", "old", "-y"], Stopped, STOPPED, &[0], |g| {
        snapshots(g, &["old"])
    }),
    case("snapshot rm", &["snapshot", "rm", "pc", "old"], Stopped, STOPPED, &[0, 4], |g| {
        snapshots(g, &[])
    }),
    case(
        "snapshot create, live",
        &["snapshot", "create", "pc", "new"],
        Paused("pc"),
        LIVE,
        &[0, 7],
        |g| snapshots(g, &["new", "old"]),
    ),
    case("snapshot rm, live", &["snapshot", "rm", "pc", "old"], Paused("pc"), LIVE, &[0, 4], |g| {
        snapshots(g, &[])
    }),
    case("clone", &["clone", "pc", "new"], Stopped, STOPPED, &[0, 7], |g| {
        state(g, "new", "stopped")
    }),
    case("export", &["export", "pc", "files/out.tar"], Stopped, STOPPED, &[0, 7], |g| {
        tar(g, "files/out.tar")
    }),
    case("import", &["import", "files/in.tar", "new", "--trust"], Stopped, STOPPED, &[0, 7], |g| {
        state(g, "new", "stopped")
    }),
    case("db backup", &["db", "backup", "files/new.db"], Stopped, STOPPED, &[0, 7], |g| {
        asked(g, &["db", "restore", "files/new.db", "-y"], "")
    }),
    case("db restore", &["db", "restore", "files/saved.db", "-y"], Stopped, STOPPED, &[0], |g| {
        state(g, "pc", "stopped")
    }),
];
