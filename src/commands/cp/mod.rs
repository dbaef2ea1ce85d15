//! `cp`: a file goes into a guest or comes out of it, through its agent.
//!
//! On either side it is written under another name and gets its own when it is whole.

mod from_guest;
mod into_guest;

use std::time::Duration;

use super::context::{Context, Vm};
use crate::cli::progress::Progress;
use crate::control::agent::Agent;
use crate::definition::name::VmRef;
use crate::error::{Error, Result, quote};
use crate::interrupt::Interrupt;

/// However large a file is, it does not take longer where --timeout says nothing.
const LIMIT: Duration = Duration::from_secs(7 * 86_400);
/// For the guest to take away what is half made.
const CLEAN_LIMIT: Duration = Duration::from_secs(5);

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Guest {
        vm: &'a str,
        path: &'a str,
    },
    /// A file of this host; `-` is standard input or output.
    Host(&'a str),
}

pub(super) fn cp(context: &Context<'_>) -> Result<u8> {
    let side = |place: usize| {
        context.invocation.operands.get(place).map_or(Side::Host(""), |word| Side::parse(word))
    };
    match (side(0), side(1)) {
        (Side::Guest { vm, path }, Side::Host(file)) => {
            let (vm, interrupt) = prepared(context, vm)?;
            let about = |error: Error| error.about("cannot copy from", &vm.name);
            let mut agent = opened(context, &vm, &interrupt).map_err(about)?;
            let what = format!("copying {}:{path}", vm.name);
            let progress = |total| Progress::new(context.invocation.quiet(), what, total);
            from_guest::copy(&mut agent, path, file, &interrupt, progress).map_err(about)?;
        }
        (Side::Host(file), Side::Guest { vm, path }) => {
            let (vm, interrupt) = prepared(context, vm)?;
            let about = |error: Error| error.about("cannot copy to", &vm.name);
            let mut agent = opened(context, &vm, &interrupt).map_err(about)?;
            let what = format!("copying {file}");
            let progress = |total| Progress::new(context.invocation.quiet(), what, total);
            into_guest::copy(&mut agent, file, path, progress).map_err(about)?;
        }
        (Side::Guest { .. }, Side::Guest { .. }) => {
            return Err(Error::usage("one of the two files is of this host")
                .hint("copy it here first; a name with a colon is written ./a:b"));
        }
        (Side::Host(one), Side::Host(_)) => {
            return Err(Error::usage(format!("{} is in no guest", quote(one)))
                .hint("a guest's file is written VM:PATH"));
        }
    }
    Ok(0)
}

fn prepared(context: &Context<'_>, vm: &str) -> Result<(Vm, Interrupt)> {
    let none = || Error::usage("no VM is named");
    let vm = context.vms_named(&[vm.to_owned()])?.pop().ok_or_else(none)?;
    Ok((vm, Interrupt::heed()?))
}

fn opened<'a>(context: &Context<'_>, vm: &Vm, interrupt: &'a Interrupt) -> Result<Agent<'a>> {
    Agent::open(&context.folders, &vm.id, interrupt, context.deadline(LIMIT))
}

impl Side<'_> {
    fn parse(word: &str) -> Side<'_> {
        match word.split_once(':') {
            Some((vm, path)) if !path.is_empty() && VmRef::parse(vm).is_ok() => {
                Side::Guest { vm, path }
            }
            _ => Side::Host(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_file_is_told_from_one_of_this_host() {
        for (word, vm, path) in [
            ("web:/etc/fstab", "web", "/etc/fstab"),
            ("web:a b:c", "web", "a b:c"),
            ("w.b:C:\\x", "w.b", "C:\\x"),
        ] {
            assert_eq!(Side::parse(word), Side::Guest { vm, path });
        }
        for word in ["-", "x", "./a:b", "/a:b", "a/b:c", "web:", ":x", "-x:y", ""] {
            assert_eq!(Side::parse(word), Side::Host(word));
        }
    }
}
