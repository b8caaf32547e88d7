//! What the system tells about memory, where it does.

/// Bytes that can be allocated without swapping.
pub(super) fn available() -> Option<u64> {
    bytes("/proc/meminfo", "MemAvailable:")
}

/// The most bytes that this process had at once so far.
pub(super) fn peak_resident() -> Option<u64> {
    bytes("/proc/self/status", "VmHWM:")
}

/// A line of a file of the Linux kernel, which counts in units of 1,024 bytes.
fn bytes(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    let count: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(count * 1024)
}
