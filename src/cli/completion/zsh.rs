//! The completion script of zsh: a file `_maqet` of the function path, or a text to source.

use std::fmt::Write;

use super::{
    Spelling, bourne, commands, describing_commands, describing_flags, flags_by_command,
    global_flags, subjects,
};

const HEAD: &str = r#"#compdef maqet
# Completion of maqet for zsh, printed by "maqet generate zsh".
"#;

const MAIN: &str = r#"
# _maqet_flags COMMAND: its flags, in lines.
_maqet_flags() {
    lines=(
@GLOBALS@    )
    case $1 in
        @DESCRIBING@) lines+=(
@KEYS@        ) ;;
    esac
    case $1 in
@OWN@    esac
}

_maqet() {
    local command= pending= plain= kind= list= found=1
    local -a taken folders lines names expl
    _maqet_walk "${(@Q)words[2,CURRENT-1]}"

    if [[ -n $pending ]]; then
        _maqet_value "$command" "$pending"
    elif [[ -z $plain && $PREFIX == --*=* ]]; then
        _maqet_value "$command" "${PREFIX%%=*}" || return 1
        compset -P 1 '*='
    elif [[ -z $plain && $PREFIX == -* ]]; then
        kind=flags
        _maqet_flags "$command"
    else
        _maqet_operand "$command" ${#taken}
    fi

    case $kind in
        file) _files ;;
        folder) _files -/ ;;
        flags) _describe -o flag lines ;;
        words|joined)
            names=(${=list})
            _describe value names ;;
        vm|vm-or-file)
            names=(${(f)"$(command maqet $folders ls -q 2> /dev/null)"})
            names=(${names:|taken})
            _wanted vms expl VM compadd -a names && found=0
            [[ $kind == vm-or-file ]] && _files && found=0
            return found ;;
        commands)
            lines=(
@COMMANDS@            )
            _describe command lines ;;
        subjects)
            lines=(
@SUBJECTS@            )
            _describe subject lines ;;
        *) return 1 ;;
    esac
}

if [[ ${funcstack[1]} == _maqet ]]; then
    _maqet "$@"
else
    compdef _maqet maqet
fi
"#;

pub(super) fn script() -> String {
    let mut own = String::new();
    for (word, own_flags) in flags_by_command() {
        let _ = writeln!(own, "        {}) lines+=(\n{}        ) ;;", word, flags(&own_flags));
    }
    let main = MAIN
        .replace("@GLOBALS@", &flags(&global_flags()))
        .replace("@DESCRIBING@", &describing_commands().join("|"))
        .replace("@KEYS@", &flags(&describing_flags()))
        .replace("@OWN@", &own)
        .replace("@COMMANDS@", &lines(commands()))
        .replace("@SUBJECTS@", &lines(subjects()));
    format!("{HEAD}{}{main}", bourne::functions())
}

fn flags(flags: &[Spelling]) -> String {
    lines(flags.iter().flat_map(|flag| flag.written().map(|typed| (typed, flag.help.as_str()))))
}

/// A quoted word and its explanation a line, as `_describe` reads them: no word has a colon.
fn lines<W: AsRef<str>, H: AsRef<str>>(rows: impl Iterator<Item = (W, H)>) -> String {
    let mut lines = String::new();
    for (word, help) in rows {
        let help = help.as_ref().replace('\'', r"'\''");
        let _ = writeln!(lines, "            '{}:{help}'", word.as_ref());
    }
    lines
}
