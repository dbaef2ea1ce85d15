//! The completion script of bash: everything of its own, nothing of the bash-completion package.

use std::fmt::Write;

use super::{
    Spelling, bourne, commands, describing_commands, describing_flags, flags_by_command,
    global_flags, subjects,
};

const HEAD: &str = r#"# Completion of maqet for bash, printed by "maqet generate bash".
"#;

/// Readline cuts words at = and : where COMP_WORDBREAKS has them, and replaces the last piece alone;
/// the pieces are joined again by the blanks of the line.
const MAIN: &str = r#"
# _maqet_flags COMMAND: its flags, in list.
_maqet_flags() {
    list='@GLOBALS@'
    case $1 in
        @DESCRIBING@) list+=' @KEYS@' ;;
    esac
    case $1 in
@OWN@    esac
}

_maqet() {
    local IFS=$' \t\n' line=${COMP_LINE:0:COMP_POINT} blanks piece word i
    local command= pending= plain= kind= list= before=
    local -a words=() taken=() folders=()
    COMPREPLY=()

    for ((i = 0; i <= COMP_CWORD; i++)); do
        blanks=${line%%[![:blank:]]*}
        line=${line:${#blanks}}
        piece=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && piece=$line
        line=${line:${#piece}}
        if ((i > 0)) && [[ -z $blanks ]]; then
            words[${#words[@]} - 1]+=$piece
        else
            words+=("$piece")
        fi
    done
    i=$((${#words[@]} - 1))
    ((i > 0)) || return
    local current=${words[i]}
    words=("${words[@]:1:i - 1}")
    _maqet_walk "${words[@]//[\"\'\\]/}"

    if [[ -n $pending ]]; then
        _maqet_value "$command" "$pending"
    elif [[ -z $plain && $current == --*=* ]]; then
        _maqet_value "$command" "${current%%=*}"
        before=${current%%=*}=
    elif [[ -z $plain && $current == -* ]]; then
        _maqet_flags "$command"
    else
        _maqet_operand "$command" ${#taken[@]}
    fi

    case $kind in
        file) compopt -o default; return ;;
        # Files where no name fits.
        vm-or-file) compopt -o default ;;&
        folder) compopt -o dirnames; return ;;
        # exec: neither a function of that name nor a second process.
        vm|vm-or-file) list=$(exec maqet "${folders[@]}" ls -q 2> /dev/null) ;;
        commands) list='@COMMANDS@' ;;
        subjects) list='@SUBJECTS@' ;;
    esac
    for word in $list; do
        [[ $before$word == "$current"* ]] || continue
        [[ $kind == vm* && " ${taken[*]} " == *" $word "* ]] && continue
        word=$before$word
        COMPREPLY+=("${word:${#current} - ${#2}}")
    done
}

complete -F _maqet maqet
"#;

pub(super) fn script() -> String {
    let mut own = String::new();
    for (word, flags) in flags_by_command() {
        let _ = writeln!(own, "        {}) list+=' {}' ;;", word, words(&flags));
    }
    let names = |rows: &mut dyn Iterator<Item = (&'static str, &'static str)>| {
        rows.map(|(word, _)| word).collect::<Vec<_>>().join(" ")
    };
    let main = MAIN
        .replace("@GLOBALS@", &words(&global_flags()))
        .replace("@DESCRIBING@", &describing_commands().join("|"))
        .replace("@KEYS@", &words(&describing_flags()))
        .replace("@OWN@", &own)
        .replace("@COMMANDS@", &names(&mut commands()))
        .replace("@SUBJECTS@", &names(&mut subjects()));
    format!("{HEAD}{}{main}", bourne::functions())
}

/// Every spelling of the flags, divided by blanks.
fn words(flags: &[Spelling]) -> String {
    flags.iter().flat_map(Spelling::written).collect::<Vec<_>>().join(" ")
}
