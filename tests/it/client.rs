//! A client of the socket, written from maqet-protocol(7): it knows no more than that page.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::harness::Host;

pub(crate) const REFUSAL: &str = r#"{"status":"error","error":"Authentication failed"}"#;

/// The runtime folder of the host's only VM, by its link.
pub(crate) fn folder(host: &Host) -> PathBuf {
    let links = std::fs::read_dir(host.data().join("live")).unwrap();
    std::fs::read_link(links.flatten().next().unwrap().path()).unwrap()
}

/// HMAC-SHA256 in lower-case hexadecimal characters.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a process holds in memory, in KiB.
pub(crate) fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

pub(crate) struct Client {
    pub(crate) reader: BufReader<UnixStream>,
}

impl Client {
    pub(crate) fn connect(folder: &Path) -> Client {
        let stream = UnixStream::connect(folder.join("ipc.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { reader: BufReader::new(stream) }
    }

    /// Reads the challenge: the answer to it in version 1.
    pub(crate) fn answer_to_challenge(&mut self, folder: &Path) -> String {
        let challenge: Value = serde_json::from_str(&self.hear()).unwrap();
        let key = std::fs::read(folder.join("secret")).unwrap();
        let value = challenge["value"].as_str().unwrap();
        format!(r#"{{"auth":"{}"}}"#, mac(&key, &[value.as_bytes()]))
    }

    pub(crate) fn version_1(folder: &Path) -> Client {
        let mut client = Client::connect(folder);
        let answer = client.answer_to_challenge(folder);
        client.say(&answer);
        client
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line; empty at the end.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => drop(other.unwrap()),
        }
        line.trim_end().to_owned()
    }

    /// The next line as JSON.
    pub(crate) fn reply(&mut self) -> Value {
        let line = self.hear();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    pub(crate) fn ask(&mut self, request: &str) -> Value {
        self.say(request);
        self.reply()
    }
}
