//! What each command does: one file a subject, one function a command.
//!
//! A command reads its invocation, asks the parts below, and gives its results to `Output`. It knows
//! no SQL, no wire and no argv of QEMU; the parts below know nothing of it.

mod add;
mod apply;
mod batch;
mod button;
mod candidates;
mod check;
mod clone;
mod cmdline;
mod console;
mod context;
mod cp;
mod db;
mod device;
mod difference;
mod disk;
mod doctor;
mod edit;
mod ephemeral;
mod events;
mod exec;
mod export;
mod foreground;
mod hotplug;
mod import;
mod info;
mod info_guest;
mod keyboard;
mod living;
mod logs;
mod look;
mod monitor;
mod newcomer;
mod noted;
mod outlet;
mod own_disks;
mod port;
mod power;
mod pump;
mod qmp;
mod qmp_lines;
mod rehearsal;
mod rm;
mod run;
mod screen;
pub(crate) mod settings;
mod show;
mod sink;
mod snapshot;
mod sources;
mod start;
mod stats;
mod stopped;
mod target;
mod unpack;
mod vm;
mod wait;
mod why;

use context::Context;

use crate::cli::report::note;
use crate::cli::table::Verb;
use crate::cli::{Invocation, completion, output::Output, output::Shape, text};
use crate::definition::schema;
use crate::error::Result;

/// Does what the command line asks for, and gives the exit code.
///
/// # Errors
/// What went wrong for the command as a whole; what went wrong for one VM of several has been told
/// by then, and is in the exit code.
pub(crate) fn run(invocation: &Invocation) -> Result<u8> {
    match invocation.verb {
        Verb::Help => {
            let subject = invocation.operands.join(" ");
            print(invocation, &text::help(Some(&*subject).filter(|word| !word.is_empty()))?)
        }
        Verb::Version => print(invocation, text::VERSION),
        Verb::Cleanup => {
            let text = "there is nothing to clean up; \"maqet doctor\" tells what belongs to no VM";
            note(invocation.quiet(), text);
            Ok(0)
        }
        Verb::Words => {
            eprint!("{}", text::words());
            Ok(2)
        }
        Verb::Generate => {
            let word = invocation.operands.first().map_or("", String::as_str);
            match word {
                "schema" => print(invocation, &schema::text()),
                shell => print(invocation, &completion::script(completion::Shell::named(shell)?)),
            }
        }
        Verb::Add => add::add(&Context::new(invocation)?),
        Verb::Apply => apply::apply(&Context::new(invocation)?),
        Verb::Check => check::check(&Context::new(invocation)?),
        Verb::Show => show::show(&Context::new(invocation)?),
        Verb::Edit => edit::edit(&Context::new(invocation)?),
        Verb::Rename => show::rename(&Context::new(invocation)?),
        Verb::Rm => rm::rm(&Context::new(invocation)?),
        Verb::Clone => clone::clone(&Context::new(invocation)?),
        Verb::Export => export::export(&Context::new(invocation)?),
        Verb::Import => import::import(&Context::new(invocation)?),
        Verb::Start => start::start(&Context::new(invocation)?),
        Verb::Stop => power::stop(&Context::new(invocation)?),
        Verb::Restart => power::restart(&Context::new(invocation)?),
        Verb::Reset => button::reset(&Context::new(invocation)?),
        Verb::Pause => button::pause(&Context::new(invocation)?),
        Verb::Resume => button::resume(&Context::new(invocation)?),
        Verb::Run => run::run(&Context::new(invocation)?),
        Verb::Ls => look::ls(&Context::new(invocation)?),
        Verb::Status => look::status(&Context::new(invocation)?),
        Verb::Info => info::info(&Context::new(invocation)?),
        Verb::Why => why::why(&Context::new(invocation)?),
        Verb::Events => events::events(&Context::new(invocation)?),
        Verb::Stats => stats::stats(&Context::new(invocation)?),
        Verb::Logs => logs::logs(&Context::new(invocation)?),
        Verb::DiskLs => disk::ls(&Context::new(invocation)?),
        Verb::DiskAdd => disk::add(&Context::new(invocation)?),
        Verb::DiskRm => disk::rm(&Context::new(invocation)?),
        Verb::DiskResize => disk::resize(&Context::new(invocation)?),
        Verb::DeviceLs => device::ls(&Context::new(invocation)?),
        Verb::DeviceAdd => device::add(&Context::new(invocation)?),
        Verb::DeviceRm => device::rm(&Context::new(invocation)?),
        Verb::PortLs => port::ls(&Context::new(invocation)?),
        Verb::PortAdd => port::add(&Context::new(invocation)?),
        Verb::PortRm => port::rm(&Context::new(invocation)?),
        Verb::Wait => wait::wait(&Context::new(invocation)?),
        Verb::Console => console::console(&Context::new(invocation)?),
        Verb::Send => wait::send(&Context::new(invocation)?),
        Verb::Cp => cp::cp(&Context::new(invocation)?),
        Verb::Exec => exec::exec(&Context::new(invocation)?),
        Verb::Type => keyboard::r#type(&Context::new(invocation)?),
        Verb::Keys => keyboard::keys(&Context::new(invocation)?),
        Verb::Screen => screen::screen(&Context::new(invocation)?),
        Verb::Qmp => qmp::qmp(&Context::new(invocation)?),
        Verb::SnapshotLs => snapshot::ls(&Context::new(invocation)?),
        Verb::SnapshotCreate => snapshot::create(&Context::new(invocation)?),
        Verb::SnapshotLoad => snapshot::load(&Context::new(invocation)?),
        Verb::SnapshotRm => snapshot::rm(&Context::new(invocation)?),
        Verb::Cmdline => cmdline::cmdline(&Context::new(invocation)?),
        Verb::Batch => batch::batch(&Context::new(invocation)?),
        Verb::DbBackup => db::backup(&Context::new(invocation)?),
        Verb::DbRestore => db::restore(&Context::new(invocation)?),
        Verb::Doctor => doctor::doctor(&Context::new(invocation)?),
    }
}

fn print(invocation: &Invocation, text: &str) -> Result<u8> {
    let mut output = Output::new(invocation, Shape::TEXT)?;
    output.text(text)?;
    output.finish()?;
    Ok(0)
}
