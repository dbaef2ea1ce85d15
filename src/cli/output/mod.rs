//! Results on stdout, in the form that was asked for: a table for eyes, columns for `cut` and
//! `read`, JSON for programs, names alone.
//!
//! A command makes one `Output` before it does anything, so that a wrong column is refused before
//! anything is changed; it gives its results as objects and ends with `finish`. A reader that went
//! away (EPIPE) is no error: the rest is swallowed. Errors and notes belong to `report`.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

use super::invocation::Invocation;
use super::table::Flag;
use crate::error::{Error, Kind, Result};
use crate::sys;

mod columns;
mod escape;
mod grid;

pub(crate) use columns::{at, plain};
pub(super) use escape::escape_json;
pub(crate) use escape::{escape_for_terminal, escape_value};

/// How much is gathered before it is written, in bytes.
const BUFFER: usize = 64 * 1024;

/// What the results of a command look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// With `--json` one array, and with `-q` the names: `ls` and its like.
    pub(crate) list: bool,
    /// The table for eyes, the most important column first: it always stays.
    pub(crate) columns: &'static [Column],
    /// Every path that `-o` may name; `labels.*` is any path below `labels`, `*` any at all.
    pub(crate) fields: &'static [&'static str],
}

impl Shape {
    /// Of a command that prints text, and with `--json` objects one a line.
    pub(crate) const TEXT: Shape = Shape { list: false, columns: &[], fields: &[] };
}

/// One column of the table for eyes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// The path of its value in the object.
    pub(crate) path: &'static str,
    /// How the value is shown; `plain` unless a person reads it better otherwise.
    pub(crate) show: fn(&Value) -> String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Table,
    Columns(Vec<String>),
    Json,
    Names,
}

/// Standard output for the time of one command.
pub(crate) struct Output {
    sink: Box<dyn Write>,
    buffer: Vec<u8>,
    shape: Shape,
    form: Form,
    /// Whether a person looks at it, on how many columns where that is known.
    terminal: bool,
    width: Option<usize>,
    color: bool,
    /// The reader has gone, or a write has failed: nothing more is written.
    closed: bool,
    /// The rows of the table, which is laid out at the end.
    rows: Vec<Vec<String>>,
    objects: usize,
}

