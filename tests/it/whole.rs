//! A guest driven from its first instruction to its last by a script, as a person would write it:
//! without ssh, without a network of its own, without a single sleep.

use crate::harness::Host;

/// Each step stands on the one before. `set -e` ends it at the first that fails, and `step` has said
/// which that was.
const SCRIPT: &str = r#"
set -eu
step() { echo "step: $*" >&2; }

step 'start, and the boot as the console tells it'
maqet start web
maqet wait web --for 'console:maqet-guest: ready' --timeout 3m > mark
test "$(cut -f 1,2 mark)" = "$(printf 'web\tconsole:maqet-guest: ready')"

step 'a line typed, and what comes of it alone'
maqet send web 'echo here I am' --line --for 'console:here I am\n'

step 'the firmware was on the screen'
maqet screen web --text > text
maqet screen web picture.png
head -c 4 picture.png | grep -q PNG

step 'exec: streams and exit codes'
maqet wait web --for agent
code=0; maqet exec web -- sh -c 'cat; exit 7' < picture.png > same.png || code=$?
test $code = 7
cmp picture.png same.png

step 'cp, both ways'
maqet cp picture.png 'web:/tmp/a picture'
maqet cp 'web:/tmp/a picture' - | cmp - picture.png

step 'a disk that the guest sees'
test "$(maqet disk add web name=data,size=24M)" = data
maqet exec web --timeout 30s -- sh -c \
    'until grep -q " 24576 vda" /proc/partitions; do sleep 0.1; done'
maqet exec web -- sh -c 'echo written > /dev/vda && sync'
maqet disk rm web data

step 'a port that carries a connection, once the guest listens'
port=$(maqet port add web auto:7777)
test "$(maqet port ls -q web 7777)" = "127.0.0.1:$port"
code=0; maqet wait web --for tcp:7777 --timeout 1s || code=$?
test $code = 5
maqet exec web -- sh -c 'ip link set lo up; ip link set eth0 up
    ip addr add 10.0.2.15/24 dev eth0; nc -ll -p 7777 -e cat < /dev/null > /dev/null 2>&1 &'
maqet wait web --for tcp:7777
test "$(timeout 30 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port
    echo through >&3; head -n 1 <&3")" = through

step 'what happened, and what it used'
maqet events web | grep -q '"event":"running"'
test "$(maqet stats web -o name)" = web

step 'the power button, which the guest obeys'
maqet wait web --for stopped > ended & waiter=$!
maqet stop web
wait $waiter
test "$(maqet status web -o last_exit.by)" = guest
"#;

#[test]
fn a_script_drives_a_guest_from_its_boot_to_its_end() {
    let host = Host::new();
    host.add_agent_guest("web", &["--memory", "160M"]);
    host.shell(SCRIPT).exits(0);
}
