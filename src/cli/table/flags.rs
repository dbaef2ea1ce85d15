//! How each flag is written: one flag, one spelling, one meaning, whichever command takes it.
//!
//! What a flag does in a command is told beside that command. A short letter may belong to two
//! flags (`-f` is the file where files are read and follow where streams are) as long as no
//! command takes both.

/// A flag by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    All,
    Any,
    Arg,
    Break,
    Autostart,
    Cdrom,
    Color,
    Columns,
    ConfigDir,
    Console,
    Cwd,
    DataDir,
    DeleteStorage,
    Diff,
    Disk,
    Drive,
    DryRun,
    Env,
    Escape,
    Every,
    Fail,
    Fix,
    File,
    Follow,
    For,
    Force,
    From,
    Help,
    Hold,
    IfExists,
    Jobs,
    Json,
    Keep,
    Label,
    Line,
    Lines,
    Live,
    Linked,
    Net,
    NoKill,
    NoWait,
    Paused,
    Port,
    Qemu,
    Quiet,
    Raw,
    ReadOnly,
    ReadyFd,
    Replace,
    Rm,
    Runner,
    Runs,
    RuntimeDir,
    Script,
    Selector,
    Set,
    Shrink,
    Since,
    Share,
    Simple,
    Sort,
    Start,
    State,
    Text,
    Timeout,
    Trust,
    Unsafe,
    Verbose,
    Version,
    Yes,
}

/// The states that `--state` can ask for.
const STATES: &[&str] =
    &["stopped", "starting", "running", "paused", "stopping", "crashed", "failed"];

