//! Every system call that std does not offer, by its own name, through rustix.
//!
//! Nothing here decides anything: a function is one call, or a call and its retry on EINTR. Other
//! rooms import from here and never from rustix, so that this list is all that maqet asks of Linux.

mod descriptor;
mod file;
mod lock;
mod poll;
mod process;
mod socket;
mod terminal;

pub(crate) use self::descriptor::{
    close_inherited_on_exec, detach_standard_streams, enlarge_pipe, number, pipe, read,
    redirect_stderr, set_inheritable, set_nonblocking, short_path, standard_input, standard_output,
    write,
};
pub(crate) use self::file::{
    NO_FOLLOW, NON_BLOCKING, boot_id, copy_range, file_system, free_bytes, grants_privileges,
    kvm_opens, next_data, rename_new, share_blocks,
};
pub(crate) use self::lock::{record_lock_holder, try_flock, try_record_lock};
pub(crate) use self::poll::{Interest, monotonic, poll, wait_readable, watch_folder};
pub(crate) use self::process::{
    Signal, die_with_parent, effective_uid, limit_cpu, limit_memory, new_session, no_core_dumps,
    no_new_privileges, parent_pid, pidfd_open, pidfd_send, private_umask, set_process_name,
    stop_ourselves, umask,
};
pub(crate) use self::socket::{begin_to_connect, connect, peer, send_now};
pub(crate) use self::terminal::{Modes, NOT_OURS, owns_terminal, terminal_size};
