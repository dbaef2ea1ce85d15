//! Another user of this host: what he has put where ours would lie is never read, followed or removed,
//! and what is ours he cannot reach.
//!
//! Each test has a /tmp and a /run of its own, in a mount namespace, in which `me` runs a command as
//! uid 1 and `other` as uid 65534.

use std::os::unix::fs::chown;
use std::process::Command;

use crate::harness::{Host, Ran, not_here, run};

/// What every script begins with. /mnt is the home of uid 1, /srv the folder of the binary.
const PRELUDE: &str = r#"set -eu
mount --bind "$1" /mnt
mount --bind "$2" /srv
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0755 tmpfs /run
as() {
    uid=$1
    shift
    setpriv --reuid=$uid --regid=$uid --clear-groups env -i HOME=/mnt "PATH=/srv:$PATH" "$@"
}
me() { as 1 "$@"; }
other() { as 65534 sh -euc "umask 0; $1"; }
# code N COMMAND…: the command must end with N.
code() {
    wanted=$1
    shift
    got=0
    "$@" || got=$?
    test $got = "$wanted" || { echo "exit $got, not $wanted: $*" >&2; exit 99; }
}
id=0b1c6c1e-7a55-4f7e-9d57-1f1e6f1c2d3e
bare='--machine none --accel tcg --memory 16M'
"#;

/// Whether this process may make mount namespaces; a test says so and passes where it may not.
fn may_mount() -> bool {
    let may = run(Command::new("unshare").args(["-m", "setpriv", "--reuid=1", "true"])).code == 0;
    if !may {
        not_here("it takes root, unshare and setpriv");
    }
    may
}

/// Runs a script in its own /tmp.
#[track_caller]
fn shared_tmp(script: &str) -> Ran {
    let host = Host::new();
    let home = host.root().join("home");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(1), Some(1)).unwrap();
    let binary = Host::binary().parent().unwrap();
    let mut command = Command::new("unshare");
    // What is left running ends with the pid namespace.
    command.args(["-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c"]);
    command.arg(format!("{PRELUDE}{script}")).arg("sh").args([home.as_path(), binary]);
    run(command.stdin(std::process::Stdio::null())).exits(0)
}

#[test]
fn what_looks_like_left_behind_in_anothers_folder_is_neither_swept_nor_followed() {
    if !may_mount() {
        return;
    }
    // A folder of a VM that was stored nowhere, as if its runner had been killed: the overlays that
    // the next `run --rm` would remove are the files of somebody else.
    shared_tmp(
        r#"
        me mkdir /mnt/precious
        me touch /mnt/precious/letter
        other "mkdir -p /tmp/maqet-1/x.rm/vms/$id
               touch /tmp/maqet-1/x.rm/vms/$id/lock
               ln -s /mnt/precious /tmp/maqet-1/x.rm/overlays"
        me mkdir -m 700 /tmp/xdg
        code 1 me XDG_RUNTIME_DIR=/tmp/xdg maqet run --rm $bare --arg -nonsense
        code 6 me maqet run --rm $bare --arg -nonsense
        test -e /mnt/precious/letter
        test -e /tmp/maqet-1/x.rm/vms/$id/lock
        "#,
    );
}

#[test]
fn a_runtime_folder_that_another_made_first_is_refused_and_left_as_it_is() {
    if !may_mount() {
        return;
    }
    for planted in [
        "mkdir -m 777 /tmp/maqet-1",
        "mkdir -m 700 /tmp/maqet-1",
        "mkdir -m 777 /tmp/bait; ln -s /tmp/bait /tmp/maqet-1",
        "ln -s /mnt /tmp/maqet-1",
        "ln -s /nowhere /tmp/maqet-1",
        "touch /tmp/maqet-1",
        "mkfifo /tmp/maqet-1",
    ] {
        let ran = shared_tmp(&format!(
            r#"
            other '{planted}'
            me maqet add web $bare > /dev/null
            ls -lR /tmp /mnt/.local/share/maqet/live > /run/before
            code 6 me maqet start web
            ls -lR /tmp /mnt/.local/share/maqet/live > /run/after
            cmp /run/before /run/after
            "#
        ));
        assert!(ran.stderr.contains("refusing to use /tmp/maqet-1"), "{planted}: {}", ran.stderr);
    }
}

