//! When a start is done: an authenticated ping answers.
//!
//! There are two functions because they answer two questions. [`wait_for_vm_ready`] asks whether the
//! VM can be used, and it is what a start waits for. `wait_for_socket_exists` asks only whether a
//! file has appeared; it exists for tests, which look at a server that is not yet, or never will be,
//! ready, and it is compiled for tests alone, so that no start can mistake a socket for a VM.
//! Both stand on `backoff` and answer with a plain outcome.

use std::time::{Duration, Instant};

use super::ask::{Patience, Question, Reply, ask_one};
use crate::backoff::Backoff;
use crate::error::{Error, Kind};
use crate::lock::{self, Holder};
use crate::paths::Folders;
use crate::wire::copied::Copied;
use crate::wire::message::{Call, Request};

/// How a wait for a VM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The runner answered `pong` over an authenticated connection: QEMU is up.
    Ready,
    /// The lock is free and no pong came: that start, or that run, is over.
    Over,
    /// The time ran out; what stood in the way, where something must not be trusted.
    TimedOut(Option<Error>),
}

/// How long a VM is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    pub(crate) deadline: Instant,
    /// The time that a start has left once it copies no more images. `None`: the deadline stands,
    /// whatever is being copied.
    pub(crate) after_copying: Option<Duration>,
}

/// Retries a blocking, authenticated ping until it answers, the VM's lock comes free, or the deadline
/// passes. A ping that reaches a runner in the middle of a start is answered when the start is over,
/// so that most often the second attempt is the last.
///
/// Only a runner that copies images, which takes as long as it takes, answers at once that it does, and
/// the deadline moves: each such answer proves that it goes on, and the runner itself limits the copy.
/// So the wait ends in any case: with the copy's own limit, or because the answers cease. `copying`
/// is told each answer.
///
/// For a file alone, in tests, there is `wait_for_socket_exists`: it tells nothing of QEMU.
pub(crate) fn wait_for_vm_ready(
    folders: &Folders,
    id: &str,
    until: &mut Until,
    copying: &mut dyn FnMut(Copied),
) -> Readiness {
    let mut backoff = Backoff::until(until.deadline);
    let mut obstacle = None;
    loop {
        match ping(folders, id, until.deadline) {
            Reply::Answer(Ok(pong)) if pong == "pong" => {
                log::debug!("{id}: pong");
                return Readiness::Ready;
            }
            Reply::NoRunner => return Readiness::Over,
            Reply::Answer(answer) => {
                match answer.as_ref().err().and_then(|error| Copied::parse(&error.message)) {
                    Some(copied) => {
                        copying(copied);
                        if let Some(more) = until.after_copying {
                            until.deadline = Instant::now() + more;
                            backoff.extend(until.deadline);
                        }
                    }
                    None => log::debug!("{id}: no pong: {answer:?}"),
                }
            }
            Reply::Silent(error) | Reply::Late(error) => {
                log::debug!("{id}: {error}");
                obstacle = Some(error).filter(|error| error.kind == Kind::Permission);
            }
        }
        if lock::holder(&folders.vm(id).lock()).is_ok_and(|holder| holder == Holder::Nobody) {
            return Readiness::Over;
        }
        if !backoff.wait() {
            log::warn!("{id}: not ready in time");
            return Readiness::TimedOut(obstacle);
        }
    }
}

/// One blocking, authenticated ping; it ends by `deadline`.
fn ping(folders: &Folders, id: &str, deadline: Instant) -> Reply {
    let request = Request::from(Call::Ping);
    let question = Question { id: id.to_owned(), request, repeatable: true };
    let patience = Patience { authenticated: deadline, answered: Some(deadline) };
    ask_one(folders, question, patience)
}

/// Waits until something is at the socket's path; false when `limit` has passed first.
///
/// It says nothing of whether anybody serves it: whoever wants a VM calls [`wait_for_vm_ready`].
#[cfg(test)]
pub(crate) fn wait_for_socket_exists(path: &std::path::Path, limit: Duration) -> bool {
    let found = crate::backoff::retry(Instant::now() + limit, || path.exists().then_some(()));
    if found.is_none() {
        log::warn!("{}: did not appear in time", path.display());
    }
    found.is_some()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::testing::{Folder, OpenServer};

    const ID: &str = "0b1c6c1e-7a55-4f7e-9d57-1f1e6f1c2d3e";

    fn folders(root: &Folder) -> Folders {
        let words = [root.path().join("data"), root.path().join("run")];
        let folders = Folders::from_arguments(words.into_iter().map(OsString::from)).unwrap();
        folders.make_data().unwrap();
        crate::private::make_private(folders.vm(ID).path()).unwrap();
        lock::create(&folders.vm(ID).lock()).unwrap();
        folders
    }

    fn wait(folders: &Folders, deadline: Instant) -> Readiness {
        let mut until = Until { deadline, after_copying: None };
        wait_for_vm_ready(folders, ID, &mut until, &mut |_| {})
    }

    #[test]
    fn a_socket_is_seen_when_it_appears_and_not_before() {
        let root = Folder::new();
        let path = root.path().join("s");
        assert!(!wait_for_socket_exists(&path, Duration::from_millis(20)));
        let later = path.clone();
        let server = std::thread::spawn(move || UnixListener::bind(later).unwrap());
        assert!(wait_for_socket_exists(&path, Duration::from_secs(5)));
        server.join().unwrap();
    }

    #[test]
    fn a_vm_whose_lock_is_free_is_over_at_once_whatever_lies_on_its_socket() {
        let root = Folder::new();
        let folders = folders(&root);
        let runtime = folders.make_runtime(ID, |_| Ok(())).unwrap();
        let _server = OpenServer::on(&runtime.socket());
        std::os::unix::fs::symlink(runtime.path(), folders.live_link(ID)).unwrap();
        let before = Instant::now();
        let outcome = wait(&folders, before + Duration::from_secs(5));
        assert_eq!(outcome, Readiness::Over);
        assert!(before.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_server_without_authentication_is_never_taken_for_a_vm() {
        let root = Folder::new();
        let folders = folders(&root);
        let runtime = folders.make_runtime(ID, |_| Ok(())).unwrap();
        let _server = OpenServer::on(&runtime.socket());
        assert!(wait_for_socket_exists(&runtime.socket(), Duration::from_secs(1)));
        crate::wire::secret::Key::random().unwrap().write(&runtime.secret()).unwrap();
        std::os::unix::fs::symlink(runtime.path(), folders.live_link(ID)).unwrap();
        // Another process holds the lock, as a runner would.
        let holder = crate::testing::LockHolder::of(&folders.vm(ID).lock());
        let deadline = Instant::now() + Duration::from_millis(400);
        let outcome = wait(&folders, deadline);
        let Readiness::TimedOut(Some(error)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.kind, Kind::Permission, "{error}");
        drop(holder);
    }
}
