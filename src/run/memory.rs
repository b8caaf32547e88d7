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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_in_units_of_1024_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meminfo");
        let text = "MemTotal:       98 kB\nMemAvailable:   12345678 kB\nMemFree: some kB\n";
        std::fs::write(&path, text).unwrap();
        let file = path.display().to_string();
        assert_eq!(bytes(&file, "MemAvailable:"), Some(12_345_678 * 1024));
        // What is not there, or no number, is not known: never zero bytes.
        for key in ["MemFree:", "VmHWM:"] {
            assert_eq!(bytes(&file, key), None, "{key}");
        }
        assert_eq!(bytes("/no/such/file", "MemAvailable:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_holds_what_was_touched() {
        let touched = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(peak_resident().unwrap() >= touched.len() as u64);
        assert!(available().unwrap() > 0);
    }
}
