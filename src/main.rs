//! maqet: QEMU virtual machines from the command line, without a daemon.
//!
//! The same binary is the command, the runner of one VM, and the step in which QEMU begins. Only
//! here does the process end, and only here is the error printed that ends it.

mod backoff;
mod base64;
mod cli;
mod commands;
mod control;
mod copy;
mod definition;
mod error;
mod interrupt;
mod lock;
mod outlet;
mod paths;
mod private;
mod qemu;
mod runner;
mod store;
mod sys;
mod tar;
mod terminal;
#[cfg(test)]
mod testing;
mod time;
mod weight;
mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match words.first().and_then(|word| word.to_str()) {
        Some(wire::handoff::RUNNER) => runner_main(words),
        Some(runner::launch::WORD) => refused(&runner::launch::step(words.into_iter().skip(1))),
        Some(qemu::img::WORD) => refused(&qemu::img::step(words.into_iter().skip(1))),
        _ => command_main(words),
    }
}

/// A step that could not become another program.
fn refused(error: &error::Error) -> ExitCode {
    cli::report::report(error, false);
    // What a shell says of a command that it could not run.
    ExitCode::from(126)
}

/// The error has been told to the command that started the runner, and written down.
fn runner_main(words: Vec<OsString>) -> ExitCode {
    match runner::main(words.into_iter().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.kind.exit_code()),
    }
}

fn command_main(words: Vec<OsString>) -> ExitCode {
    let json = cli::wants_json(&words);
    let outcome = cli::parse(words).and_then(|invocation| {
        // A VM in the foreground has a log of its own.
        if invocation.verb != cli::table::Verb::Run {
            begin_log(invocation.times(cli::table::Flag::Verbose));
        }
        commands::run(&invocation)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            cli::report::report(&error, json);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// What is done is told on standard error with `-v`, every step of it with `-vv`.
fn begin_log(verbosity: usize) {
    let level = match verbosity {
        0 => return,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    let format = |out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>| {
        use std::io::Write;
        writeln!(out, "maqet: {}", record.args())
    };
    let _ = env_logger::Builder::new().filter_level(level).format(format).try_init();
}