#[test]
fn a_folder_that_takes_the_place_of_a_running_vms_is_not_believed() {
    if !may_mount() {
        return;
    }
    let status = r#"{"vm_id":"x","name":"FALSE","state":"paused","running":true,"runner_pid":1,"#
        .to_owned()
        + r#""qemu_pid":1,"accel":"FALSE","uptime":1,"since":"2026-01-01T00:00:00.000Z","#
        + r#""socket_path":"FALSE","sandbox":true,"log_bytes_lost":0}"#;
    let ran = shared_tmp(&format!(
        r#"
        me maqet add web $bare > /dev/null
        me maqet start web
        id=$(me maqet status web -o id)
        pid=$(me maqet status web -o runner_pid)
        echo '{status}' > /run/false
        # planted CODE WHAT: every look ends with CODE, in time, and changes nothing there.
        planted() {{
            # Only root can take it away, as a cleaner of /tmp does.
            rm -rf /tmp/maqet-1
            other "mkdir -p /tmp/maqet-1/$id; cd /tmp/maqet-1/$id; $2"
            ls -lR /tmp > /run/before
            code $1 me timeout 10 maqet status web --json
            ls -lR /tmp > /run/after
            cmp /run/before /run/after
        }}
        # It stands still, so that the file is all that there is to be read.
        kill -STOP $pid
        planted 6 'mkfifo status secret ipc.sock definition'
        code 6 me timeout 10 maqet qmp web query-status
        planted 6 'cp /run/false status; cp status definition'
        code 6 me timeout 10 maqet show web --diff
        planted 6 'for name in status secret definition; do ln -s /mnt/letter $name; done'
        # There is nothing where the link leads.
        planted 5 'cd /tmp; rm -r maqet-1; ln -s /mnt maqet-1'
        # Once it goes on it would make itself another place, and here there is none.
        planted 6 'true'
        kill -CONT $pid
        code 6 me timeout 10 maqet status web
        code 0 me maqet stop web --force
        "#
    ));
    assert!(!(ran.stdout + &ran.stderr).contains("FALSE"));
}

#[test]
fn no_path_of_a_vm_lets_another_user_in() {
    if !may_mount() {
        return;
    }
    let ran = shared_tmp(
        r#"
        # Even from a home that others may enter.
        chmod 755 /mnt
        me maqet add web --accel tcg --memory 16M --disk 1M > /dev/null
        me maqet start web
        find /mnt/.local/share/maqet /tmp/maqet-1 > /run/paths
        test "$(wc -l < /run/paths)" -ge 15
        while read -r path; do
            mode=$(stat -c %a "$path")
            case $mode in *00 | 777) ;; *) echo "$path has mode $mode" >&2; exit 99 ;; esac
            test "$path" = /mnt/.local/share/maqet -o "$path" = /tmp/maqet-1 && continue
            for try in "cat $path" "ls $path/" "echo x >> $path" "ln -f $path /tmp/link" \
                "mv $path /tmp/moved" "rm -rf $path" "socat -u UNIX-CONNECT:$path -"; do
                if other "timeout 5 $try" > /run/got 2> /dev/null; then
                    echo "$try succeeded" >&2
                    exit 99
                fi
                test ! -s /run/got || { echo "$try read something" >&2; exit 99; }
            done
        done < /run/paths
        for path in /mnt/.local/share/maqet /tmp/maqet-1; do
            for try in "ls $path" "mv $path /tmp/moved" "touch $path/x" "rmdir $path" \
                "ln -sf /tmp $path/x"; do
                if other "$try" 2> /dev/null; then
                    echo "$try succeeded" >&2
                    exit 99
                fi
            done
        done
        # Nor is what he runs as himself any of ours, or ours his: his commands see no VM of ours.
        code 6 as 65534 maqet --data-dir /mnt/.local/share/maqet ls
        code 6 as 65534 maqet --data-dir /mnt/.local/share/maqet stop web --force
        find /mnt/.local/share/maqet /tmp/maqet-1 | cmp - /run/paths
        me maqet status web -o state
        me maqet stop web --force
        "#,
    );
    assert_eq!(ran.stdout, "running\n");
}

#[test]
fn an_impostor_on_the_path_of_a_socket_is_told_by_its_uid_and_sent_nothing() {
    if !may_mount() {
        return;
    }
    let ran = shared_tmp(
        r#"
        me maqet add web $bare > /dev/null
        me maqet start web
        id=$(me maqet status web -o id)
        pid=$(me maqet status web -o runner_pid)
        kill -STOP $pid
        rm /tmp/maqet-1/$id/ipc.sock
        # As if the neighbour had got so far: the socket is his, in a folder that is ours.
        mkdir -m 777 /tmp/his
        other "socat -u UNIX-LISTEN:/tmp/his/s,fork OPEN:/tmp/his/heard,creat,append" &
        until test -S /tmp/his/s; do :; done
        me ln -s /tmp/his/s /tmp/maqet-1/$id/ipc.sock
        code 6 me maqet qmp web query-status
        code 6 me maqet status web
        test ! -s /tmp/his/heard
        kill -CONT $pid
        code 0 me maqet stop web --force
        "#,
    );
    assert!(ran.stderr.contains("it belongs to uid 65534"), "{}", ran.stderr);
}
