//! `keys` and `type`: what is pressed on the guest's keyboard.
//!
//! The runner presses, at the guest's pace; here stands what, and how long that may take.

use std::time::{Duration, Instant};

use super::context::Context;
use super::wait::text;
use crate::cli::output::{Output, Shape};
use crate::cli::table::Flag;
use crate::control::ask::{Patience, Question, Reply, ask_one};
use crate::definition::units::Limit;
use crate::error::{Error, Kind, Result};
use crate::wire::keyboard::{HOLD, KeysCall, TypeCall, hold_of};
use crate::wire::message::{Call, Request};

/// For the runner to prove itself.
const RUNNER_LIMIT: Duration = Duration::from_secs(3);
/// For the guest to take the keys, where --timeout says nothing: in all, and for each.
const LIMIT: Duration = Duration::from_secs(30);
const KEY_LIMIT: Duration = Duration::from_millis(200);

pub(super) fn keys(context: &Context<'_>) -> Result<u8> {
    let chords = context.invocation.operands.get(1..).unwrap_or_default().to_vec();
    let hold = match context.invocation.limit(Flag::Hold) {
        None => HOLD,
        Some(Limit::After(hold)) => hold_of(hold.as_secs_f64())?,
        Some(Limit::Never) => {
            return Err(Error::usage("a key is not held for ever").hint("--hold is at most 60s"));
        }
    };
    let limit = LIMIT + (hold + KEY_LIMIT) * u32::try_from(chords.len()).unwrap_or(u32::MAX);
    press(context, Call::Keys(KeysCall { chords, hold }), limit)
}

pub(super) fn r#type(context: &Context<'_>) -> Result<u8> {
    let text = String::from_utf8(text(context)?).map_err(|error| {
        let byte = error.as_bytes().get(error.utf8_error().valid_up_to()).copied();
        let byte = byte.unwrap_or_default();
        Error::usage(format!("a US keyboard has no key for the byte \\x{byte:02x}"))
            .hint("nothing was typed; what is typed is characters, in UTF-8")
    })?;
    let limit = LIMIT + KEY_LIMIT * u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    press(context, Call::Type(TypeCall { text }), limit)
}

fn press(context: &Context<'_>, call: Call, limit: Duration) -> Result<u8> {
    let output = Output::new(context.invocation, Shape::TEXT)?;
    let vm = context.vm()?;
    // What was pressed must not be pressed twice.
    let question = Question { id: vm.id.clone(), request: Request::from(call), repeatable: false };
    let answered = Some(context.deadline(limit));
    let patience = Patience { authenticated: Instant::now() + RUNNER_LIMIT, answered };
    let pressed = match ask_one(&context.folders, question, patience) {
        Reply::Answer(answer) => answer,
        Reply::NoRunner => Err(Error::new(Kind::NotRunning, "it is not running")
            .hint("\"maqet start\" starts it, \"maqet why\" tells how its last run ended")),
        Reply::Silent(error) => Err(error),
        Reply::Late(_) => Err(Error::timeout("its guest has not taken all keys in time")
            .hint("--timeout gives it more")),
    };
    pressed.map_err(|error| error.about("cannot type on the keyboard of", &vm.name))?;
    output.finish()?;
    Ok(0)
}
