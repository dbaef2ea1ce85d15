//! What to do about QEMU's commonest complaints. The words are QEMU's own, as version 7.2 writes them.

/// QEMU's words and the advice that goes with them, the more telling first.
const ADVICE: &[(&str, &str)] = &[
    ("Failed to get \"write\" lock", "another QEMU, or a qemu-img, has this image open"),
    ("Failed to get shared \"write\" lock", "another QEMU, or a qemu-img, has this image open"),
    ("Could not access KVM", "use --accel tcg, or get permission to open /dev/kvm"),
    ("failed to initialize kvm", "use --accel tcg, or get permission to open /dev/kvm"),
    ("Could not set up host forwarding rule", "that port of the host is taken; choose another"),
    ("Address already in use", "that address is taken; choose another"),
    ("could not open kernel file", "check the path of --kernel"),
    (
        "could not load kernel",
        "check the path of --kernel, and that it is a kernel for this machine",
    ),
    ("could not load initrd", "check the path of --initrd"),
    ("unsupported machine type", "QEMU lists the machines that it knows with \"-machine help\""),
    ("unable to find CPU model", "QEMU lists the models that it knows with \"-cpu help\""),
    (
        "is not a valid device model name",
        "QEMU lists the devices that it knows with \"-device help\"",
    ),
    (
        "cannot use stdio by multiple",
        "the serial console is on QEMU's standard input and output; give the other a socket",
    ),
    ("cannot initialize fsdev", "check the path of the shared folder: it must be there"),
    ("invalid option", "check args against the manual of this QEMU"),
    ("cannot set up guest memory", "this host cannot give the guest so much memory"),
    ("Cannot allocate memory", "this host cannot give the guest so much memory"),
];

/// Advice on what QEMU wrote to its standard error, where there is any.
pub(crate) fn for_words(stderr: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(words, _)| stderr.contains(words)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_complaints_are_advised_on_and_others_are_not() {
        let locked = "qemu-system-x86_64: -blockdev …: Failed to get \"write\" lock\nIs another …";
        assert!(for_words(locked).unwrap().contains("image open"));
        assert_eq!(for_words("qemu-system-x86_64: it is a bad day"), None);
    }
}
