//! What a runner says of its VM: the result of the method `status`, and the `status` file.
//!
//! Plain data. The file is only a last resort, for a runner that does not answer; whether the VM
//! lives is told by its lock alone.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The states of a VM. The first five are a runner's; the others are told of a VM without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Starting,
    Running,
    Paused,
    Stopping,
    Stopped,
    Crashed,
    Failed,
}

impl State {
    pub(crate) const ALL: [State; 7] = [
        State::Starting,
        State::Running,
        State::Paused,
        State::Stopping,
        State::Stopped,
        State::Crashed,
        State::Failed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Paused => "paused",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Crashed => "crashed",
            State::Failed => "failed",
        }
    }

    /// Whether a runner is in charge of the VM.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, State::Starting | State::Running | State::Paused | State::Stopping)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What a definition may leave to its QEMU that is taken from every other.
pub(crate) mod exception {
    /// System calls that the sandbox would deny.
    pub(crate) const SYSTEM_CALLS: &str = "system-calls";
    /// The rights of a set-id program that it runs: it is without no_new_privs.
    pub(crate) const NEW_PRIVILEGES: &str = "new-privileges";
    /// The variables by which a window finds its screen.
    pub(crate) const SCREEN: &str = "screen";
}

/// A live VM, as its runner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) vm_id: String,
    pub(crate) name: String,
    pub(crate) state: State,
    /// Whether QEMU lives.
    pub(crate) running: bool,
    pub(crate) runner_pid: u32,
    pub(crate) qemu_pid: Option<u32>,
    /// `kvm` or `tcg`.
    pub(crate) accel: String,
    /// Whole seconds since QEMU was spawned.
    pub(crate) uptime: u64,
    /// When this state began.
    pub(crate) since: Timestamp,
    pub(crate) socket_path: String,
    /// Whether QEMU runs in its seccomp sandbox.
    pub(crate) sandbox: bool,
    /// What QEMU has that is else taken from it: see [`exception`].
    #[serde(default)]
    pub(crate) exceptions: Vec<String>,
    /// Bytes of logs and notes that could not be written to disk.
    pub(crate) log_bytes_lost: u64,
}

impl Status {
    /// Reads the status file of a runner; `None` where it holds none.
    pub(crate) fn parse(text: &[u8]) -> Option<Status> {
        serde_json::from_slice(text).ok()
    }
}
