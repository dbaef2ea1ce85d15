//! The QMP commands that reach beyond the VM: they run a program of the host, open a file that their
//! arguments name, or listen where they say. A runner gives them to QEMU only where it is told that
//! this is meant.
//!
//! It is a fence against accidents, and the place for one against less trusted clients: who controls
//! a VM can reach all of this otherwise too. Commands whose arguments name what QEMU has already,
//! such as a node, a device or a path of QOM's, are not among them.

use serde_json::{Map, Value};

/// Commands that reach the host in one way.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) commands: &'static [&'static str],
    /// The argument by which they do; `None`: in any case.
    pub(crate) argument: Option<&'static str>,
    /// What they can do, as the end of a sentence.
    pub(crate) why: &'static str,
}

/// All of them, those of newer QEMUs than 7.2 too.
pub(crate) const REACHES: &[Reach] = &[
    Reach {
        commands: &["human-monitor-command"],
        argument: None,
        why: "it gives QEMU's other monitor, in which all of the others can be said",
    },
    Reach {
        commands: &["migrate", "migrate-incoming", "migrate-recover"],
        argument: None,
        why: "it runs a program (exec:), writes or reads files, and connects to other hosts",
    },
    Reach {
        commands: &["migrate-set-parameters"],
        argument: Some("cpr-exec-command"),
        why: "it names a program that QEMU becomes",
    },
    Reach {
        commands: &[
            "blockdev-add",
            "blockdev-reopen",
            "blockdev-create",
            "blockdev-change-medium",
            "blockdev-snapshot-sync",
            "drive-backup",
            "drive-mirror",
        ],
        argument: None,
        why: "it opens, makes or writes any file as an image",
    },
    Reach {
        commands: &["change-backing-file"],
        argument: None,
        why: "it writes into an image the name of a file that is opened with it from then on",
    },
    Reach {
        commands: &["block-commit", "block-stream"],
        argument: Some("backing-file"),
        why: "it writes into an image the name of a file that is opened with it from then on",
    },
    Reach {
        commands: &["nbd-server-start", "block-export-add"],
        argument: None,
        why: "it gives disks to others, on a socket or a mount point anywhere",
    },
    Reach {
        commands: &["chardev-add", "chardev-change"],
        argument: None,
        why: "it opens files, devices and sockets of the host",
    },
    Reach {
        commands: &["netdev_add"],
        argument: None,
        why: "it runs scripts and helpers, and opens devices and sockets of the host",
    },
    Reach {
        commands: &["object-add"],
        argument: None,
        why: "it reads and writes files: memory, secrets, random numbers, the network's packets",
    },
    Reach {
        commands: &["device_add"],
        argument: None,
        why: "it takes any property of a device: files (romfile), folders and devices of the host",
    },
    Reach {
        commands: &["qom-set"],
        argument: None,
        why: "it sets any property of any object, names of files among them",
    },
    Reach {
        commands: &["display-update"],
        argument: None,
        why: "it shows the screen on sockets anywhere",
    },
    Reach {
        commands: &[
            "dump-guest-memory",
            "dump-skeys",
            "dumpdtb",
            "memsave",
            "pmemsave",
            "screendump",
            "xen-save-devices-state",
        ],
        argument: None,
        why: "it writes over any file",
    },
    Reach { commands: &["xen-load-devices-state"], argument: None, why: "it reads any file" },
    Reach {
        commands: &["add-fd", "getfd", "add_client"],
        argument: None,
        why: "it hands QEMU an open file or connection",
    },
];

/// How a command reaches the host; `None` for one that does not.
pub(crate) fn reach(command: &str, arguments: &Map<String, Value>) -> Option<&'static str> {
    if command == "transaction" {
        let actions = arguments.get("actions").and_then(Value::as_array);
        let of_action = |action: &Value| {
            let data = action["data"].as_object().cloned().unwrap_or_default();
            action["type"].as_str().and_then(|command| listed(command, &data))
        };
        return actions.into_iter().flatten().find_map(of_action);
    }
    listed(command, arguments)
}

fn listed(command: &str, arguments: &Map<String, Value>) -> Option<&'static str> {
    let reaches = |reach: &&Reach| {
        let does_so = reach.argument.is_none_or(|argument| arguments.contains_key(argument));
        does_so && reach.commands.contains(&command)
    };
    REACHES.iter().find(reaches).map(|reach| reach.why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_reaches_the_host_is_told_from_what_does_not() {
        let with = |command: &str, arguments: Value| {
            reach(command, arguments.as_object().unwrap()).is_some()
        };
        for (command, arguments, reaches) in [
            ("migrate", json!({"uri": "exec:rm x"}), true),
            ("human-monitor-command", json!({}), true),
            ("query-status", json!({}), false),
            ("blockdev-del", json!({"node-name": "x"}), false),
            ("block-commit", json!({"device": "x"}), false),
            ("block-commit", json!({"device": "x", "backing-file": "/etc/passwd"}), true),
            ("transaction", json!({"actions": [{"type": "abort", "data": {}}]}), false),
            (
                "transaction",
                json!({"actions": [
                    {"type": "abort", "data": {}},
                    {"type": "drive-backup", "data": {"device": "x", "target": "/x"}},
                ]}),
                true,
            ),
            ("transaction", json!({"actions": 5}), false),
        ] {
            assert_eq!(with(command, arguments.clone()), reaches, "{command} {arguments}");
        }
    }

    #[test]
    fn the_manual_has_each_of_them_and_the_reason() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/maqet.1"));
        let page = page.unwrap();
        let section = page.split(".Sh QMP AND THE HOST\n").nth(1).unwrap();
        let section = section.split("\n.Sh ").next().unwrap();
        let mut expected = String::new();
        for Reach { commands, argument, why } in REACHES {
            let with = argument.map_or(String::new(), |argument| format!(" with {argument}"));
            expected.push_str(&format!(".It {}{with}\n{why}\n", commands.join(" , ")));
        }
        let list: String = section
            .lines()
            .skip_while(|line| !line.starts_with(".It "))
            .take_while(|line| *line != ".It transaction")
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(list, expected);
    }
}