/// What follows a flag. The first text of each is how help names the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    /// Any text but the empty one.
    Text(&'static str),
    /// Any one word, even empty, even one that begins with a dash.
    Word(&'static str),
    /// A whole number from the second value up to `u32::MAX`.
    Count(&'static str, u32),
    /// A time; 0 is for ever.
    Duration(&'static str),
    /// Texts joined by commas, none of them empty.
    List(&'static str),
    /// One of these.
    Choice(&'static str, &'static [&'static str]),
}

impl Takes {
    /// The name of the value in usage lines; none for a switch.
    pub(crate) const fn value_name(self) -> Option<&'static str> {
        match self {
            Takes::Nothing => None,
            Takes::Text(name)
            | Takes::Word(name)
            | Takes::Count(name, _)
            | Takes::Duration(name)
            | Takes::List(name)
            | Takes::Choice(name, _) => Some(name),
        }
    }
}

/// How a flag is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Without its dashes.
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) takes: Takes,
    /// Whether giving it again adds to it.
    pub(crate) repeats: bool,
}

impl Form {
    const fn long(long: &'static str) -> Form {
        Form { long, short: None, takes: Takes::Nothing, repeats: false }
    }

    const fn short(self, short: char) -> Form {
        Form { short: Some(short), ..self }
    }

    const fn takes(self, takes: Takes) -> Form {
        Form { takes, ..self }
    }

    const fn repeats(self) -> Form {
        Form { repeats: true, ..self }
    }
}

impl Flag {
    /// How the flag is written.
    pub(crate) const fn form(self) -> Form {
        use Takes::{Choice, Count, Duration, List, Text, Word};
        match self {
            Flag::All => Form::long("all"),
            Flag::Any => Form::long("any"),
            Flag::Arg => Form::long("arg").takes(Word("WORD")).repeats(),
            Flag::Autostart => Form::long("autostart"),
            Flag::Break => Form::long("break"),
            Flag::Cdrom => Form::long("cdrom").takes(Text("CDROM")).repeats(),
            Flag::Color => Form::long("color").takes(Choice("WHEN", &["auto", "always", "never"])),
            Flag::Columns => Form::long("columns").short('o').takes(List("COL,...")),
            Flag::ConfigDir => Form::long("config-dir").takes(Text("DIR")),
            Flag::Console => Form::long("console"),
            Flag::Cwd => Form::long("cwd").takes(Text("DIR")),
            Flag::DataDir => Form::long("data-dir").takes(Text("DIR")),
            Flag::DeleteStorage => Form::long("delete-storage"),
            Flag::Diff => Form::long("diff"),
            Flag::Disk => Form::long("disk").takes(Text("DISK")).repeats(),
            Flag::Drive => Form::long("drive").takes(Text("NAME")).repeats(),
            Flag::DryRun => Form::long("dry-run").short('n'),
            Flag::Env => Form::long("env").takes(Text("KEY=VALUE")).repeats(),
            Flag::Escape => Form::long("escape").takes(Text("^X|none")),
            Flag::Every => Form::long("every").takes(Duration("DUR")),
            Flag::Fail => Form::long("fail").takes(Text("COND")).repeats(),
            Flag::Fix => Form::long("fix"),
            Flag::File => Form::long("file").short('f').takes(Text("FILE")).repeats(),
            Flag::Follow => Form::long("follow").short('f'),
            Flag::For => Form::long("for").takes(Text("COND")).repeats(),
            Flag::Force => Form::long("force"),
            Flag::From => Form::long("from").takes(Text("start|now|MARK")),
            Flag::Help => Form::long("help").short('h'),
            Flag::Hold => Form::long("hold").takes(Duration("DUR")),
            Flag::IfExists => Form::long("if-exists"),
            Flag::Jobs => Form::long("jobs").short('j').takes(Count("N", 1)),
            Flag::Json => Form::long("json"),
            Flag::Keep => Form::long("keep").takes(Text("NAME")),
            Flag::Label => Form::long("label").takes(Text("KEY=VALUE")).repeats(),
            Flag::Live => Form::long("live"),
            Flag::Line => Form::long("line"),
            Flag::Lines => Form::long("lines").short('n').takes(Count("LINES", 0)),
            Flag::Linked => Form::long("linked"),
            Flag::Net => Form::long("net").takes(Text("NET")).repeats(),
            Flag::NoKill => Form::long("no-kill"),
            Flag::NoWait => Form::long("no-wait"),
            Flag::Paused => Form::long("paused"),
            Flag::Port => Form::long("port").takes(Text("PORT")).repeats(),
            Flag::Qemu => Form::long("qemu"),
            Flag::Quiet => Form::long("quiet").short('q'),
            Flag::Raw => Form::long("raw"),
            Flag::ReadOnly => Form::long("read-only"),
            Flag::ReadyFd => Form::long("ready-fd").takes(Count("N", 3)),
            Flag::Rm => Form::long("rm"),
            Flag::Replace => Form::long("replace"),
            Flag::Runner => Form::long("runner"),
            Flag::Runs => Form::long("runs").takes(Count("N", 1)),
            Flag::RuntimeDir => Form::long("runtime-dir").takes(Text("DIR")),
            Flag::Script => Form::long("script"),
            Flag::Selector => Form::long("selector").short('l').takes(Text("KEY=VALUE")).repeats(),
            Flag::Set => Form::long("set").takes(Text("PATH=VALUE")).repeats(),
            Flag::Share => Form::long("share").takes(Text("SHARE")).repeats(),
            Flag::Shrink => Form::long("shrink"),
            Flag::Simple => Form::long("simple"),
            Flag::Since => Form::long("since").takes(Text("TIME")),
            Flag::Sort => Form::long("sort").takes(Text("COL")),
            Flag::Start => Form::long("start"),
            Flag::State => Form::long("state").takes(Choice("STATE", STATES)),
            Flag::Text => Form::long("text"),
            Flag::Timeout => Form::long("timeout").takes(Duration("DUR")),
            Flag::Trust => Form::long("trust"),
            Flag::Unsafe => Form::long("unsafe"),
            Flag::Verbose => Form::long("verbose").short('v').repeats(),
            Flag::Version => Form::long("version").short('V'),
            Flag::Yes => Form::long("yes").short('y'),
        }
    }

    /// Whether `typed`, dashes included, is this flag.
    pub(crate) fn is_written(self, typed: &str) -> bool {
        let form = self.form();
        match typed.strip_prefix("--") {
            Some(long) => long == form.long,
            None => typed.strip_prefix('-').is_some_and(|letter| {
                let mut letters = letter.chars();
                letters.next().is_some_and(|first| form.short == Some(first))
                    && letters.next().is_none()
            }),
        }
    }

    /// The flag as a sentence names it: `--force`.
    pub(crate) fn written(self) -> String {
        format!("--{}", self.form().long)
    }
}
