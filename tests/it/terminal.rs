//! A shell at a pseudo-terminal: what a test types goes in as keys, and the line that the shell's
//! editor then holds is read back.
//!
//! Each shell has ^T bound to printing its line between marks, so that nothing has to be made out of
//! the sequences with which it draws. Its configuration is private, and it ends with its owner.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::harness::Host;
use crate::pty;

/// The longest that a shell may take for anything; zsh reads all its completions as it starts.
const LIMIT: Duration = Duration::from_secs(30);
const PROMPT: &str = "ready> ";
/// Empties the line, in each of the shells.
const CLEAR: &str = "\u{15}";
/// Prints the line.
const SHOW: &str = "\u{14}";

/// How a shell comes by its completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    /// From a file `_maqet` in a folder of `fpath`.
    Zsh,
    /// From a text that is sourced.
    ZshSourced,
    Fish,
}

impl Shell {
    pub(crate) const ALL: [Shell; 4] = [Shell::Bash, Shell::Zsh, Shell::ZshSourced, Shell::Fish];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh | Shell::ZshSourced => "zsh",
            Shell::Fish => "fish",
        }
    }
}

/// A shell that waits for keys.
#[derive(Debug)]
pub(crate) struct Terminal {
    shell: Child,
    keys: File,
    /// What it has drawn since the last question.
    drawn: String,
}

impl Terminal {
    /// Starts a shell of which `maqet` is this binary, with the completions that it prints itself.
    pub(crate) fn open(shell: Shell, host: &Host, maqet: &Path) -> Terminal {
        let home = host.root().join(format!("{shell:?}"));
        std::fs::create_dir_all(home.join("bin")).unwrap();
        symlink(maqet, home.join("bin/maqet")).unwrap();
        let script = Command::new(maqet).args(["generate", shell.name()]).output().unwrap();
        assert!(script.status.success(), "{script:?}");
        let words = configure(shell, &home, &script.stdout);

        let (keys, theirs) = pty::pair(200, 50);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(home.join("bin")).chain(std::env::split_paths(&path));
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = host.command("setsid");
        command
            .arg("--ctty")
            .args(words)
            .env("PATH", std::env::join_paths(folders).unwrap())
            .env("TERM", "xterm")
            .env("INPUTRC", "/dev/null")
            .env("ZDOTDIR", &home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_DATA_HOME", home.join("share"))
            .stdin(end())
            .stdout(end())
            .stderr(end());
        let shell = command.spawn().unwrap_or_else(|error| panic!("setsid: {error}"));
        let mut terminal = Terminal { shell, keys, drawn: String::new() };
        terminal.wait(|drawn| drawn.contains(PROMPT).then_some(()));
        terminal
    }

    /// The line after these keys were typed into an empty one, and TAB after them.
    pub(crate) fn completed(&mut self, typed: &str) -> String {
        self.line(&format!("{CLEAR}{typed}\t{SHOW}"))
    }

    /// How long TAB takes, with the line behind it being printed; and how long the printing alone.
    pub(crate) fn time(&mut self, typed: &str, expected: &str) -> (Duration, Duration) {
        assert_eq!(self.line(&format!("{CLEAR}{typed}{SHOW}")), typed);
        let began = Instant::now();
        assert_eq!(self.line(SHOW), typed);
        let printing = began.elapsed();
        let began = Instant::now();
        assert_eq!(self.line(&format!("\t{SHOW}")), expected);
        (began.elapsed(), printing)
    }

    /// What the shell has drawn since the last question was asked.
    pub(crate) fn drawn(&self) -> &str {
        &self.drawn
    }

    /// Types keys of which the last prints the line.
    fn line(&mut self, keys: &str) -> String {
        self.drawn.clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.wait(|drawn| {
            let (_, behind) = drawn.split_once("<<")?;
            behind.split_once(">>").map(|(line, _)| line.to_owned())
        })
    }

    /// Reads what the shell draws until something is in it.
    fn wait<T>(&mut self, look: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        let mut bytes = [0; 64 * 1024];
        loop {
            if let Some(found) = look(&self.drawn) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap();
            let mut ends = [PollFd::new(&self.keys, PollFlags::IN)];
            let ready = poll(&mut ends, Some(&left)).unwrap();
            assert!(ready > 0, "the shell does not answer; it drew {:?}", self.drawn);
            let read = self.keys.read(&mut bytes);
            let count = read.unwrap_or_else(|_| panic!("the shell ended: {}", self.drawn));
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            self.drawn.push_str(&text);
            // A terminal is asked what it is, and waited for: this one is a VT220.
            if text.contains("\u{1b}[c") || text.contains("\u{1b}[0c") {
                self.keys.write_all(b"\x1b[?62c").unwrap();
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Writes the configuration of a shell, and gives the words that start it.
fn configure(shell: Shell, home: &Path, script: &[u8]) -> Vec<String> {
    let write = |path: &str, text: &[u8]| -> PathBuf {
        let path = home.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let installed = Command::new(shell.name()).arg("--version").output().is_ok();
    assert!(installed, "{} is needed: tests/needs installs it", shell.name());
    let words: Vec<&str> = match shell {
        Shell::Bash => {
            let script = write("maqet.bash", script);
            let rc = format!(
                "PS1='{PROMPT}'\nsource {}\n\
                 bind -x '\"\\C-t\": printf \"<<%s>>\\n\" \"$READLINE_LINE\"'\n",
                script.display()
            );
            let rc = write("bashrc", rc.as_bytes());
            return ["bash", "--noprofile", "--rcfile", rc.to_str().unwrap(), "-i"]
                .map(str::to_owned)
                .into();
        }
        Shell::Zsh | Shell::ZshSourced => {
            let source = if shell == Shell::Zsh {
                write("functions/_maqet", script);
                String::new()
            } else {
                format!("source {}\n", write("maqet.zsh", script).display())
            };
            let rc = format!(
                "PS1='{PROMPT}'\nfpath=($ZDOTDIR/functions $fpath)\n\
                 autoload -Uz compinit\ncompinit -u -D\n{source}\
                 show() {{ print -r -- \"<<$BUFFER>>\" > /dev/tty; zle redisplay }}\n\
                 zle -N show\nbindkey -e\nbindkey '^T' show\n"
            );
            write(".zshrc", rc.as_bytes());
            vec!["zsh", "-d", "-i"]
        }
        Shell::Fish => {
            write("config/fish/completions/maqet.fish", script);
            // Without this folder fish would read every manual of the system.
            std::fs::create_dir_all(home.join("share/fish/generated_completions")).unwrap();
            let rc = format!(
                "set -g fish_greeting\nfunction fish_prompt; echo -n '{PROMPT}'; end\n\
                 function show; echo '<<'(commandline)'>>'; commandline -f repaint; end\n\
                 bind \\ct show\n"
            );
            write("config/fish/config.fish", rc.as_bytes());
            vec!["fish", "-i"]
        }
    };
    words.into_iter().map(str::to_owned).collect()
}
