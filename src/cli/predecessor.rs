//! How the program that maqet succeeds spelled what maqet spells otherwise: all of it, in one place.
//!
//! These spellings work, and no help speaks of them. Where a command line has a meaning of its own in
//! maqet, that one is meant.

use super::table::{Command, Flag, GLOBALS, Group, Verb, command};

/// Flags, with their dashes, and what they are now.
const FLAGS: &[(&str, Flag)] = &[
    ("--vm-config", Flag::File),
    ("--maqet-data-dir", Flag::DataDir),
    ("--maqet-runtime-dir", Flag::RuntimeDir),
    ("--maqet-config-dir", Flag::ConfigDir),
];

/// Commands, and what they are now.
const COMMANDS: &[(&str, &str)] = &[("inspect", "info")];

/// What stands for a VM in `qmp ACTION VM …`.
const QMP: &[(&str, QmpAction)] = &[
    ("run", QmpAction::Send),
    ("pause", QmpAction::Pause),
    ("resume", QmpAction::Resume),
    ("keys", QmpAction::Keys),
    ("type", QmpAction::Type),
    ("screendump", QmpAction::Screendump),
];

/// What `qmp ACTION VM …` with further flags is now, by its words.
const DEVICE: &[(&str, [&str; 2])] =
    &[("device-add", ["device", "add"]), ("device-del", ["device", "rm"])];

/// What `ACTION` was in `snapshot VM ACTION DRIVE --name NAME`, and the second word now.
const SNAPSHOT: &[(&str, &str)] =
    &[("create", "create"), ("load", "load"), ("list", "ls"), ("delete", "rm")];

/// It removed what it had told wrongly; nothing is told wrongly here.
const CLEANUP: Command = Command {
    verb: Verb::Cleanup,
    word: "cleanup",
    group: Group::Host,
    summary: "nothing",
    about: "There is nothing to clean up.",
    operands: &[],
    definition: false,
    flags: &[],
    excludes: &[],
    objects: false,
    examples: &[],
};

/// What `qmp ACTION VM …` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QmpAction {
    /// `qmp VM …`.
    Send,
    /// `pause VM`.
    Pause,
    /// `resume VM`.
    Resume,
    /// `keys VM …`, all of it one chord.
    Keys,
    /// `type VM TEXT`.
    Type,
    /// `screen VM FILE`, the file being a PPM.
    Screendump,
}

/// The command that a word of old stands for.
pub(super) fn old_command(word: &str) -> Option<&'static Command> {
    if word == CLEANUP.word {
        return Some(&CLEANUP);
    }
    let (_, new) = COMMANDS.iter().find(|(old, _)| *old == word)?;
    command(new)
}

/// The flag that a spelling of old, dashes included, stands for.
pub(super) fn old_flag(typed: &str) -> Option<Flag> {
    FLAGS.iter().find(|(old, _)| *old == typed).map(|(_, flag)| *flag)
}

/// A command line of old whose words stood in another order, or that has a flag of old, as it is
/// written now. Any other one as it is.
pub(super) fn rewritten(words: Vec<String>) -> Vec<String> {
    keyboard(device(snapshot(words)))
}

/// `device add VM DRIVER id=ID KEY=VALUE` for `qmp device-add VM DRIVER --device-id ID --KEY VALUE`.
fn device(words: Vec<String>) -> Vec<String> {
    let Some(at) = words.iter().position(|word| word == "qmp") else { return words };
    let [action, vm, what, rest @ ..] = &words[at + 1..] else { return words };
    let new = DEVICE.iter().find(|(old, _)| old == action).map(|(_, new)| *new);
    // A VM of that name is given a command and its arguments.
    let Some(new) = new.filter(|_| !what.contains(['=', '{'])) else { return words };
    let mut line = words[..at].to_vec();
    line.extend(new.map(str::to_owned));
    line.extend([vm.clone(), what.clone()]);
    let mut rest = rest.iter().peekable();
    while let Some(word) = rest.next() {
        let is_ours = GLOBALS.iter().any(|(flag, _)| flag.is_written(word));
        match word.strip_prefix("--").filter(|_| !is_ours) {
            None => line.push(word.clone()),
            Some(flag) => {
                let (key, value) = match flag.split_once('=') {
                    Some((key, value)) => (key, value.to_owned()),
                    None => (flag, rest.next().cloned().unwrap_or_default()),
                };
                let key = if key == "device-id" { "id" } else { key };
                line.push(format!("{key}={value}"));
            }
        }
    }
    line
}

