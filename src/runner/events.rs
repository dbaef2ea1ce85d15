//! What happened with the VM, the last of it: in memory for those who follow, and in a file for those
//! who come when the runner has gone.
//!
//! Nobody is waited for: a follower that is slow misses what has left the ring, and is told how much.

use std::collections::VecDeque;
use std::path::PathBuf;

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::logs::{Lost, open, write_what_fits};
use super::session::Sessions;
use crate::error::{Error, Result};
use crate::sys;
use crate::time::Timestamp;
use crate::wire::events::{Event, EventsCall, KEPT};
use crate::wire::stream::{self, Input};

/// The longest data of one event, in bytes of JSON: what is longer is left out.
const LONGEST_DATA: usize = 2 << 10;
/// Events given to one follower in a turn of the loop.
const PER_TURN: usize = 64;
/// How many followers there may be at once.
const MOST: usize = 64;
/// The most that is read of the file of earlier runs, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// The last events, each as its line without the newline.
#[derive(Debug)]
pub(super) struct Events {
    path: PathBuf,
    ring: VecDeque<String>,
    /// The number of the next event.
    next: u64,
    /// Where the ring ends, in events since the runner began and those that it found.
    end: u64,
    /// How many lines the file has, and how many of the last events it still lacks.
    written: usize,
    unwritten: usize,
    lost: Lost,
}

impl Events {
    /// Goes on where earlier runs ended.
    pub(super) fn resume(path: PathBuf, lost: Lost) -> Events {
        let read = || {
            use std::io::Read;
            let mut text = String::new();
            std::fs::File::open(&path)?.take(FILE_LIMIT).read_to_string(&mut text)?;
            std::io::Result::Ok(text)
        };
        let text = read().unwrap_or_default();
        let written = text.lines().count();
        // Only what is whole may go into a frame.
        let is_whole = |line: &&str| serde_json::from_str::<IgnoredAny>(line).is_ok();
        let last = text.lines().skip(written.saturating_sub(KEPT)).filter(is_whole);
        let ring: VecDeque<String> = last.map(str::to_owned).collect();
        let number = |line: &String| Some(serde_json::from_str::<Event>(line).ok()?.seq);
        let next = ring.iter().rev().find_map(number).map_or(1, |last| last.saturating_add(1));
        let end = ring.len() as u64;
        // A torn last line gets its newline: the file is written anew at the first event.
        let written = if text.is_empty() || text.ends_with('\n') { written } else { 2 * KEPT };
        Events { path, ring, next, end, written, unwritten: 0, lost }
    }

    /// Takes one down; [`Events::flush`] writes it.
    pub(super) fn push(&mut self, run: u64, event: &str, mut data: Map<String, Value>) {
        if json!(data).to_string().len() > LONGEST_DATA {
            data.clear();
        }
        let (at, monotonic) = (Timestamp::now(), sys::monotonic().as_secs_f64());
        let event = Event { run, seq: self.next, at, monotonic, event: event.to_owned(), data };
        self.next += 1;
        self.end += 1;
        if self.ring.len() == KEPT {
            self.ring.pop_front();
        }
        self.ring.push_back(event.to_text());
        self.unwritten += 1;
    }

    /// Writes what the file lacks: behind its end, or anew where it would get too long.
    pub(super) fn flush(&mut self) {
        if self.unwritten == 0 {
            return;
        }
        let count = self.unwritten.min(self.ring.len());
        self.unwritten = 0;
        if self.written + count > 2 * KEPT {
            let new = self.path.with_extension("ndjson.new");
            let _ = std::fs::remove_file(&new);
            let (wanted, written) = write(&new, self.ring.iter());
            if written == wanted && std::fs::rename(&new, &self.path).is_ok() {
                self.written = self.ring.len();
                return;
            }
            let _ = std::fs::remove_file(&new);
            self.lost.add(wanted);
            return;
        }
        let (wanted, written) = write(&self.path, self.ring.iter().skip(self.ring.len() - count));
        self.written += count;
        if written < wanted {
            self.lost.add(wanted - written);
            // Its last line is torn.
            self.written = 2 * KEPT;
        }
    }

    /// Where the ring begins.
    fn oldest(&self) -> u64 {
        self.end - self.ring.len() as u64
    }

    fn line(&self, position: u64) -> Option<&str> {
        let place = usize::try_from(position.checked_sub(self.oldest())?).ok()?;
        self.ring.get(place).map(String::as_str)
    }
}

/// Appends lines to a file: how many bytes they have, and how many were written.
fn write<'a>(path: &std::path::Path, lines: impl Iterator<Item = &'a String>) -> (usize, usize) {
    let text: String = lines.flat_map(|line| [line.as_str(), "\n"]).collect();
    let written = open(path).map_or(0, |mut file| write_what_fits(&mut file, text.as_bytes()));
    (text.len(), written)
}

/// A client that is told what happens.
#[derive(Debug)]
struct Follower {
    session: u64,
    id: Value,
    /// Where the event stands that is next for it.
    position: u64,
    /// Where it ends; `None`: not before the VM.
    until: Option<u64>,
    since: Option<Timestamp>,
}

/// All clients that follow.
#[derive(Debug, Default)]
pub(super) struct Followers(Vec<Follower>);

