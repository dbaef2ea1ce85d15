//! The completion script of fish: a flag a line, as fish's own `complete` reads them.
//!
//! fish knows then which flags take values, and reads `--flag=value` by itself. What is left to the
//! script is which command the line holds, and how many operands.

use std::fmt::Write;

use super::{
    FOLDERS, Follows, Spelling, Wanted, commands, describing_commands, describing_flags, families,
    flags_by_command, global_flags, heads, key, operands, own_flags, subjects,
};
use crate::cli::table::COMMANDS;

const HEAD: &str = r#"# Completion of maqet for fish, printed by "maqet generate fish".

# What the words before the cursor say, once for each line: __maqet_command, __maqet_taken (its
# operands) and __maqet_folders.
function __maqet_read
    set -l words (commandline -opc)
    test "$words" = "$__maqet_line"; and return
    set -g __maqet_line "$words"
    set -g __maqet_command
    set -g __maqet_taken
    set -g __maqet_folders
    set -l pending
    set -l plain
    for word in $words[2..]
        if test -n "$pending"
            switch $word
                case '~/*'
                    set word $HOME/(string sub -s 3 -- $word)
            end
            __maqet_folder $pending $word
            set pending
            continue
        end
        if test -z "$plain"
            switch $word
                case --
                    set plain 1
                    continue
                case '--*=*'
                    __maqet_folder (string split -m 1 -- = $word)
                    continue
                case '--*'
                    __maqet_takes "$__maqet_command" $word; and set pending $word
                    continue
                case '-?*'
                    # Letters in one word: the first that takes a value takes the rest of it.
                    set -l letters (string split '' -- (string sub -s 2 -- $word))
                    while set -q letters[2]; and not __maqet_takes "$__maqet_command" -$letters[1]
                        set -e letters[1]
                    end
                    if not set -q letters[2]; and __maqet_takes "$__maqet_command" -$letters[1]
                        set pending -$letters[1]
                    end
                    continue
            end
        end
        if test -z "$__maqet_command"
            set __maqet_command $word
        else if contains -- "$__maqet_command" @HEADS@
            set __maqet_command "$__maqet_command"_"$word"
        else
            set -a __maqet_taken $word
        end
    end
end

# Whether the word at the cursor is a flag, or may be a flag's value: only then are the conditions of
# the commands' flags asked, of which there are many (fish 3.4 and newer ask one after the other).
function __maqet_flagging
    string match -q -- '-*' (commandline -ct) (commandline -opc)[-1]; or return 1
    __maqet_read
    return 0
end

# __maqet_folder FLAG VALUE: keeps it where it says which VMs there are.
function __maqet_folder
    switch $argv[1]
        case @FOLDERS@
            set -a __maqet_folders $argv[1]=$argv[2]
    end
end

# __maqet_takes COMMAND FLAG: whether the word behind the flag is its value.
function __maqet_takes
    switch $argv[2]
        case @GLOBALS@
            return 0
    end
    switch $argv[1]
        case @DESCRIBING@
            switch $argv[2]
                case @KEYS@
                    return 0
            end
    end
    switch $argv[1]:$argv[2]
        case @OWN@
            return 0
    end
    return 1
end

# The names of the VMs that the line does not have yet.
function __maqet_vms
    set -l names (command maqet $__maqet_folders ls -q 2> /dev/null)
    for name in $__maqet_taken
        set -l at (contains -i -- $name $names); and set -e names[$at]
    end
    set -q names[1]; and printf '%s\tVM\n' $names
end

# What the word at the cursor may be where it is no flag and no flag's value.
function __maqet_words
    string match -q -- '-*' (commandline -ct) ''; and return
    __maqet_read
    switch "$__maqet_command:"(count $__maqet_taken)
@WORDS@    end
end

complete -c maqet -e
complete -c maqet -f -a '(__maqet_words)'
"#;

