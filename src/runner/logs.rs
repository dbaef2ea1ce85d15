//! What the runner writes to disk while a VM lives: capped logs, and how what
//! cannot be written is counted.
//!
//! A write that fails is dropped and its bytes are counted: a full disk never stops a guest. Only
//! the holder of the VM's lock writes here.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::paths::rotated;
use crate::sys;

/// The largest size of a log before it is rotated, in bytes.
const LOG_LIMIT: u64 = 8 << 20;

/// Bytes that could not be written, counted over all files of one VM.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Arc<AtomicU64>);

impl Lost {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A log of at most [`LOG_LIMIT`] bytes and one predecessor.
#[derive(Debug)]
pub(super) struct CappedLog {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    /// Where in all that was appended the file begins, and its predecessor, where that is ours too.
    begins: u64,
    before: Option<u64>,
    lost: Lost,
}

impl CappedLog {
    /// Begins a run's log; what an earlier run left becomes the predecessor.
    pub(super) fn begin(path: PathBuf, lost: Lost) -> CappedLog {
        let mut log = CappedLog { path, file: None, size: 0, begins: 0, before: None, lost };
        log.rotate();
        log.before = None;
        log
    }

    /// Goes on with the log that is there.
    pub(super) fn resume(path: PathBuf, lost: Lost) -> CappedLog {
        let file = open(&path);
        let size = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
        CappedLog { path, file, size, begins: 0, before: None, lost }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.size + bytes.len() as u64 > LOG_LIMIT {
            self.rotate();
        }
        if self.file.is_none() {
            self.file = open(&self.path);
        }
        let written = match &mut self.file {
            Some(file) => write_what_fits(file, bytes),
            None => 0,
        };
        self.size += written as u64;
        if written < bytes.len() {
            self.lost.add(bytes.len() - written);
            // What comes next stands where it would: what is lost is taken as lost before the file.
            self.begins += (bytes.len() - written) as u64;
        }
    }

    /// Reads what was appended from `position` on, at most one buffer of it, and tells where that
    /// begins: later where what stood before is gone.
    pub(super) fn read_at(&self, position: u64, buffer: &mut [u8]) -> (u64, usize) {
        let older = self.before.filter(|_| position < self.begins);
        let (path, begins) = match older {
            Some(before) => (rotated(&self.path), before),
            None => (self.path.clone(), self.begins),
        };
        let position = position.max(begins);
        let read = File::open(path).and_then(|file| file.read_at(buffer, position - begins));
        match read {
            // The predecessor is at its end, or gone: the file itself goes on.
            Ok(0) | Err(_) if older.is_some() => (self.begins, 0),
            Ok(count) => (position, count),
            Err(_) => (position, 0),
        }
    }

    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    fn rotate(&mut self) {
        if std::fs::metadata(&self.path).is_ok_and(|found| found.len() > 0) {
            let _ = std::fs::rename(&self.path, rotated(&self.path));
        }
        self.file = open(&self.path);
        self.before = Some(self.begins);
        self.begins += self.size;
        self.size = 0;
    }
}

impl Write for CappedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A file to append to, made where it is not there.
pub(super) fn open(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(sys::NO_FOLLOW);
    options.open(path).ok()
}

/// Appends, and tells how many bytes there was room for.
pub(super) fn write_what_fits(file: &mut File, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
}

/// The last bytes of a stream.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Tail {
        Tail { bytes: VecDeque::new(), limit }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        let surplus = (self.bytes.len() + bytes.len()).saturating_sub(self.limit);
        self.bytes.drain(..surplus);
        self.bytes.extend(bytes);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let (a, b) = self.bytes.as_slices();
        [a, b].concat()
    }

    /// As text; what is not UTF-8 is replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_log_is_rotated_once_when_it_is_full() {
        let folder = Folder::new();
        let path = folder.path().join("console.log");
        let mut log = CappedLog::begin(path.clone(), Lost::default());
        let block = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            log.append(&block);
        }
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert_eq!((size(&path), size(&rotated(&path))), (4 << 20, 8 << 20));
        assert_eq!(log.lost.bytes(), 0);
    }

    #[test]
    fn what_was_appended_is_read_again_over_a_rotation() {
        let folder = Folder::new();
        let path = folder.path().join("console.log");
        std::fs::write(&path, "of an earlier run").unwrap();
        let mut log = CappedLog::begin(path.clone(), Lost::default());
        let all: Vec<u8> = (0..18 << 20).map(|n: u32| (n / 1000) as u8).collect();
        for block in all.chunks(1 << 20) {
            log.append(block);
        }
        // The first 8 MiB are gone with the log before the last.
        let mut buffer = vec![0; 100_000];
        let mut position = 0;
        let mut found = Vec::new();
        while position < all.len() as u64 {
            let (at, count) = log.read_at(position, &mut buffer);
            if found.is_empty() && count > 0 {
                assert_eq!(at, 8 << 20);
            }
            found.extend_from_slice(&buffer[..count]);
            assert!(at > position || count > 0);
            position = at + count as u64;
        }
        assert!(found == all[8 << 20..]);
        assert_eq!(log.read_at(position, &mut buffer), (position, 0));
    }

    #[test]
    fn a_new_run_begins_a_new_log_and_keeps_the_last() {
        let folder = Folder::new();
        let path = folder.path().join("qemu.log");
        CappedLog::begin(path.clone(), Lost::default()).append(b"old");
        CappedLog::begin(path.clone(), Lost::default()).append(b"new");
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(rotated(&path)).unwrap(), b"old");
    }

    #[test]
    fn bytes_that_cannot_be_written_are_counted() {
        let lost = Lost::default();
        let mut log = CappedLog::begin("/nonexistent/console.log".into(), lost.clone());
        log.append(b"12345");
        assert_eq!(lost.bytes(), 5);
    }

    #[test]
    fn a_tail_keeps_the_last_bytes() {
        let mut tail = Tail::new(4);
        for piece in ["ab", "cd", "e", "", "fghijk"] {
            tail.push(piece.as_bytes());
        }
        assert_eq!(tail.text(), "hijk");
    }
}
