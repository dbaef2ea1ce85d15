//! What `maqet help` says about subjects that belong to no single command.
//!
//! Only what holds now; at most 78 columns, plain ASCII.

/// A subject of `maqet help`.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) word: &'static str,
    pub(super) summary: &'static str,
    pub(super) text: &'static str,
}

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        word: "definition",
        summary: "how a VM is described",
        text: "\
A definition is JSON, in which // begins a comment:

  { \"name\": \"web\", \"memory\": \"2G\", \"cpu\": 2,
    \"storage\": [{ \"name\": \"root\", \"size\": \"20G\" }] }

-f FILE reads one, -f - reads standard input. Every key that holds one value
is a flag, too: \"cpu_model\" is --cpu-model. --disk, --cdrom and --share add to
\"storage\", --net to \"network\", --arg to \"args\", --port to the ports of the
first card of type user, --label to \"labels\"; --set takes any key.

Sources merge from left to right, flags last: objects key by key; of single
values the last one wins; null takes the default back; an empty list empties
the list; items of \"storage\" and \"network\" meet by name; \"args\" add up.
Onto a stored definition sources merge the same way, but \"args\", where given,
take the place of the stored ones: to apply twice is to apply once.
An unknown key is an error. A relative path is relative to the file that names
it, and for flags and -f - to the working directory.",
    },
    Topic {
        word: "grammar",
        summary: "what VM, DISK, DUR and the like stand for",
        text: "\
VM    a name, an id, or the first 8 or more characters of an id; where several
      may stand, --all or -l KEY=VALUE (a label) instead
      NAME: 1 to 64 of A-Z a-z 0-9 _ . - and a letter or digit first
DEF   -f FILE, and a flag for each key: see \"maqet help definition\"
SPEC  FIRST[,KEY=VALUE|,KEY]... or KEY=VALUE[,...] or {JSON}
      \",,\" is a comma; KEY alone is true
DISK  SPEC, FIRST a size or a file: 20G | ./x.qcow2 | name=data,size=50G
CDROM SPEC, FIRST a file
SHARE SPEC, FIRST a folder: .,tag=src,readonly
NET   SPEC, FIRST a type: user | none | user,model=e1000
PORT  [ADDR:]HOST:GUEST[/udp], HOST a number or auto, ADDR else 127.0.0.1
PATH  a key: memory, cpu.cores, labels.env, storage.NAME.cache
WORD  one word of QEMU's command line, whatever it begins with
COL   a path into the JSON of a result: state, last_exit.signal
DUR   500ms 30s 2m 1h 1d; a bare number is seconds; 0 is for ever
SIZE  2G or 2GiB (1024), 2GB (1000); a bare number is MiB, for memory alone

A flag's value follows it or is joined with \"=\". One that begins with a dash
must be joined, --arg's excepted. Behind \"--\" nothing is a flag.",
    },
    Topic {
        word: "exit-codes",
        summary: "what a command's exit code says",
        text: "\
The numbers are the same for every command.

  0    done
  1    failed: QEMU refused to start, among others
  2    the command line or a definition is wrong
  3    the VM is not running
  4    no such VM
  5    time ran out, or the VM's runner does not answer
  6    permission, or authentication
  7    conflict: exists already, running where it must be stopped, locked,
       busy, protected
  130  interrupted by SIGINT
  143  ended by SIGTERM

Of several VMs: the code that all failures share, else 1. When one of those
named does not exist, nothing is done (4). A reader that closes the pipe ends a
command with 0.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn every_kind_of_failure_stands_under_its_exit_code() {
        let codes = TOPICS.iter().find(|topic| topic.word == "exit-codes").unwrap().text;
        for (kind, says) in [
            (Kind::Failed, "failed"),
            (Kind::Usage, "command line"),
            (Kind::NotRunning, "not running"),
            (Kind::NotFound, "no such"),
            (Kind::Timeout, "time ran out"),
            (Kind::Permission, "permission"),
            (Kind::Conflict, "conflict"),
        ] {
            let row = format!("  {} ", kind.exit_code());
            let line = codes.lines().find(|line| line.starts_with(&row)).unwrap();
            assert!(line.contains(says), "{line}");
        }
    }

    #[test]
    fn no_topic_hides_behind_a_command_of_the_same_word() {
        for topic in TOPICS {
            assert!(crate::cli::table::command(topic.word).is_none(), "{}", topic.word);
        }
    }
}