pub(super) fn script() -> String {
    let own = COMMANDS.iter().flat_map(|row| {
        taking(&own_flags(row)).map(|typed| format!("{}:{typed}", key(row))).collect::<Vec<_>>()
    });
    let mut script = HEAD
        .replace("@HEADS@", &heads())
        .replace("@FOLDERS@", &FOLDERS.map(|flag| flag.written()).join(" "))
        .replace("@GLOBALS@", &taking(&global_flags()).collect::<Vec<_>>().join(" "))
        .replace("@DESCRIBING@", &describing_commands().join(" "))
        .replace("@KEYS@", &taking(&describing_flags()).collect::<Vec<_>>().join(" "))
        .replace("@OWN@", &own.collect::<Vec<_>>().join(" "))
        .replace("@WORDS@", &operand_cases());
    flag_lines(&mut script, "of every command", "", &global_flags());
    let describing = describing_commands();
    flag_lines(&mut script, "that describe a VM", &on(&describing), &describing_flags());
    // Each condition costs time at every TAB: commands that take the same flags share one.
    let mut sets: Vec<(Vec<Spelling>, Vec<String>)> = Vec::new();
    for (word, flags) in flags_by_command() {
        match sets.iter_mut().find(|(known, _)| *known == flags) {
            Some((_, words)) => words.push(word),
            None => sets.push((flags, vec![word])),
        }
    }
    for (flags, words) in &sets {
        flag_lines(&mut script, &format!("of {}", words.join(", ")), &on(words), flags);
    }
    script
}

/// The spellings of the flags whose value is the next word.
fn taking(flags: &[Spelling]) -> impl Iterator<Item = String> {
    let taking = flags.iter().filter(|flag| matches!(flag.follows, Follows::Value(_)));
    taking.flat_map(Spelling::written)
}

fn on(commands: &[String]) -> String {
    let names = commands.join(" ");
    format!("-n __maqet_flagging -n 'contains -- \"$__maqet_command\" {names}' ")
}

/// The case of each operand that can be completed.
fn operand_cases() -> String {
    let mut vms = Vec::new();
    let mut files = Vec::new();
    let mut cases = format!("        case :0\n{}", explained(commands()));
    let echo = |word: &&str| format!("            echo {word}\n");
    for (head, words) in families() {
        let words: String = words.iter().map(echo).collect();
        let _ = write!(cases, "        case '{head}:0'\n{words}");
    }
    for row in COMMANDS {
        for (number, (wanted, repeats)) in operands(row).into_iter().enumerate() {
            let number = if repeats { "*".to_owned() } else { number.to_string() };
            let here = quoted(&format!("{}:{number}", key(row)));
            let words = match wanted {
                Wanted::Vm => {
                    vms.push(here);
                    continue;
                }
                Wanted::VmOrFile => {
                    files.push(here);
                    continue;
                }
                Wanted::Subject => explained(subjects()),
                Wanted::OneOf(words) => words.iter().map(echo).collect(),
                Wanted::Text | Wanted::File | Wanted::Folder => continue,
            };
            let _ = write!(cases, "        case {here}\n{words}");
        }
    }
    let _ = writeln!(cases, "        case {}\n            __maqet_vms", vms.join(" "));
    if !files.is_empty() {
        let _ = writeln!(cases, "        case {}\n            __maqet_vms", files.join(" "));
        cases.push_str("            __fish_complete_path (commandline -ct)\n");
    }
    cases
}

/// Words with what they mean, as fish reads completions: divided by a TAB.
fn explained(rows: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    let words: Vec<String> =
        rows.map(|(word, help)| format!("                {word} {}", quoted(help))).collect();
    format!("            printf '%s\\t%s\\n' \\\n{}\n", words.join(" \\\n"))
}

/// A line a flag, below a comment that says whose they are.
fn flag_lines(script: &mut String, whose: &str, condition: &str, flags: &[Spelling]) {
    let _ = writeln!(script, "\n# The flags {whose}.");
    for flag in flags {
        let short = flag.short.map_or(String::new(), |letter| format!("-s {letter} "));
        let words = |words: &[&str]| format!("-a {} ", quoted(&words.join(" ")));
        let value = match &flag.follows {
            Follows::Nothing => String::new(),
            Follows::Value(Wanted::File) => "-r -F ".to_owned(),
            Follows::Value(Wanted::Folder) => "-x -a '(__fish_complete_directories)' ".to_owned(),
            Follows::Value(Wanted::OneOf(choice)) => format!("-x {}", words(choice)),
            Follows::Joined(Wanted::OneOf(choice)) => words(choice),
            Follows::Value(_) | Follows::Joined(_) => "-x ".to_owned(),
        };
        let help = quoted(&flag.help);
        let _ = writeln!(
            script,
            "complete -c maqet {condition}{short}-l {} {value}-d {help}",
            flag.long
        );
    }
}

/// A text in single quotes, in which fish reads a backslash before a quote and before another.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