impl Output {
    /// Standard output in the form that the flags ask for.
    ///
    /// # Errors
    /// `Kind::Usage` for a column of `-o` or `--sort` that the results do not have.
    pub(crate) fn new(invocation: &Invocation, shape: Shape) -> Result<Output> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let size = if terminal { sys::terminal_size(&stdout) } else { None };
        let width = size.map(|(columns, _)| columns);
        let color = match invocation.value(Flag::Color) {
            Some("always") => true,
            Some("never") => false,
            // https://no-color.org: set and not empty.
            _ => {
                terminal
                    && !is_set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        let made = Output::to(Box::new(stdout), terminal, width, invocation, shape)?;
        Ok(Output { color, ..made })
    }

    fn to(
        sink: Box<dyn Write>,
        terminal: bool,
        width: Option<usize>,
        invocation: &Invocation,
        shape: Shape,
    ) -> Result<Output> {
        let chosen = invocation.list(Flag::Columns);
        let named = chosen.unwrap_or_default().iter().map(String::as_str);
        columns::check(named.chain(invocation.value(Flag::Sort)), shape.fields)?;
        let form = match chosen {
            Some(paths) => Form::Columns(paths.to_vec()),
            None if invocation.has(Flag::Json) => Form::Json,
            None if shape.list && invocation.has(Flag::Quiet) => Form::Names,
            None => Form::Table,
        };
        let (buffer, rows) = (Vec::new(), Vec::new());
        Ok(Output {
            sink,
            buffer,
            shape,
            form,
            terminal,
            width,
            color: false,
            closed: false,
            rows,
            objects: 0,
        })
    }

    /// Whether results are for a program (`--json`).
    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// Whether results are wanted as objects (`--json` or `-o`) rather than as text for eyes.
    pub(crate) fn wants_objects(&self) -> bool {
        matches!(self.form, Form::Json | Form::Columns(_))
    }

    /// Whether results are wanted as their names alone (`-q` of a list).
    pub(crate) fn wants_names(&self) -> bool {
        self.form == Form::Names
    }

    /// One result. In JSON its members stand as they are declared; a table appears at `finish`.
    ///
    /// # Errors
    /// A write to stdout that failed for any reason but a closed pipe.
    pub(crate) fn object<T: Serialize + ?Sized>(&mut self, object: &T) -> Result<()> {
        let number = self.objects;
        self.objects += 1;
        if self.form == Form::Json {
            let json = serde_json::to_string(object).map_err(unwritable)?;
            let json = if self.terminal { escape_json(&json) } else { json };
            let (before, after) = match (self.shape.list, number) {
                (false, _) => ("", "\n"),
                (true, 0) => ("[", ""),
                (true, _) => (",\n", ""),
            };
            return self.text(&format!("{before}{json}{after}"));
        }
        let value = serde_json::to_value(object).map_err(unwritable)?;
        match &self.form {
            Form::Columns(paths) => {
                let cells: Vec<String> = paths.iter().map(|path| plain(at(&value, path))).collect();
                self.text(&format!("{}\n", cells.join("\t")))
            }
            Form::Names => self.text(&format!("{}\n", plain(at(&value, "name")))),
            Form::Table | Form::Json => {
                let cell = |column: &Column| (column.show)(at(&value, column.path));
                self.rows.push(self.shape.columns.iter().map(cell).collect());
                Ok(())
            }
        }
    }

    /// Text of ours, word for word.
    ///
    /// # Errors
    /// As of `object`.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.raw(text.as_bytes())
    }

    /// What a guest or QEMU wrote: word for word into a pipe, made harmless on a terminal.
    ///
    /// # Errors
    /// As of `object`.
    pub(crate) fn guest(&mut self, bytes: &[u8]) -> Result<()> {
        match self.terminal {
            true => self.text(&escape_for_terminal(bytes)),
            false => self.raw(bytes),
        }
    }

    /// Bytes as they are, on a terminal too (`--raw`).
    ///
    /// # Errors
    /// As of `object`.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.closed {
            self.buffer.extend_from_slice(bytes);
        }
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Shows what has been gathered so far.
    ///
    /// # Errors
    /// As of `object`.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let gathered = std::mem::take(&mut self.buffer);
        if self.closed {
            return Ok(());
        }
        match self.sink.write_all(&gathered).and_then(|()| self.sink.flush()) {
            Ok(()) => Ok(()),
            Err(error) => {
                // Nothing more is written after a failure: what is lost cannot be mended.
                self.closed = true;
                if error.kind() == ErrorKind::BrokenPipe {
                    return Ok(());
                }
                Err(Error::io("write to standard output", &error).of_kind(Kind::Failed))
            }
        }
    }

    /// Whether a person looks at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal && self.form == Form::Table
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Ends the results: the table appears, the array is closed, all is written.
    ///
    /// # Errors
    /// As of `object`; a full disk may show here for the first time.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self.form {
            Form::Json if self.shape.list => {
                self.text(if self.objects == 0 { "[]\n" } else { "]\n" })?;
            }
            Form::Table if !self.rows.is_empty() || self.shape.list => {
                let titles: Vec<&str> = self.shape.columns.iter().map(|c| c.title).collect();
                let page = grid::render(&titles, &self.rows, self.width, self.color);
                self.text(&page)?;
            }
            _ => {}
        }
        self.flush()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("form", &self.form)
            .field("terminal", &self.terminal)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::failed(format!("cannot write a result as JSON: {error}"))
}

#[cfg(test)]
mod tests;
