//! `events`: what happened with VMs, and with `-f` what goes on to happen.
//!
//! The runner of a VM that runs tells it; of one that does not, the file that its runner left.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::context::{Context, Vm};
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::control::fleet::{Fleet, News, Order};
use crate::control::life;
use crate::definition::units::Limit;
use crate::error::{Error, Kind, Result, quote};
use crate::sys::{self, Interest};
use crate::time::Timestamp;
use crate::wire::events::{Event, EventsCall};
use crate::wire::message::{Call, Request};
use crate::wire::stream::{Frame, Said};

/// For a runner to begin to tell.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// For as long as anybody will follow.
const FOR_EVER: Duration = Duration::from_secs(100 * 366 * 86_400);

const SHAPE: Shape = Shape {
    list: false,
    columns: &[],
    fields: &["name", "run", "seq", "at", "monotonic", "event", "data", "data.*", "lost"],
};

/// One line of the results.
#[derive(Debug, Serialize)]
struct Told<'a> {
    name: &'a str,
    #[serde(flatten)]
    event: Event,
    /// How many before it were lost.
    #[serde(skip_serializing_if = "is_zero")]
    lost: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(lost: &u64) -> bool {
    *lost == 0
}

/// The command at work.
struct Watch<'a> {
    context: &'a Context<'a>,
    vms: Vec<Vm>,
    call: EventsCall,
    output: Output,
    /// Without -f: what has been gathered, to be put into one order.
    gathered: Vec<(usize, Event, u64)>,
    codes: Vec<u8>,
}

pub(super) fn events(context: &Context<'_>) -> Result<u8> {
    let invocation = context.invocation;
    let output = Output::new(invocation, SHAPE)?;
    let since = invocation.value(Flag::Since).map(|word| since(word, Timestamp::now()));
    let call = EventsCall { follow: invocation.has(Flag::Follow), since: since.transpose()? };
    let vms = if context.selects_vms() { context.vms()? } else { context.every_vm()? };
    let (gathered, codes) = (Vec::new(), Vec::new());
    let watch = Watch { context, vms, call, output, gathered, codes };
    watch.run()
}

impl Watch<'_> {
    fn run(mut self) -> Result<u8> {
        let context = self.context;
        let mut fleet = Fleet::new(&context.folders);
        for vm in &self.vms {
            let number = fleet.join(&vm.id);
            let id = Some(json!(1));
            let line = Request { id: id.clone(), call: Call::Events(self.call) }.to_line();
            let deadline = std::time::Instant::now() + ANSWER_LIMIT;
            fleet.ask(number, Order { line, id, deadline, bounds_stream: false });
        }
        let deadline = context.deadline(if self.call.follow { FOR_EVER } else { ANSWER_LIMIT });
        loop {
            while let Some((number, news)) = fleet.next_news() {
                self.take(number, news)?;
            }
            self.output.flush()?;
            if fleet.is_idle() || self.output.is_closed() {
                break;
            }
            if std::time::Instant::now() >= deadline {
                self.codes.push(Kind::Timeout.exit_code());
                break;
            }
            let stdout = [(sys::standard_output(), Interest::Nothing)];
            if fleet.wait(&stdout, Some(deadline), true)? == [true] {
                // Nobody reads any more.
                return Ok(0);
            }
        }
        self.gathered.sort_by_key(|(_, event, _)| event.at);
        for (number, event, lost) in std::mem::take(&mut self.gathered) {
            self.print(number, event, lost)?;
        }
        context.finish(self.output, self.codes)
    }

    fn take(&mut self, number: usize, news: News) -> Result<()> {
        let error = match news {
            News::Said(_, line) => match Said::parse(&line)?.frame {
                Frame::Event { event, lost } => return self.tell(number, event, lost),
                Frame::Answer(Err(error)) => error,
                _ => return Ok(()),
            },
            News::Refused(_, error) => error,
        };
        if error.kind == Kind::NotRunning {
            return self.tell_what_is_left(number);
        }
        let code = self.context.tell("cannot tell the events of", &self.vms[number], error);
        self.codes.push(code);
        Ok(())
    }

    /// Of a VM that does not run: what its runner left.
    fn tell_what_is_left(&mut self, number: usize) -> Result<()> {
        let events = life::events(&self.context.folders.vm(&self.vms[number].id));
        for event in events {
            if self.call.since.is_none_or(|since| event.at >= since) {
                self.one(number, event, 0)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, number: usize, event: Value, lost: u64) -> Result<()> {
        match serde_json::from_value(event) {
            Ok(event) => self.one(number, event, lost),
            Err(error) => Err(Error::failed(format!("cannot read what its runner says: {error}"))),
        }
    }

    fn one(&mut self, number: usize, event: Event, lost: u64) -> Result<()> {
        if self.call.follow {
            return self.print(number, event, lost);
        }
        self.gathered.push((number, event, lost));
        Ok(())
    }

    fn print(&mut self, number: usize, event: Event, lost: u64) -> Result<()> {
        let told = Told { name: &self.vms[number].name, event, lost };
        if self.output.wants_objects() {
            return self.output.object(&told);
        }
        let line = serde_json::to_string(&told)
            .map_err(|error| Error::failed(format!("cannot write an event: {error}")))?;
        self.output.guest(line.as_bytes())?;
        self.output.text("\n")
    }
}

/// A time in the past: `10m ago`, or as RFC 3339 writes it.
fn since(word: &str, now: Timestamp) -> Result<Timestamp> {
    if let Some(ago) = word.strip_suffix("ago") {
        let ago = Limit::parse(ago.trim())?.duration().unwrap_or_default();
        return Ok(now.before(ago));
    }
    Timestamp::parse_anywhere(word).ok_or_else(|| {
        Error::usage(format!("{} is not a time", quote(word)))
            .hint("a time is 10m ago, or RFC 3339: 2026-01-31T12:34:56Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_so_long_ago_or_rfc_3339() {
        let now = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        for (word, expected) in [
            ("10m ago", "2026-01-31T11:50:00Z"),
            ("90s ago", "2026-01-31T11:58:30Z"),
            ("1dago", "2026-01-30T12:00:00Z"),
            ("2026-01-31T12:34:56.5Z", "2026-01-31T12:34:56.5Z"),
            ("2026-01-31T12:34:56+01:00", "2026-01-31T11:34:56Z"),
            ("2026-01-31T12:34:56-00:30", "2026-01-31T13:04:56Z"),
        ] {
            assert_eq!(since(word, now).unwrap(), Timestamp::parse(expected).unwrap(), "{word}");
        }
        for word in ["", "ago", "10m", "yesterday", "2026-01-31", "2026-01-31T12:34:56+1"] {
            assert_eq!(since(word, now).unwrap_err().kind, Kind::Usage, "{word}");
        }
    }
}
