//! `cmdline`: QEMU's command line, the one that runs or the one that would.

use super::context::{Context, Vm};
use crate::cli::output::{Output, Shape};
use crate::control::life::{self, Life};
use crate::definition::name::{VmId, VmName};
use crate::error::{Error, Result};
use crate::qemu::{argv, program};
use crate::sys;

pub(super) fn cmdline(context: &Context<'_>) -> Result<u8> {
    let mut output = Output::new(context.invocation, Shape::TEXT)?;
    let vm = context.vm()?;
    let life = life::look_at(&context.folders, &vm.id, &vm.name)?;
    let words = match running(&life)? {
        Some(words) => words,
        None => {
            would_be(context, &vm).map_err(|error| error.about("no command line of", &vm.name))?
        }
    };
    if output.is_json() {
        output.object(&words)?;
    } else {
        let line: Vec<String> = words.iter().map(|word| shell_quoted(word)).collect();
        output.text(&format!("{}\n", line.join(" ")))?;
    }
    output.finish()?;
    Ok(0)
}

/// The command line of the QEMU that runs, word for word.
fn running(life: &Life) -> Result<Option<Vec<String>>> {
    let Some(pid) = life.qemu_pid.filter(|_| life.responding == Some(true)) else {
        return Ok(None);
    };
    let path = format!("/proc/{pid}/cmdline");
    let bytes =
        std::fs::read(&path).map_err(|error| Error::io(format_args!("read {path}"), &error))?;
    let text = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    let words = text.split(|byte| *byte == 0);
    Ok(Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()))
}

/// What a start would run; only the numbers of the descriptors are the start's to choose.
fn would_be(context: &Context<'_>, vm: &Vm) -> Result<Vec<String>> {
    let definition = context.definition(vm)?;
    let (id, name) = (VmId::parse(&vm.id)?, VmName::parse(&vm.name)?);
    let folder = context.folders.vm(&vm.id);
    let imagined = argv::Host::unseen(&definition);
    let binary = program::find(imagined.binary.as_os_str())?;
    let host = argv::Host { binary, kvm: sys::kvm_opens(), ..imagined };
    let target = argv::Vm { id: &id, name: &name, definition: &definition, folder: folder.path() };
    argv::build(&target, &host, &argv::Wires::NOMINAL)
}

/// A word as a shell reads it back.
fn shell_quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_is_quoted() {
        for word in ["", "a b", "it's", "$HOME", "a\nb", "é", "-x=1,2", "{\"a\":1}"] {
            let script = format!("printf %s {}", shell_quoted(word));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