/// `keys VM CHORD --hold 50ms` for `qmp keys VM KEY… --hold-time 50`; the pace of `type` is the guest's
/// now.
fn keyboard(words: Vec<String>) -> Vec<String> {
    let Some(at) = words.iter().position(|word| word == "qmp") else { return words };
    let action = words.get(at + 1).map_or("", String::as_str);
    let is_hold = |word: &String| word == "--hold-time" || word.starts_with("--hold-time=");
    if !matches!(action, "keys" | "type") || !words.iter().any(is_hold) {
        return words;
    }
    let (mut line, mut operands, mut hold) = (words[..at].to_vec(), Vec::new(), None);
    let mut rest = words[at + 2..].iter();
    while let Some(word) = rest.next() {
        match word.strip_prefix("--hold-time") {
            Some("") => hold = rest.next().cloned(),
            Some(joined) => hold = Some(joined.trim_start_matches('=').to_owned()),
            None if word.starts_with('-') => line.push(word.clone()),
            None => operands.push(word.clone()),
        }
    }
    line.push(action.to_owned());
    if action == "keys" {
        let keys = operands.split_off(operands.len().min(1));
        operands.push(keys.join("-"));
        line.extend(hold.map(|hold| format!("--hold={hold}ms")));
    }
    line.extend(operands);
    line
}

/// `snapshot create VM --drive=DRIVE -- NAME` for `snapshot VM create DRIVE --name NAME`.
fn snapshot(words: Vec<String>) -> Vec<String> {
    let Some(at) = words.iter().position(|word| word == "snapshot") else { return words };
    let (Some(vm), Some(action)) = (words.get(at + 1), words.get(at + 2)) else { return words };
    let new = SNAPSHOT.iter().find(|(old, _)| old == action).map(|(_, new)| *new);
    let is_new = SNAPSHOT.iter().any(|(_, new)| new == vm);
    let Some(new) = new.filter(|_| !is_new && !vm.starts_with('-')) else { return words };
    let mut line = words[..at].to_vec();
    line.extend(["snapshot".to_owned(), new.to_owned(), vm.clone()]);
    let mut rest = words[at + 3..].iter().peekable();
    // A list was of one drive, and a name is deleted from all.
    if let Some(drive) = rest.next_if(|word| !word.starts_with('-'))
        && matches!(new, "create" | "load")
    {
        line.push(format!("--drive={drive}"));
    }
    let mut name = None;
    while let Some(word) = rest.next() {
        match word.strip_prefix("--name") {
            Some("") => name = rest.next().cloned(),
            Some(joined) if joined.starts_with('=') => name = Some(joined[1..].to_owned()),
            _ => line.push(word.clone()),
        }
    }
    if let Some(name) = name {
        line.extend(["--".to_owned(), name]);
    }
    line
}

/// What the first operand of `qmp` stood for, where no VM has that name.
pub(crate) fn qmp_action(word: &str) -> Option<QmpAction> {
    QMP.iter().find(|(old, _)| *old == word).map(|(_, action)| *action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_old_spelling_leads_to_something_that_is_there_and_is_none_of_ours() {
        for (old, _) in COMMANDS {
            assert!(command(old).is_none() && old_command(old).is_some(), "{old}");
        }
        assert!(command(CLEANUP.word).is_none());
        for (old, flag) in FLAGS {
            assert!(!flag.is_written(old) && old.starts_with("--"), "{old}");
        }
    }

    #[test]
    fn a_command_line_of_old_means_what_it_meant() {
        for (old, new) in [
            ("inspect web --json", "info web --json"),
            ("--maqet-data-dir /d --maqet-runtime-dir=/r ls", "--data-dir /d --runtime-dir=/r ls"),
            ("add --vm-config web.json web", "add -f web.json web"),
            ("ls --maqet-config-dir /c", "ls --config-dir /c"),
            ("snapshot web create root --name x", "snapshot create web x --drive root"),
            (
                "--json snapshot web load root --name=x -y",
                "--json snapshot load web x --drive root -y",
            ),
            ("snapshot web list root", "snapshot ls web"),
            ("snapshot web delete root --name -x", "snapshot rm web -- -x"),
            (
                "qmp device-add web usb-storage --device-id u1 --drive=d --json",
                "device add web usb-storage id=u1 drive=d --json",
            ),
            ("qmp device-del web u1", "device rm web u1"),
            ("qmp device-add x a=1", "qmp -- device-add x a=1"),
            ("snapshot create create", "snapshot create -- create"),
            (
                "qmp keys web ctrl alt f2 --hold-time 50 --json",
                "--json keys web ctrl-alt-f2 --hold 50ms",
            ),
            ("qmp type --hold-time=50 web hello", "type web hello"),
        ] {
            let read = |line: &str| crate::cli::parse(line.split(' ').map(Into::into)).unwrap();
            assert_eq!(read(old), read(new), "{old}");
        }
        assert!(crate::cli::parse(["ls", "--vm-config", "x"].map(Into::into)).is_err());
    }
}
