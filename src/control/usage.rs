//! What processes use of the host, as /proc and /sys tell it. Reading only; what cannot be read is
//! not known.

use std::time::Duration;

/// Clock ticks a second in /proc, whatever the kernel's own are (USER_HZ, proc(5)).
const TICKS: u64 = 100;

/// The time that a process has had on CPUs, all of its threads together.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    ticks(&read(&format!("/proc/{pid}/stat"))?)
        .map(|ticks| Duration::from_millis(ticks.saturating_mul(1000 / TICKS)))
}

/// What of a process is in memory, in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    kibibytes(&read(&format!("/proc/{pid}/status"))?).map(|count| count * 1024)
}

/// The tap interfaces that a process has open, each once.
pub(crate) fn taps(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let mut names: Vec<String> = texts.filter_map(|text| interface(&text)).collect();
    names.sort();
    names.dedup();
    names
}

/// What went over a tap interface, in bytes: what its guest has received and sent.
pub(crate) fn traffic(interface: &str) -> Option<(u64, u64)> {
    let count = |name: &str| {
        let text = read(&format!("/sys/class/net/{interface}/statistics/{name}"))?;
        text.trim().parse::<u64>().ok()
    };
    // What the host sends into a tap is what its guest receives.
    Some((count("tx_bytes")?, count("rx_bytes")?))
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// User and system time of `/proc/PID/stat`. The name before may hold anything but ends at the last
/// parenthesis.
pub(crate) fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    user.checked_add(system)
}

fn kibibytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The interface in `/proc/PID/fdinfo/N` of a descriptor of /dev/net/tun.
fn interface(fdinfo: &str) -> Option<String> {
    let name = fdinfo.lines().find_map(|line| line.strip_prefix("iff:"))?.trim();
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains('/');
    plain.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "7 (a) S) R 1 7 7 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 1 0 5000 1000 50";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(kibibytes("Name:\tx\nVmRSS:\t   1132 kB\nRssAnon:\t 1 kB\n"), Some(1132));
        assert_eq!(interface("pos:\t0\nflags:\t02\niff:\ttap7\n").as_deref(), Some("tap7"));
        for text in ["", "7 (x", "7 (x) R 1", "iff:\t../x\n", "iff:\t\n", "VmRSS: x kB"] {
            assert_eq!(
                (ticks(text), kibibytes(text), interface(text)),
                (None, None, None),
                "{text:?}"
            );
        }
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes > 1 << 18));
        assert!(cpu_time(std::process::id()).is_some());
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
