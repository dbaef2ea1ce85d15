//! What clients have QEMU write of the guest's screen: files in the VM's folder, each of one client.
//!
//! A file lies there for as long as its client stays, or until it asks for another; what a killed
//! runner left goes with the next run. QEMU knows the files by their names in its working directory,
//! the VM's folder. Who is answered how is the caller's.

use serde_json::{Map, Value, json};

use super::watch::Due;
use crate::error::{Error, Result};
use crate::paths::VmFolder;
use crate::qemu::qmp::{Answer, Version};
use crate::qemu::screen;
use crate::wire::screen::Format;

/// The first QEMU that writes PNG.
const WRITES_PNG: Version = (7, 1);

/// A file and who wants it.
#[derive(Debug)]
struct Shot {
    session: u64,
    request: Option<Value>,
    format: Format,
    /// The number in its name.
    place: usize,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// QEMU was asked for the picture.
    Drawing,
    /// And for the card's memory.
    Remembering,
    /// The client knows of it.
    Told,
}

/// All files.
#[derive(Debug)]
pub(super) struct Pictures {
    folder: VmFolder,
    writes_png: bool,
    shots: Vec<Shot>,
}

/// A QMP command, its arguments, and for which file it is.
pub(super) type Command = (usize, &'static str, Map<String, Value>);

/// What follows from an answer.
#[derive(Debug)]
pub(super) enum Next {
    Ask(Command),
    Answer(Due),
}

impl Pictures {
    /// None yet, and none from before.
    pub(super) fn new(folder: VmFolder) -> Pictures {
        let pictures = Pictures { folder, writes_png: true, shots: Vec::new() };
        pictures.folder.pictures().for_each(|path| drop(std::fs::remove_file(path)));
        pictures
    }

    /// Which QEMU it is that will write them, as far as it told.
    pub(super) fn greeted(&mut self, version: Option<Version>) {
        self.writes_png = version.is_none_or(|version| version >= WRITES_PNG);
    }

    /// Begins a file; what the same client was told of before goes.
    ///
    /// # Errors
    /// `Kind::Conflict` where there are too many.
    pub(super) fn begin(
        &mut self,
        session: u64,
        request: Option<Value>,
        format: Format,
    ) -> Result<Command> {
        self.keep(|shot| shot.session != session || shot.step != Step::Told);
        let is_free = |place: &usize| self.shots.iter().all(|shot| shot.place != *place);
        let place = (0..VmFolder::PICTURES).find(is_free);
        let place = place.ok_or_else(|| Error::conflict("too many clients look at the screen"))?;
        let format = if format == Format::Png && !self.writes_png { Format::Ppm } else { format };
        self.shots.push(Shot { session, request, format, place, step: Step::Drawing });
        let mut arguments = Map::from_iter([("filename".to_owned(), json!(picture(place)))]);
        if format == Format::Png {
            arguments.insert("format".into(), json!("png"));
        }
        Ok((place, "screendump", arguments))
    }

    /// Takes QEMU's answer for a file.
    pub(super) fn hear(&mut self, place: usize, answer: Answer) -> Option<Next> {
        let at = self.shots.iter().position(|shot| shot.place == place)?;
        let shot = self.shots.get_mut(at)?;
        if let Answer::Error { desc, .. } = answer {
            let Shot { session, request, .. } = self.shots.remove(at);
            self.remove(place);
            return Some(Next::Answer(Due { session, request, answer: Err(refused(&desc)) }));
        }
        if shot.format == Format::Text && shot.step == Step::Drawing {
            shot.step = Step::Remembering;
            let arguments = json!({
                "val": screen::MEMORY,
                "size": screen::MEMORY_SIZE,
                "filename": memory(place),
            });
            let arguments = arguments.as_object().cloned().unwrap_or_default();
            return Some(Next::Ask((place, "pmemsave", arguments)));
        }
        shot.step = Step::Told;
        let format = if shot.format == Format::Png { "png" } else { "ppm" };
        let file = |name: String| self.folder.path().join(name).to_string_lossy().into_owned();
        let mut told = json!({ "file": file(picture(place)), "format": format });
        if shot.format == Format::Text {
            told["memory"] = json!(file(memory(place)));
        }
        let (session, request) = (shot.session, shot.request.clone());
        Some(Next::Answer(Due { session, request, answer: Ok(told) }))
    }

    /// Takes away the files of clients that have left, once QEMU has written them.
    pub(super) fn tidy(&mut self, is_there: impl Fn(u64) -> bool) {
        self.keep(|shot| shot.step != Step::Told || is_there(shot.session));
    }

    /// QEMU answers nothing any more, for this reason.
    pub(super) fn lose(&mut self, why: &Error) -> Vec<Due> {
        let due = |shot: &Shot| {
            let (session, request) = (shot.session, shot.request.clone());
            Due { session, request, answer: Err(why.clone()) }
        };
        let lost = self.shots.iter().filter(|shot| shot.step != Step::Told).map(due).collect();
        self.keep(|shot| shot.step == Step::Told);
        lost
    }

    /// Nothing of it stays.
    pub(super) fn end(&mut self, why: &Error) -> Vec<Due> {
        let lost = self.lose(why);
        self.keep(|_| false);
        lost
    }

    fn keep(&mut self, keeps: impl Fn(&Shot) -> bool) {
        let (kept, gone) = std::mem::take(&mut self.shots).into_iter().partition(keeps);
        self.shots = kept;
        let gone: Vec<Shot> = gone;
        for shot in gone {
            self.remove(shot.place);
        }
    }

    fn remove(&self, place: usize) {
        for name in [picture(place), memory(place)] {
            let _ = std::fs::remove_file(self.folder.path().join(name));
        }
    }
}

fn picture(place: usize) -> String {
    VmFolder::picture(place)
}

fn memory(place: usize) -> String {
    VmFolder::picture_memory(place)
}

fn refused(why: &str) -> Error {
    if why.contains("no console") {
        return Error::not_found("the guest has no screen")
            .hint("its key \"vga\" gives it one, on a machine such as q35");
    }
    Error::failed("QEMU refused").quoting(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::testing::Folder;

    fn done() -> Answer {
        Answer::Return(json!({}))
    }

    fn pictures(root: &Folder) -> Pictures {
        let folder = VmFolder::at(root.path());
        std::fs::write(root.path().join("screen-3"), "left").unwrap();
        Pictures::new(folder)
    }

    /// Has a picture written as QEMU would.
    fn write(pictures: &mut Pictures, root: &Folder, session: u64, format: Format) -> Value {
        let (place, name, arguments) = pictures.begin(session, None, format).unwrap();
        assert_eq!(name, "screendump");
        let path = |arguments: &Map<String, Value>| {
            root.path().join(arguments["filename"].as_str().unwrap())
        };
        std::fs::write(path(&arguments), "picture").unwrap();
        match pictures.hear(place, done()) {
            Some(Next::Answer(due)) => due.answer.unwrap(),
            Some(Next::Ask((place, name, arguments))) => {
                assert_eq!((name, &arguments["val"]), ("pmemsave", &json!(0xb8000)));
                std::fs::write(path(&arguments), "memory").unwrap();
                match pictures.hear(place, done()) {
                    Some(Next::Answer(due)) => due.answer.unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            None => panic!("no answer"),
        }
    }

    fn files(root: &Folder) -> usize {
        std::fs::read_dir(root.path()).unwrap().count()
    }

    #[test]
    fn a_file_stays_as_long_as_its_client_and_no_longer() {
        let root = Folder::new();
        let mut pictures = pictures(&root);
        assert_eq!(files(&root), 0, "what was left goes");
        let told = write(&mut pictures, &root, 1, Format::Png);
        assert_eq!(told["format"], "png");
        assert!(std::path::Path::new(told["file"].as_str().unwrap()).is_file());
        let told = write(&mut pictures, &root, 1, Format::Text);
        assert_eq!((&told["format"], files(&root)), (&json!("ppm"), 2));
        assert!(std::path::Path::new(told["memory"].as_str().unwrap()).is_file());
        write(&mut pictures, &root, 2, Format::Ppm);
        pictures.tidy(|_| true);
        assert_eq!(files(&root), 3);
        pictures.tidy(|session| session == 2);
        assert_eq!(files(&root), 1);
        assert!(pictures.end(&Error::failed("over")).is_empty());
        assert_eq!(files(&root), 0);
    }

    #[test]
    fn a_file_that_qemu_still_writes_is_not_taken_away() {
        let root = Folder::new();
        let mut pictures = pictures(&root);
        let (place, ..) = pictures.begin(1, None, Format::Png).unwrap();
        pictures.tidy(|_| false);
        assert!(matches!(pictures.hear(place, done()), Some(Next::Answer(_))));
        pictures.tidy(|_| false);
        assert!(pictures.shots.is_empty());
    }

    #[test]
    fn an_old_qemu_writes_ppm_and_one_without_a_screen_nothing() {
        let root = Folder::new();
        let mut pictures = pictures(&root);
        pictures.greeted(Some((7, 0)));
        let (place, _, arguments) = pictures.begin(1, None, Format::Png).unwrap();
        assert!(!arguments.contains_key("format"));
        let desc = "There is no console to take a screendump from".to_owned();
        let answer = Answer::Error { class: String::new(), desc };
        let Some(Next::Answer(due)) = pictures.hear(place, answer) else { panic!() };
        assert_eq!(due.answer.unwrap_err().kind, Kind::NotFound);
        for session in 0..VmFolder::PICTURES as u64 {
            pictures.begin(session, None, Format::Png).unwrap();
        }
        assert_eq!(pictures.begin(9, None, Format::Png).unwrap_err().kind, Kind::Conflict);
        assert_eq!(pictures.lose(&Error::failed("lost")).len(), VmFolder::PICTURES);
    }
}
