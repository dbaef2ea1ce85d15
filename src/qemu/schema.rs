//! QEMU's own description of its commands (`query-qmp-schema`), and by it the types of arguments
//! that were typed as words.
//!
//! Pure: JSON in, JSON out. What is wrong is told before anything is sent, with the nearest name;
//! what is missing QEMU tells better itself.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::definition::nearest::nearest;
use crate::error::{Error, Result, quote};

/// How deep dotted keys may lead.
const DEEPEST: usize = 32;

/// An argument as it was given: its dotted key, and a word or JSON.
pub(crate) type Given<'a> = (&'a str, Word<'a>);

/// What an argument was given as.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Word<'a> {
    /// A text, of the type that the schema says.
    Text(&'a str),
    /// JSON, taken as it is.
    Json(Value),
}

/// The commands of one QEMU and their types.
#[derive(Debug)]
pub(crate) struct Schema {
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    /// The name of the type of its arguments.
    Command(String),
    /// One of JSON's own types, or `value` for any.
    Builtin(String),
    Enum(Vec<String>),
    /// The name of the type of its elements.
    Array(String),
    Object {
        members: Vec<Member>,
        tag: Option<String>,
        variants: Vec<Variant>,
    },
    /// The names of the types that it may be.
    Alternate(Vec<String>),
}

#[derive(Debug)]
struct Member {
    name: String,
    r#type: String,
}

#[derive(Debug, Deserialize)]
struct Variant {
    case: String,
    r#type: String,
}

/// An entry as QEMU writes it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Raw {
    name: String,
    meta_type: String,
    arg_type: Option<String>,
    json_type: Option<String>,
    element_type: Option<String>,
    values: Option<Vec<String>>,
    /// Of an enum they have no type, of an alternate no name.
    #[serde(default)]
    members: Vec<RawMember>,
    tag: Option<String>,
    #[serde(default)]
    variants: Vec<Variant>,
}

#[derive(Deserialize)]
struct RawMember {
    name: Option<String>,
    r#type: Option<String>,
}

