//! Words of other tools: none is an alias, each is answered with what to type here.
//!
//! A row enters with the command that it names. A word that has two meanings elsewhere is answered
//! with both: nobody's habit may remove a VM.

/// What to type instead of another tool's word, as the text of a hint.
pub(super) fn instead_of(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, instead)| *instead)
}

const WORDS: &[(&[&str], &str)] = &[
    (&["create", "new", "define", "init"], "\"maqet add\" defines a VM"),
    (
        &["launch"],
        "\"maqet add --start\" makes a VM and starts it, \"maqet start\" one that exists",
    ),
    (&["delete", "remove", "del", "undefine"], "\"maqet rm\" removes a VM"),
    (
        &["destroy"],
        "\"maqet stop --force\" ends a VM without asking its guest, \"maqet rm\" removes it",
    ),
    (&["kill"], "\"maqet stop --force\" ends a VM without asking its guest"),
    (&["shutdown", "poweroff", "halt", "down"], "\"maqet stop\" shuts a VM down"),
    (
        &["reboot"],
        "\"maqet restart\" shuts a VM down and starts it, \"maqet reset\" does not ask it",
    ),
    (&["up", "boot", "poweron"], "\"maqet start\" starts a VM"),
    (&["suspend", "freeze"], "\"maqet pause\" lets a VM stand still"),
    (&["unpause", "cont", "continue", "unfreeze"], "\"maqet resume\" lets a paused VM go on"),
    (&["list", "ps", "vms"], "\"maqet ls\" lists VMs"),
    (&["copy", "duplicate"], "\"maqet clone\" makes a copy of a VM"),
    (&["pack", "archive"], "\"maqet export\" packs a VM into one file"),
    (&["unpack"], "\"maqet import\" makes a VM of what \"maqet export\" has packed"),
    (&["dominfo", "describe"], "\"maqet info\" tells what a VM is made of"),
    (&["set", "update", "modify"], "\"maqet apply\" changes a definition"),
    (&["validate", "lint", "verify"], "\"maqet check\" finds what is wrong with definitions"),
    (&["hardreset"], "\"maqet reset\" presses the reset button"),
    (&["config", "get", "dumpxml", "cat"], "\"maqet show\" prints a definition"),
    (&["state", "domstate"], "\"maqet status\" tells what a VM does now"),
    (&["log", "journal"], "\"maqet logs\" prints what the console, QEMU or the runner said"),
    (&["mv", "move"], "\"maqet rename\" gives a VM another name"),
    (&["storage", "volume"], "\"maqet disk\" lists and changes the disks of VMs"),
    (&["monitor"], "\"maqet qmp\" sends a command to QEMU"),
    (&["argv", "command"], "\"maqet cmdline\" prints the command line of a VM's QEMU"),
    (&["completion", "completions"], "\"maqet generate\" prints the completion script of a shell"),
    (&["man", "usage"], "\"maqet help\""),
    (&["version"], "\"maqet -V\" prints the version"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::{COMMANDS, Command, command};

    #[test]
    fn no_word_of_another_tool_is_a_command_of_ours() {
        for word in WORDS.iter().flat_map(|(words, _)| words.iter()) {
            assert!(command(word).is_none(), "{word}");
        }
    }

    #[test]
    fn every_answer_names_a_command_that_exists() {
        for (words, instead) in WORDS {
            let named = instead.split("\"maqet ").skip(1);
            let mut known = 0;
            for rest in named {
                let word = rest.split([' ', '"']).next().unwrap_or_default();
                let is_it = |row: &Command| row.first_word() == word;
                assert!(word == "-V" || COMMANDS.iter().any(is_it), "{words:?}");
                known += 1;
            }
            assert!(known > 0, "{words:?}");
        }
    }
}
