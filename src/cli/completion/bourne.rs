//! What the scripts of bash and zsh have in common: the walk over the words before the cursor, and
//! the case statements in which the table stands.
//!
//! Both shells read this text alike. The functions speak through variables of the one that calls
//! them (`kind`, `list` and those of the walk), so that nothing needs a subshell; no word that was
//! typed is ever evaluated.

use std::fmt::Write;

use super::{
    FOLDERS, Follows, Spelling, Wanted, describing_commands, describing_flags, families,
    global_flags, heads, key, operands, own_flags,
};
use crate::cli::table::COMMANDS;

/// The walk: from the words between `maqet` and the cursor to the command, its operands, the flag
/// whose value is due, and the folders that were named.
const WALK: &str = r#"
# _maqet_walk WORD...: what the words before the cursor say. Sets command, taken (its operands),
# pending (the flag whose value comes next), plain (whether -- was there) and folders.
_maqet_walk() {
    local word
    for word in "$@"; do
        if [[ -n $pending ]]; then
            [[ $word == '~/'* ]] && word=$HOME/${word:2}
            _maqet_folder "$pending" "$word"
            pending=
            continue
        fi
        if [[ -z $plain ]]; then
            case $word in
                --) plain=1; continue ;;
                --*=*) _maqet_folder "${word%%=*}" "${word#*=}"; continue ;;
                --*)
                    _maqet_value "$command" "$word" && [[ $kind != joined ]] && pending=$word
                    continue ;;
                -?*)
                    # Letters in one word: the first that takes a value takes the rest of it.
                    while [[ ${#word} -gt 2 ]] && ! _maqet_value "$command" "${word:0:2}"; do
                        word=-${word:2}
                    done
                    [[ ${#word} -eq 2 ]] && _maqet_value "$command" "$word" && pending=$word
                    continue ;;
            esac
        fi
        if [[ -z $command ]]; then
            command=$word
        elif [[ ' @HEADS@ ' == *" $command "* ]]; then
            command+=_$word
        else
            taken+=("$word")
        fi
    done
}

# _maqet_folder FLAG VALUE: keeps it where it says which VMs there are.
_maqet_folder() {
    case $1 in
        @FOLDERS@) folders+=("$1=$2") ;;
    esac
}

# _maqet_value COMMAND FLAG: what the flag's value may be, in kind and list; fails where the flag
# takes none.
_maqet_value() {
    kind= list=
    case $2 in
@GLOBALS@    esac
    [[ -n $kind ]] && return
    case $1 in
        @DESCRIBING@)
            case $2 in
@KEYS@            esac
            [[ -n $kind ]] && return ;;
    esac
    case $1:$2 in
@OWN@    esac
    [[ -n $kind ]]
}

# _maqet_operand COMMAND NUMBER: what that operand may be, in kind and list.
_maqet_operand() {
    kind=text list=
    case $1:$2 in
        :0) kind=commands ;;
@OPERANDS@    esac
}
"#;

/// The functions that both scripts begin with.
pub(super) fn functions() -> String {
    let own = COMMANDS.iter().map(|row| {
        let prefix = format!("{}:", key(row));
        values(&own_flags(row), &prefix, 8)
    });
    WALK.replace("@HEADS@", &heads())
        .replace("@FOLDERS@", &FOLDERS.map(|flag| flag.written()).join("|"))
        .replace("@GLOBALS@", &values(&global_flags(), "", 8))
        .replace("@DESCRIBING@", &describing_commands().join("|"))
        .replace("@KEYS@", &values(&describing_flags(), "", 16))
        .replace("@OWN@", &own.collect::<String>())
        .replace("@OPERANDS@", &operand_cases())
}

/// A case for each kind of value that flags have, and in it every spelling of those flags.
fn values(flags: &[Spelling], prefix: &str, indent: usize) -> String {
    let mut cases: Vec<(String, Vec<String>)> = Vec::new();
    for flag in flags {
        let (sets, joined_too) = match &flag.follows {
            Follows::Nothing => continue,
            Follows::Joined(Wanted::OneOf(words)) => (assigned("joined", words), false),
            Follows::Joined(_) => ("kind=joined".to_owned(), false),
            Follows::Value(wanted) => (wanted_sets(wanted), true),
        };
        let spellings = flag.written().filter(|typed| joined_too || typed.starts_with("--"));
        let spellings = spellings.map(|typed| format!("{prefix}{typed}"));
        match cases.iter_mut().find(|(known, _)| *known == sets) {
            Some((_, typed)) => typed.extend(spellings),
            None => cases.push((sets, spellings.collect())),
        }
    }
    case_lines(&cases, indent)
}

fn operand_cases() -> String {
    let mut cases: Vec<(String, Vec<String>)> = families()
        .map(|(head, words)| (wanted_sets(&Wanted::OneOf(words)), vec![format!("{head}:0")]))
        .collect();
    for row in COMMANDS {
        for (number, (wanted, repeats)) in operands(row).iter().enumerate() {
            if *wanted == Wanted::Text {
                continue;
            }
            let number = if *repeats { "*".to_owned() } else { number.to_string() };
            let pattern = format!("{}:{number}", key(row));
            let sets = wanted_sets(wanted);
            match cases.iter_mut().find(|(known, _)| *known == sets) {
                Some((_, patterns)) => patterns.push(pattern),
                None => cases.push((sets, vec![pattern])),
            }
        }
    }
    case_lines(&cases, 8)
}

fn case_lines(cases: &[(String, Vec<String>)], indent: usize) -> String {
    let mut lines = String::new();
    for (sets, patterns) in cases {
        let _ = writeln!(lines, "{:indent$}{}) {sets} ;;", "", patterns.join("|"));
    }
    lines
}

/// The assignments that tell what is wanted.
fn wanted_sets(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Text => "kind=text".to_owned(),
        Wanted::File => "kind=file".to_owned(),
        Wanted::Folder => "kind=folder".to_owned(),
        Wanted::Vm => "kind=vm".to_owned(),
        Wanted::VmOrFile => "kind=vm-or-file".to_owned(),
        Wanted::Subject => "kind=subjects".to_owned(),
        Wanted::OneOf(words) => assigned("words", words),
    }
}

fn assigned(kind: &str, words: &[&str]) -> String {
    format!("kind={kind} list='{}'", words.join(" "))
}