impl Raw {
    /// None for an event, which has no arguments.
    fn into_entry(self) -> Option<(String, Entry)> {
        let members = self.members.into_iter();
        let entry = match self.meta_type.as_str() {
            "command" => Entry::Command(self.arg_type?),
            "builtin" => Entry::Builtin(self.json_type?),
            "enum" => Entry::Enum(match self.values {
                Some(values) => values,
                None => members.filter_map(|one| one.name).collect(),
            }),
            "array" => Entry::Array(self.element_type?),
            "alternate" => Entry::Alternate(members.filter_map(|one| one.r#type).collect()),
            "object" => {
                let member = |one: RawMember| Some(Member { name: one.name?, r#type: one.r#type? });
                let members = members.filter_map(member).collect();
                Entry::Object { members, tag: self.tag, variants: self.variants }
            }
            _ => return None,
        };
        Some((self.name, entry))
    }
}

/// Dotted keys as a tree.
#[derive(Debug)]
enum Node<'a> {
    Leaf(Word<'a>),
    Branch(Vec<(&'a str, Node<'a>)>),
}

impl Schema {
    /// Reads what `query-qmp-schema` returns.
    ///
    /// # Errors
    /// `Kind::Failed` for anything else.
    pub(crate) fn parse(text: &str) -> Result<Schema> {
        let all: Vec<Raw> = serde_json::from_str(text)
            .map_err(|error| Error::failed(format!("cannot read QEMU's schema: {error}")))?;
        Ok(Schema { entries: all.into_iter().filter_map(Raw::into_entry).collect() })
    }

    /// The command nearest to a word that is none.
    pub(crate) fn nearest_command(&self, word: &str) -> Option<&str> {
        let is_command = |entry: &Entry| matches!(entry, Entry::Command(_));
        let commands = self.entries.iter().filter(|(_, entry)| is_command(entry));
        let mut names: Vec<&str> = commands.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        nearest(word, names)
    }

    /// The arguments of a command, each of the type that QEMU wants.
    ///
    /// # Errors
    /// `Kind::Usage` for a command or a key that QEMU does not have, with the nearest that it has,
    /// and for a text that is not of its type.
    pub(crate) fn arguments(
        &self,
        command: &str,
        given: Vec<Given<'_>>,
    ) -> Result<Map<String, Value>> {
        let Some(Entry::Command(arguments)) = self.entries.get(command) else {
            let error = Error::usage(format!("QEMU has no command {}", quote(command)));
            return Err(match self.nearest_command(command) {
                Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                None => error,
            });
        };
        let mut tree = Vec::new();
        for (path, word) in given {
            plant(&mut tree, path, path, word, 0)?;
        }
        let at = Place { path: String::new(), open: command == "device_add" };
        match self.object(arguments, tree, &at)? {
            Value::Object(arguments) => Ok(arguments),
            _ => Ok(Map::new()),
        }
    }

    fn value(&self, type_name: &str, node: Node<'_>, at: &Place) -> Result<Value> {
        let text = match node {
            Node::Leaf(Word::Json(value)) => return Ok(value),
            Node::Leaf(Word::Text(text)) => text,
            Node::Branch(members) => return self.branch(type_name, members, at),
        };
        match self.entries.get(type_name) {
            Some(Entry::Builtin(json)) => plain(json, text, at),
            Some(Entry::Enum(values)) => match values.iter().any(|value| value == text) {
                true => Ok(text.into()),
                false => Err(at.unknown("value", text, values.iter().map(String::as_str))),
            },
            Some(Entry::Array(element)) => {
                let items = text.split(',').filter(|_| !text.is_empty());
                let item = |text| self.value(element, Node::Leaf(Word::Text(text)), at);
                items.map(item).collect::<Result<Vec<Value>>>().map(Value::Array)
            }
            Some(Entry::Alternate(choices)) => self.alternate(choices, text, at),
            Some(Entry::Object { .. }) => Err(Error::usage(format!("{} is an object", at.shown()))
                .hint(format!(
                    "give its members, as {0}.KEY=VALUE, or JSON, as {0}:={{…}}",
                    at.path
                ))),
            _ => Ok(text.into()),
        }
    }

    /// A text that may be of several types: of the strictest that it fits.
    fn alternate(&self, choices: &[String], text: &str, at: &Place) -> Result<Value> {
        let strictness = |name: &str| match self.entries.get(name) {
            Some(Entry::Enum(_)) => Some(0),
            Some(Entry::Builtin(json)) => match json.as_str() {
                "boolean" => Some(1),
                "int" | "number" => Some(2),
                "string" => Some(3),
                _ => None,
            },
            _ => None,
        };
        let mut simple: Vec<(i32, &str)> = choices
            .iter()
            .filter_map(|choice| Some((strictness(choice)?, choice.as_str())))
            .collect();
        simple.sort_unstable();
        let mut refusal = None;
        for (_, name) in simple {
            match self.value(name, Node::Leaf(Word::Text(text)), at) {
                Ok(value) => return Ok(value),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| {
            Error::usage(format!("{} cannot be a text", at.shown()))
                .hint(format!("give JSON: {}:=…", at.path))
        }))
    }

    fn branch(&self, type_name: &str, members: Vec<(&str, Node<'_>)>, at: &Place) -> Result<Value> {
        match self.entries.get(type_name) {
            Some(Entry::Object { .. }) => self.object(type_name, members, at),
            Some(Entry::Array(element)) => self.array(element, members, at),
            Some(Entry::Alternate(choices)) => {
                let structured = choices.iter().find(|choice| {
                    let entry = self.entries.get(*choice);
                    matches!(entry, Some(Entry::Object { .. } | Entry::Array(_)))
                });
                match structured {
                    Some(choice) => self.branch(choice, members, at),
                    None => Err(at.no_members()),
                }
            }
            Some(Entry::Builtin(json)) if json == "value" => self.untyped(members),
            _ => Err(at.no_members()),
        }
    }

    /// Members of which nothing is known but what they were given as.
    fn untyped(&self, members: Vec<(&str, Node<'_>)>) -> Result<Value> {
        let member = |(name, node): (&str, Node<'_>)| {
            let value = match node {
                Node::Leaf(Word::Json(value)) => value,
                Node::Leaf(Word::Text(text)) => text.into(),
                Node::Branch(members) => self.untyped(members)?,
            };
            Ok((name.to_owned(), value))
        };
        members.into_iter().map(member).collect::<Result<Map<_, _>>>().map(Value::Object)
    }

    /// Keys that count from 0 on.
    fn array(&self, element: &str, members: Vec<(&str, Node<'_>)>, at: &Place) -> Result<Value> {
        let mut items = Vec::new();
        for (key, node) in members {
            if key != items.len().to_string() {
                let error =
                    format!("{} is a list, and the next key in it is {}", at.shown(), items.len());
                return Err(Error::usage(error));
            }
            items.push(self.value(element, node, &at.below(key))?);
        }
        Ok(items.into())
    }

    fn object(&self, type_name: &str, given: Vec<(&str, Node<'_>)>, at: &Place) -> Result<Value> {
        let mut known: Vec<(&str, &str)> = Vec::new();
        self.members(type_name, &given, at, &mut known, 0)?;
        let mut object = Map::new();
        for (key, node) in given {
            let at = at.below(key);
            let value = match known.iter().find(|(name, _)| *name == key) {
                Some((_, type_name)) => self.value(type_name, node, &at)?,
                None if at.open => match node {
                    Node::Leaf(Word::Json(value)) => value,
                    Node::Leaf(Word::Text(text)) => text.into(),
                    Node::Branch(members) => self.untyped(members)?,
                },
                None => {
                    return Err(at.unknown("key", &at.path, known.iter().map(|(name, _)| *name)));
                }
            };
            object.insert(key.to_owned(), value);
        }
        Ok(Value::Object(object))
    }

    /// The members of an object, those among them that the value of its tag brings along.
    fn members<'s>(
        &'s self,
        type_name: &str,
        given: &[(&str, Node<'_>)],
        at: &Place,
        known: &mut Vec<(&'s str, &'s str)>,
        depth: usize,
    ) -> Result<()> {
        let Some(Entry::Object { members, tag, variants }) = self.entries.get(type_name) else {
            return Ok(());
        };
        known.extend(members.iter().map(|one| (one.name.as_str(), one.r#type.as_str())));
        let Some(tag) = tag.as_deref().filter(|_| depth < DEEPEST) else { return Ok(()) };
        let case = given.iter().find(|(key, _)| *key == tag).and_then(|(_, node)| match node {
            Node::Leaf(Word::Text(text)) => Some(*text),
            Node::Leaf(Word::Json(value)) => value.as_str(),
            Node::Branch(_) => None,
        });
        match case {
            Some(case) => {
                let variant = variants.iter().find(|variant| variant.case == case);
                variant.map_or(Ok(()), |one| self.members(&one.r#type, given, at, known, depth + 1))
            }
            // Without it nothing is known of the other keys.
            None if given.iter().any(|(key, _)| !known.iter().any(|(name, _)| name == key)) => {
                let tag = at.below(tag).shown();
                Err(Error::usage(format!(
                    "{tag} is missing, which tells what other keys there are"
                )))
            }
            None => Ok(()),
        }
    }
}

/// Where in the arguments something stands.
#[derive(Debug)]
struct Place {
    /// The dotted key.
    path: String,
    /// Whether keys that the schema does not know are taken: of `device_add` it knows a few only.
    open: bool,
}

impl Place {
    fn below(&self, key: &str) -> Place {
        match self.path.is_empty() {
            true => Place { path: key.to_owned(), open: self.open },
            false => Place { path: format!("{}.{key}", self.path), open: false },
        }
    }

    fn shown(&self) -> String {
        quote(&self.path)
    }

    fn no_members(&self) -> Error {
        Error::usage(format!("{} has no members", self.shown()))
    }

    fn unknown<'a>(
        &self,
        what: &str,
        word: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> Error {
        let error = match what {
            "key" => Error::usage(format!("there is no key {}", self.shown())),
            _ => Error::usage(format!("{} cannot be {}", self.shown(), quote(word))),
        };
        let last = word.rsplit('.').next().unwrap_or(word);
        let all: Vec<&str> = known.clone().collect();
        match nearest(last, known) {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None if all.is_empty() => error.hint("there are no keys"),
            None => error.hint(format!("{what}s are: {}", all.join(", "))),
        }
    }
}

/// A text as a value of one of JSON's own types.
fn plain(json: &str, text: &str, at: &Place) -> Result<Value> {
    let value = match json {
        "boolean" => match text {
            "true" | "on" | "yes" => Some(true.into()),
            "false" | "off" | "no" => Some(false.into()),
            _ => None,
        },
        "int" => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) => Some(number.into()),
            (_, Ok(number)) => Some(number.into()),
            _ => text
                .strip_prefix("0x")
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .map(Value::from),
        },
        "number" => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
        "null" => (text == "null").then_some(Value::Null),
        _ => Some(text.into()),
    };
    value.ok_or_else(|| {
        let wanted = match json {
            "boolean" => "true or false",
            "int" => "a whole number",
            other => other,
        };
        Error::usage(format!("{} cannot be {}", at.shown(), quote(text)))
            .hint(format!("give {wanted}"))
    })
}

/// Puts a word into the tree.
fn plant<'a>(
    branch: &mut Vec<(&'a str, Node<'a>)>,
    whole: &str,
    path: &'a str,
    word: Word<'a>,
    depth: usize,
) -> Result<()> {
    let refuse = || Error::usage(format!("{} is given twice, or is no key", quote(whole)));
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let there = branch.iter().position(|(name, _)| *name == key);
    match (rest, there) {
        _ if key.is_empty() || depth > DEEPEST => Err(refuse()),
        (None, None) => {
            branch.push((key, Node::Leaf(word)));
            Ok(())
        }
        (None, Some(_)) => Err(refuse()),
        (Some(rest), there) => {
            let place = there.unwrap_or_else(|| {
                branch.push((key, Node::Branch(Vec::new())));
                branch.len() - 1
            });
            match &mut branch[place].1 {
                Node::Branch(inner) => plant(inner, whole, rest, word, depth + 1),
                Node::Leaf(_) => Err(refuse()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
