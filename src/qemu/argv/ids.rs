//! What QEMU calls the parts of a VM, and the way back. Nothing else may know how these are made.

/// What QEMU calls the node and the device of a disk.
pub(crate) fn node_name(disk: &str) -> String {
    format!("disk-{disk}")
}

/// The disk whose node and device QEMU calls so.
pub(crate) fn disk_of(node: &str) -> Option<&str> {
    node.strip_prefix("disk-")
}

/// What QEMU calls the network of a card.
pub(crate) fn netdev_id(card: &str) -> String {
    format!("net-{card}")
}

/// The card whose network QEMU calls so.
pub(crate) fn card_of(netdev: &str) -> &str {
    netdev.strip_prefix("net-").unwrap_or(netdev)
}
