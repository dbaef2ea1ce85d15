//! The guest's agent, a real one: commands that run in the guest, and what becomes of them.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{Client, folder};
use crate::harness::{Host, eventually, send};

/// A guest whose agent answers.
fn with_agent() -> Host {
    let host = Host::new();
    host.add_agent_guest("web", &[]);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["wait", "web", "--for", "agent"]).exits(0);
    host
}

/// The most memory that a process has held, in KiB.
pub(crate) fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Waits until neither the process nor the folder of a command is left in the guest.
fn assert_clean(host: &Host, process: &str) {
    let script = format!(
        "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f 2>/dev/null | grep '^{process} ' && exit 1; done; \
         set -- /tmp/maqet-*; [ $# -le 1 ]"
    );
    eventually(Duration::from_secs(20), "nothing is left in the guest", || {
        (host.maqet(["exec", "web", "--", "sh", "-c", &script]).code == 0).then_some(())
    });
}

#[test]
fn a_command_runs_in_the_guest_as_if_it_ran_here() {
    let host = with_agent();
    let run = |words: &[&str]| host.maqet([&["exec", "web"], words].concat());
    let ran = run(&["--", "sh", "-c", "echo out; echo err >&2; exit 7"]).exits(7);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    run(&["--", "sh", "-c", "kill -9 $$"]).exits(137);
    run(&["--", "no such program"]).exits(127);
    run(&["--", "/etc"]).exits(126);
    let script = "echo \"$A|$B|$0|$*\"; pwd";
    let ran = run(&[
        "--env", "A=b  c", "--env", "B='\"$", "--cwd", "/proc", "--", "sh", "-c", script, "-x", "",
        "*", "é\n",
    ]);
    assert_eq!(ran.exits(0).stdout, "b  c|'\"$|-x| * é\n\n/proc\n");
    let info = host.maqet(["info", "web", "--json"]).exits(0).json();
    assert_eq!(info["guest"]["system"], "The guest of the tests");
    assert_eq!(info["guest"]["interfaces"][0]["addresses"][0], "127.0.0.1/8");
    let eyes = host.maqet(["info", "web"]).exits(0).stdout;
    assert!(eyes.contains("interface   lo"), "{eyes}");
    let refused = run(&["--cwd", "/nowhere", "--", "true"]).exits(125);
    assert!(refused.stderr.contains("/nowhere"), "{}", refused.stderr);
    run(&["--env", "A-B=c", "--", "true"]).exits(125);
    host.maqet(["exec", "nobody", "--", "true"]).exits(125);

    // A shell's pipes, with an input that ends before the command or after it.
    let piped = host.shell("echo one two | maqet exec web -- wc -w").exits(0);
    assert_eq!(piped.stdout.trim(), "2");
    host.shell("yes | maqet exec web -- true").exits(0);
    let simple =
        host.shell("echo in | maqet exec web --simple -- sh -c 'cat; echo err >&2; exit 3'");
    assert_eq!((simple.stdout.as_str(), simple.stderr.as_str()), ("in\n", "err\n"));
    simple.exits(3);

    let script = "echo begun; sleep 1000 & sleep 1000";
    let late = run(&["--timeout", "1s", "--", "sh", "-c", script]).exits(124);
    assert_eq!(late.stdout, "begun\n");
    assert!(late.took < Duration::from_secs(8), "{:?}", late.took);
    assert_clean(&host, "sleep");

    // One that does not heed SIGTERM, whose client is killed.
    let script = "trap '' TERM; echo begun; while :; do sleep 999; done";
    let mut client = host.command(Host::binary());
    client.args(["exec", "web", "--", "sh", "-c", script]).stdout(Stdio::piped());
    let mut client = client.spawn().unwrap();
    std::io::Read::read_exact(&mut client.stdout.take().unwrap(), &mut [0; 6]).unwrap();
    send(i32::try_from(client.id()).unwrap(), Signal::KILL);
    client.wait().unwrap();
    assert_clean(&host, "sleep");

    // The guest is gone in the middle of it.
    let ran = run(&["--", "sh", "-c", "echo b > /proc/sysrq-trigger; sleep 100"]).exits(255);
    assert!(ran.stderr.contains("reset"), "{}", ran.stderr);
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn ten_mebibytes_come_back_as_they_went_and_the_runner_stays_small() {
    let host = with_agent();
    let script = "head -c 10485760 /dev/urandom > there
        maqet exec web -- cat < there > back && cmp there back";
    host.shell(script).exits(0);
    let pid = host.runner_pid("web");
    assert!(peak(pid) < 16 << 10, "{} KiB", peak(pid));

    // A client that does not read stalls its own command, and nobody else.
    let mut idle = Client::version_1(&folder(&host));
    let words = r#"["dd","if=/dev/zero","bs=65536","count=64"]"#;
    let opened = idle.ask(&format!(r#"{{"method":"exec","id":1,"args":{words}}}"#));
    assert_eq!(opened["status"], "stream");
    idle.say(r#"{"id":1,"eof":true}"#);
    let other = host.maqet(["exec", "web", "--", "echo", "here"]).exits(0);
    assert_eq!(other.stdout, "here\n");
    let mut length = 0;
    let end = loop {
        let frame = idle.reply();
        match (frame["stream"].as_str(), frame["data"].as_str()) {
            (Some("stdout"), Some(data)) => length += data.len() / 4 * 3,
            (Some("stderr"), _) => {}
            _ => break frame,
        }
    };
    assert_eq!((end["result"]["exit_code"].as_u64(), length >= 4 << 20), (Some(0), true), "{end}");
    assert!(peak(pid) < 16 << 10, "{} KiB", peak(pid));
}

#[test]
#[ignore = "takes long: tests/all runs it"]
fn without_a_shell_four_mebibytes_of_output_are_passed_on_and_a_cut_is_said() {
    let host = Host::new();
    // The agent holds the output three times over before it answers.
    host.add_agent_guest("web", &["--memory", "256M"]);
    host.maqet(["start", "web"]).exits(0);
    host.maqet(["wait", "web", "--for", "agent"]).exits(0);
    let script = "
        maqet exec web -- sh -c 'head -c 3000000 /dev/urandom > /tmp/short
            head -c 20000000 /dev/zero | tr \"\\\\0\" x > /tmp/long'
        maqet cp web:/tmp/short short
        code=0; maqet exec web --simple -- sh -c 'cat /tmp/short; exit 7' > back 2> said || code=$?
        test $code = 7 && cmp short back && test ! -s said
        code=0; maqet exec web --simple -- sh -c 'cat /tmp/long; exit 6' > back 2> said || code=$?
        test $code = 6 && test $(wc -c < back) = 4194304 && grep 'output is cut' said";
    host.shell(&format!("set -e{script}")).exits(0);
    let pid = host.runner_pid("web");
    assert!(peak(pid) < 16 << 10, "{} KiB", peak(pid));
}

#[test]
fn an_agent_that_hangs_or_ends_costs_an_error_and_nothing_else() {
    let host = with_agent();
    let say = |text: &str| host.maqet(["send", "web", text, "--line", "--for", "console:done"]);
    say("sh kill -STOP $(pidof qemu-ga)").exits(0);
    let hung = host.maqet(["exec", "web", "--", "true"]).exits(125);
    assert!(hung.stderr.contains("does not answer"), "{}", hung.stderr);
    assert!(hung.took < Duration::from_secs(17), "{:?}", hung.took);
    let late = host.maqet(["exec", "web", "--timeout", "1s", "--", "true"]).exits(124);
    assert!(late.took < Duration::from_secs(8), "{:?}", late.took);
    let waited = host.maqet(["wait", "web", "--for", "agent", "--timeout", "1s"]).exits(5);
    assert!(waited.took < Duration::from_secs(3), "{:?}", waited.took);
    assert_eq!(host.state("web"), "running");
    let info = host.maqet(["info", "web", "--json"]).exits(0);
    assert!(info.json()["guest"].is_null() && info.took < Duration::from_secs(4), "{info:?}");
    // It goes on as if nothing had been.
    say("sh kill -CONT $(pidof qemu-ga)").exits(0);
    host.maqet(["wait", "web", "--for", "agent"]).exits(0);
    assert_eq!(host.maqet(["exec", "web", "--", "echo", "x"]).exits(0).stdout, "x\n");

    // A paused guest is told as one, and goes on where it was.
    host.maqet(["pause", "web"]).exits(0);
    let paused = host.maqet(["exec", "web", "--", "true"]).exits(125);
    assert!(paused.stderr.contains("paused"), "{}", paused.stderr);
    host.maqet(["resume", "web"]).exits(0);
    host.maqet(["exec", "web", "--", "true"]).exits(0);

    say("sh kill -9 $(pidof qemu-ga)").exits(0);
    eventually(Duration::from_secs(10), "its end is known", || {
        let gone = host.maqet(["exec", "web", "--", "true"]).exits(125);
        (gone.stderr.contains("no guest agent runs") && gone.took < Duration::from_secs(1))
            .then_some(())
    });
    std::thread::scope(|scope| {
        let wait = scope.spawn(|| host.maqet(["wait", "web", "--for", "agent"]));
        host.maqet(["send", "web", "agent", "--line"]).exits(0);
        wait.join().unwrap().exits(0);
    });
    host.maqet(["exec", "web", "--", "true"]).exits(0);
}

#[test]
fn files_are_copied_both_ways_and_a_half_made_one_never_stays() {
    let host = with_agent();
    let script = r#"set -e
        umask 022
        head -c 5242880 /dev/urandom > 'a file'
        chmod 750 'a file'
        maqet cp 'a file' 'web:/tmp/b  "c'
        maqet cp 'web:/tmp/b  "c' back
        cmp 'a file' back
        test "$(stat -c %a back)" = 750
        test "$(maqet exec web -- stat -c %a '/tmp/b  "c')" = 750
        echo one | maqet cp - web:/tmp/one
        test "$(maqet cp web:/tmp/one -)" = one
        maqet exec web -- chmod 604 /tmp/one
        echo two | maqet cp - web:/tmp/one
        test "$(maqet cp web:/tmp/one -)" = two
        test "$(maqet exec web -- stat -c %a /tmp/one)" = 604
        : > empty
        maqet cp ./empty web:/tmp
        mkdir in
        maqet cp web:/tmp/empty in
        test -f in/empty && ! test -s in/empty
        maqet cp web:/proc/version - | grep -q Linux
        test -z "$(maqet exec web -- find /tmp -name '.maqet-*')""#;
    host.shell(script).exits(0);
    for (words, code, told) in [
        (["web:/nowhere", "x"], 1, "No such file"),
        (["web:/tmp", "x"], 1, "directory"),
        (["back", "web:/nowhere/x"], 1, "/nowhere/x"),
        (["nowhere", "web:/tmp/x"], 1, "nowhere"),
        (["in", "web:/tmp/x"], 2, "tar"),
        (["web:/a", "web:/b"], 2, "of this host"),
        (["a", "b"], 2, "VM:PATH"),
        (["nobody:/a", "b"], 4, "nobody"),
    ] {
        let ran = host.maqet([&["cp"], &words[..]].concat()).exits(code);
        assert!(ran.stderr.contains(told), "{words:?}: {}", ran.stderr);
    }
    assert!(!host.root().join("x").exists());

    // Broken off in the middle, on either side.
    let begun = [
        ("web:/dev/zero", "endless", "test -n \"$(find . -name '*endless*' -size +1M)\""),
        (
            "/dev/zero",
            "web:/tmp/endless",
            "maqet exec web -- sh -c 'ls -a /tmp | grep endless' > there",
        ),
    ];
    for (from, to, begun) in begun {
        let words = [from, to];
        let mut copy = host.command(Host::binary());
        let mut copy = copy.args([&["cp"], &words[..]].concat()).spawn().unwrap();
        eventually(Duration::from_secs(30), "it copies", || {
            (host.shell(begun).code == 0).then_some(())
        });
        send(i32::try_from(copy.id()).unwrap(), Signal::INT);
        assert_eq!(copy.wait().unwrap().code(), Some(130), "{words:?}");
    }
    let left = "ls -a /tmp | grep endless";
    host.maqet(["exec", "web", "--", "sh", "-c", left]).exits(1);
    host.shell("! ls -a | grep endless").exits(0);
}
