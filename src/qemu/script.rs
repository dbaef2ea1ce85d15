//! A command line of QEMU as a file for sh that starts the same VM without maqet.
//!
//! Pure: words in, a text out. What maqet hands to QEMU as descriptors becomes sockets that the
//! script has in a folder; the console, which is on QEMU's standard streams already, stays there.

use crate::definition::types::Disk;
use crate::qemu::argv;
use crate::qemu::firmware::Image;

/// Before the command line. `$1` is the folder of the sockets.
const HEAD: &str = "\
# The console is on this terminal. QMP and the guest agent listen on qmp and
# agent in FOLDER: a new one unless it is given.
#   usage: sh THIS [FOLDER]
set -eu
umask 077
sockets=${1:-$(mktemp -d)}
sockets=$(cd -- \"$sockets\" && pwd)
case $sockets in
*,*) echo \"a folder for sockets cannot have a comma: $sockets\" >&2; exit 2 ;;
esac
echo \"QMP is on $sockets/qmp\" >&2
";

/// The words of sockets that QEMU gets as descriptors, by the id of the character device.
const SOCKETS: [&str; 2] = ["qmp", "agent"];

/// The script that runs `argv` as the VM `name` in `folder`, the VM's own, where it is there.
/// `missing` are disks that maqet would make at the start, each with where it lies, and so are
/// `variables`, with what they are made of.
pub(crate) fn script(
    name: &str,
    argv: &[String],
    folder: &str,
    missing: &[(&Disk, String)],
    variables: Option<(&Image, &str)>,
) -> String {
    let mut script =
        format!("#!/bin/sh\n# Starts the QEMU of the VM {name} without maqet.\n{HEAD}");
    for (disk, path) in missing {
        script.push_str(&create(disk, path));
    }
    if let Some((template, path)) = variables {
        let (from, at) = (quoted(&template.path.to_string_lossy()), quoted(path));
        let convert = format!("qemu-img convert -f {} -O qcow2", template.format.as_str());
        let make = format!("mkdir -p \"$(dirname {at})\"; {convert} {from} {at}");
        script.push_str(&format!("[ -e {at} ] || {{ {make}; }}\n"));
    }
    let folder = quoted(folder);
    script.push_str(&format!("[ ! -d {folder} ] || cd {folder}\nexec"));
    let mut held = false;
    for (place, word) in argv.iter().enumerate() {
        // maqet's own -S, with which its QEMU waits for the monitor; one of `args` stays.
        if word == "-S" && !held {
            held = true;
            continue;
        }
        let is_chardev = place > 0 && argv[place - 1] == "-chardev";
        let socket = SOCKETS.iter().find(|id| is_chardev && argv::descriptor(word, id).is_some());
        let word = match socket {
            Some(id) => format!("\"socket,id={id},path=$sockets/{id},server=on,wait=off\""),
            None => quoted(word),
        };
        // An option begins a line; what belongs to it stands behind it.
        let gap = if word.starts_with('-') { " \\\n  " } else { " " };
        script.push_str(gap);
        script.push_str(&word);
    }
    script.push('\n');
    script
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Makes an image as a start would; what is a copy of another image is left to the reader.
fn create(disk: &Disk, path: &str) -> String {
    let at = quoted(path);
    if let Some(from) = &disk.from {
        let from = quoted(&from.to_string_lossy());
        let format = disk.format.as_str();
        return format!("[ -e {at} ] || qemu-img convert -O {format} {from} {at}\n");
    }
    let mut words = vec!["qemu-img", "create", "-q", "-f", disk.format.as_str()]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    if let Some(backing) = &disk.backing {
        let file = quoted(&backing.file.to_string_lossy());
        words.extend(["-b".into(), file, "-F".into(), backing.format.as_str().into()]);
    }
    words.push(at.clone());
    words.extend(disk.size.map(|size| size.to_string()));
    format!("[ -e {at} ] || {{ mkdir -p \"$(dirname {at})\"; {}; }}\n", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_is_quoted() {
        for word in ["", "a b", "it's", "$HOME", "a\nb", "é", "-x=1,2", "{\"a\":1}"] {
            let script = format!("printf %s {}", quoted(word));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn descriptors_become_sockets_and_only_the_first_s_goes() {
        let argv =
            ["echo", "-S", "-chardev", "socket,id=qmp,fd=3", "-S", "socket,id=qmp,fd=3", "$x"];
        let text = script("web", &argv.map(str::to_owned), "/nowhere", &[], None);
        let folder = crate::testing::Folder::new();
        let mut command = std::process::Command::new("sh");
        let output = command.args(["-c", &text, "sh"]).arg(folder.path()).output().unwrap();
        let path = folder.path().canonicalize().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!(
                "-chardev socket,id=qmp,path={}/qmp,server=on,wait=off -S socket,id=qmp,fd=3 $x\n",
                path.display()
            )
        );
    }
}
