//! What runs in the guest's shell on either side of a command: POSIX sh, no tool beyond it but
//! mkfifo(1), and setsid(1) where the guest has it.
//!
//! All of it lies in one folder of the guest's, closed to others, whose name holds a secret number:
//! so it can be found again and removed when no answer came. There the command writes into the files
//! `out` and `err`. Its input comes in numbered files, each of which is told by its number through the
//! pipe `go`; who feeds it to the command removes it then and writes a byte to `ack`. `go` is opened
//! for both directions by either side: then nobody waits for the other's opening, and the few bytes in
//! it always have room.

use crate::qemu::agent::Command;
use crate::qemu::agent::command::shell;

/// Where the folder may lie, the first that will do.
const PLACES: &str = r#""${TMPDIR:-/tmp}" /tmp /var/tmp /run"#;

/// Arguments: the number, the command's working directory or nothing. Prints the folder.
const MAKE: &str = r#"
[ -z "$2" ] || cd "$2" || exit
umask 077
for t in PLACES; do
    mkdir "$t/maqet-$1" 2>/dev/null || continue
    cd "$t/maqet-$1" && mkfifo go in && : > out && : > err && : > ack && pwd -P
    exit
done
echo 'no folder can be made in /tmp' >&2
exit 1
"#;

/// Arguments: the folder, `-` for a command without input, its working directory or nothing, the
/// number of variables, they, the command. Descriptor 4 is there so that 5 and 6 can be opened at
/// once. In a subshell, so that what the shell says of a signal is not in `err`. Ends with the
/// command's exit code, having removed the folder: what reads its files has them open.
const RUN: &str = r#"
d=$1 input=$2 w=$3
shift 3
if [ "$input" = - ]; then
    exec 5</dev/null || exit 125
else
    exec 3<>"$d/go" 4<>"$d/in" 5<"$d/in" 6>"$d/in" 4<&- || exit 125
    while read -r n && [ "$n" != end ]; do
        cat "$d/$n"
        rm -f "$d/$n"
        echo >> "$d/ack"
    done <&3 >&6 2>/dev/null 3<&- 5<&- 6>&- &
    f=$!
    exec 3<&- 6>&-
fi
[ -z "$w" ] || cd "$w" || exit 125
s=$(command -v setsid)
(exec $s sh -c 'BEGIN' sh "$d" "$@" <&5 >"$d/out" 2>"$d/err" 5<&-)
c=$?
[ -z "$f" ] || kill "$f" 2>/dev/null
rm -rf "$d"
exit "$c"
"#;

/// Arguments: the folder, the number of variables, they, the command. Either this sees `stop`, or
/// who made that sees the process that is to be ended.
const BEGIN: &str = r#"
d=$1 n=$2
shift 2
while [ "$n" -gt 0 ]; do
    export "$1"
    shift
    n=$((n - 1))
done
echo $$ > "$d/pid" || exit 125
[ ! -e "$d/stop" ] || exit 143
unset d n
exec "$@"
"#;

/// Arguments: the number. Ends the command, if it runs, and removes the folder.
const END: &str = r#"
exec 2>/dev/null
for t in PLACES; do
    d=$t/maqet-$1
    [ -d "$d" ] || continue
    : > "$d/stop"
    if read -r p < "$d/pid"; then
        kill -s TERM -- "-$p" || kill -s TERM "$p"
        i=0
        while [ "$i" -lt 20 ] && { kill -s 0 -- "-$p" || kill -s 0 "$p"; }; do
            sleep 0.1 || sleep 1
            i=$((i + 1))
        done
        kill -s KILL -- "-$p" || kill -s KILL "$p"
    fi
    rm -rf "$d"
done
exit 0
"#;

pub(super) fn make(number: &str, cwd: &str) -> Command {
    shell(&with_places(MAKE), &[number.to_owned(), cwd.to_owned()], true)
}

pub(super) fn run(
    folder: &str,
    input: bool,
    cwd: &str,
    env: &[String],
    command: &[String],
) -> Command {
    let input = if input { "in" } else { "-" };
    let words = [folder, input, cwd, &env.len().to_string()].map(str::to_owned);
    shell(&RUN.replace("BEGIN", BEGIN), &[&words, env, command].concat(), false)
}

pub(super) fn end(number: &str) -> Command {
    shell(&with_places(END), &[number.to_owned()], false)
}

fn with_places(script: &str) -> String {
    script.replace("PLACES", PLACES)
}
