//! What unit tests share: a folder that is removed with its owner. Compiled for tests only.

pub(crate) mod fuzz;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A private folder of one test.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        use std::os::unix::fs::DirBuilderExt;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("maqet-unit-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on a Unix socket that answers everything with success and asks nobody who they are.
/// There is none such outside tests.
#[derive(Debug)]
pub(crate) struct OpenServer {
    path: PathBuf,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl OpenServer {
    pub(crate) fn on(path: &Path) -> OpenServer {
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let serve = move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                let _ = stream.set_read_timeout(Some(std::time::Duration::from_millis(50)));
                let _ = std::io::Write::write_all(
                    &mut stream,
                    b"{\"status\":\"success\",\"result\":\"pong\"}\n",
                );
                let _ =
                    std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut line);
                if line.starts_with("end") {
                    return;
                }
            }
        };
        OpenServer { path: path.to_owned(), thread: Some(std::thread::spawn(serve)) }
    }
}

impl Drop for OpenServer {
    fn drop(&mut self) {
        if let Ok(mut stream) = std::os::unix::net::UnixStream::connect(&self.path) {
            let _ = std::io::Write::write_all(&mut stream, b"end\n");
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A process that holds a record lock on a file, as a runner does.
#[derive(Debug)]
pub(crate) struct LockHolder(std::process::Child);

impl LockHolder {
    pub(crate) fn of(path: &Path) -> LockHolder {
        let script = "import fcntl, signal, sys\n\
                      signal.signal(signal.SIGHUP, signal.SIG_IGN)\n\
                      f = open(sys.argv[1], 'r+')\n\
                      fcntl.lockf(f, fcntl.LOCK_EX)\n\
                      print('held', flush=True)\n\
                      sys.stdin.read()";
        let mut child = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        LockHolder(child)
    }
}

impl Drop for LockHolder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