impl Followers {
    /// Takes a client in, by its number and the id of its request.
    ///
    /// # Errors
    /// `Kind::Usage` where the id has a stream already; `Kind::Conflict` where there are too many.
    pub(super) fn begin(
        &mut self,
        events: &Events,
        sessions: &mut Sessions,
        (session, id): (u64, Value),
        EventsCall { follow, since }: EventsCall,
    ) -> Result<()> {
        self.0.retain(|one| sessions.has(one.session));
        if self.0.iter().any(|one| one.session == session && one.id == id) {
            return Err(Error::usage("this id has a stream already"));
        }
        if self.0.len() >= MOST {
            return Err(Error::conflict("too many clients follow its events already"));
        }
        sessions.stream(session, &stream::opened(&id));
        let until = (!follow).then_some(events.end);
        self.0.push(Follower { session, id, position: events.oldest(), until, since });
        self.serve(events, sessions);
        Ok(())
    }

    /// Whether somebody can be told something now.
    pub(super) fn has_work(&self, events: &Events, sessions: &Sessions) -> bool {
        let waits = |one: &Follower| one.position < one.until.unwrap_or(events.end);
        self.0.iter().any(|one| waits(one) && sessions.takes_more(one.session))
    }

    /// Tells each what it takes of what has happened.
    pub(super) fn serve(&mut self, events: &Events, sessions: &mut Sessions) {
        self.0.retain_mut(|one| {
            for _ in 0..PER_TURN {
                if one.is_over(events) || !sessions.takes_more(one.session) {
                    break;
                }
                one.tell(events, sessions);
            }
            let over = one.until.is_some() && one.is_over(events);
            if over {
                sessions.answer(one.session, Some(&one.id), Ok(Value::Null));
            }
            !over && sessions.has(one.session)
        });
    }

    /// Takes a frame of a follower's; of anybody else nothing happens.
    pub(super) fn take(
        &mut self,
        sessions: &mut Sessions,
        session: u64,
        id: &Value,
        input: &Input,
    ) {
        let is_it = |one: &Follower| one.session == session && one.id == *id;
        if let Some(place) = self.0.iter().position(is_it).filter(|_| *input == Input::Cancel) {
            self.0.remove(place);
            sessions.answer(session, Some(id), Ok(Value::Null));
        }
    }

    /// Tells all the rest, and that there is nothing more to come.
    pub(super) fn end(&mut self, events: &Events, sessions: &mut Sessions) {
        for mut one in std::mem::take(&mut self.0) {
            while !one.is_over(events) && sessions.has(one.session) {
                one.tell(events, sessions);
            }
            sessions.answer(one.session, Some(&one.id), Ok(json!({ "ended": true })));
        }
    }
}

impl Follower {
    fn is_over(&self, events: &Events) -> bool {
        self.position >= self.until.unwrap_or(events.end)
    }

    /// Tells one event more, and how many there were before it that are gone.
    fn tell(&mut self, events: &Events, sessions: &mut Sessions) {
        let lost = events.oldest().saturating_sub(self.position);
        self.position += lost;
        let Some(line) = events.line(self.position) else { return };
        self.position += 1;
        let at = |line: &str| Some(serde_json::from_str::<Event>(line).ok()?.at);
        if self.since.is_some_and(|since| at(line).is_none_or(|at| at < since)) {
            return;
        }
        sessions.stream(self.session, &stream::event(&self.id, line, lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;
    use crate::wire::events::parse;

    fn data(size: usize) -> Map<String, Value> {
        Map::from_iter([("x".to_owned(), "y".repeat(size).into())])
    }

    #[test]
    fn the_last_256_are_kept_over_runs_and_the_file_stays_small() {
        let folder = Folder::new();
        let path = folder.path().join("events.ndjson");
        let mut last = 0;
        for run in 1..=20 {
            let mut events = Events::resume(path.clone(), Lost::default());
            for _ in 0..50 {
                events.push(run, "STOP", data(10));
                events.flush();
            }
            last += 50;
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.lines().count() <= 2 * KEPT);
            let kept = parse(&text);
            assert_eq!(kept.len(), KEPT.min(usize::try_from(last).unwrap()));
            assert_eq!(kept.last().unwrap().seq, last);
            assert_eq!(events.line(events.oldest()), Some(kept[0].to_text().as_str()));
        }
        // Many at once, of which only the last can be kept.
        let mut events = Events::resume(path.clone(), Lost::default());
        (0..1000).for_each(|_| events.push(21, "RESUME", Map::new()));
        events.flush();
        let kept = parse(&std::fs::read_to_string(&path).unwrap());
        assert!(kept.len() == KEPT && kept.iter().all(|event| event.run == 21));
    }

    #[test]
    fn long_data_is_left_out_and_torn_files_are_gone_on_with() {
        let folder = Folder::new();
        let path = folder.path().join("events.ndjson");
        std::fs::write(&path, "nonsense\n{\"run\":1,\"seq\":7,").unwrap();
        let lost = Lost::default();
        let mut events = Events::resume(path.clone(), lost.clone());
        events.push(2, "LONG", data(LONGEST_DATA));
        events.flush();
        let kept = parse(&std::fs::read_to_string(&path).unwrap());
        assert!(kept.len() == 1 && kept[0].data.is_empty() && kept[0].seq == 1);
        assert_eq!(lost.bytes(), 0);
        let mut nowhere = Events::resume("/nonexistent/events".into(), lost.clone());
        nowhere.push(1, "STOP", Map::new());
        nowhere.flush();
        assert!(lost.bytes() > 0);
    }
}
