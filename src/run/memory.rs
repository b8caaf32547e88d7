//! What the system tells about memory, where it does.
//!
//! A process may have less than the machine: a control group (what containers and batch systems set)
//! or `ulimit -v` bound it, and the kernel ends whoever takes more.

use std::fmt;
use std::path::{Path, PathBuf};

/// Bytes that can be allocated, and what bounds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    pub bytes: u64,
    pub bound: Bound,
}

/// What bounds the memory of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// What other programs leave of the machine's memory.
    Machine,
    /// A control group, whose limit this file holds.
    Group(PathBuf),
    /// The address space that the shell allows.
    AddressSpace,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Machine => Ok(()),
            Bound::Group(file) => write!(f, " within the limit in {}", file.display()),
            Bound::AddressSpace => f.write_str(" within `ulimit -v`"),
        }
    }
}

/// What can be allocated without swapping or being ended; `None` where the system does not say.
pub(super) fn room() -> Option<Room> {
    System::here().room()
}

/// Bytes of [`room`].
pub(super) fn available() -> Option<u64> {
    room().map(|room| room.bytes)
}

/// Bytes of memory that the machine has.
pub(super) fn total() -> Option<u64> {
    System::here().kib("meminfo", "MemTotal:")
}

/// The most bytes that this process had at once so far.
pub(super) fn peak_resident() -> Option<u64> {
    System::here().kib("self/status", "VmHWM:")
}

/// Forgets it: [`peak_resident`] is of what follows, where the system can do that.
pub(super) fn reset_peak() {
    // A kernel that does not know it leaves the peak as it was.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Where the Linux kernel tells of itself.
struct System {
    proc: PathBuf,
    groups: PathBuf,
}

impl System {
    fn here() -> Self {
        System {
            proc: "/proc".into(),
            groups: "/sys/fs/cgroup".into(),
        }
    }

    /// The least of all bounds that the system tells.
    fn room(&self) -> Option<Room> {
        let machine = self.kib("meminfo", "MemAvailable:").map(|bytes| Room {
            bytes,
            bound: Bound::Machine,
        });
        let bounds = machine.into_iter().chain(self.address_space());
        bounds.chain(self.in_groups()).min_by_key(|room| room.bytes)
    }

    /// A line of a file of the kernel, which counts in units of 1,024 bytes.
    fn kib(&self, file: &str, key: &str) -> Option<u64> {
        let text = std::fs::read_to_string(self.proc.join(file)).ok()?;
        Some(first_number(&text, key)? * 1024)
    }

    /// What is left of `ulimit -v`; mapped files count in.
    fn address_space(&self) -> Option<Room> {
        let limits = std::fs::read_to_string(self.proc.join("self/limits")).ok()?;
        let most = first_number(&limits, "Max address space")?;
        let used = self.kib("self/status", "VmSize:")?;
        Some(Room {
            bytes: most.saturating_sub(used),
            bound: Bound::AddressSpace,
        })
    }

    /// What is left in every control group that this process is in, of both versions.
    fn in_groups(&self) -> Vec<Room> {
        let text = std::fs::read_to_string(self.proc.join("self/cgroup")).unwrap_or_default();
        let mut found = Vec::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let (root, [limit, usage, cache]) = match controllers {
                "" => (
                    self.groups.clone(),
                    ["memory.max", "memory.current", "inactive_file "],
                ),
                list if list.split(',').any(|name| name == "memory") => (
                    self.groups.join("memory"),
                    [
                        "memory.limit_in_bytes",
                        "memory.usage_in_bytes",
                        "total_inactive_file ",
                    ],
                ),
                _ => continue,
            };
            // In a container the path may be the host's: what is not there is passed over.
            for group in Path::new(path.trim_start_matches('/')).ancestors() {
                let folder = root.join(group);
                let number = |file: &str| -> Option<u64> {
                    let text = std::fs::read_to_string(folder.join(file)).ok()?;
                    text.trim().parse().ok()
                };
                // The word `max` is no limit.
                let (Some(most), Some(used)) = (number(limit), number(usage)) else {
                    continue;
                };
                // Pages of files that are read once are given back when memory is short.
                let stat = std::fs::read_to_string(folder.join("memory.stat"));
                let given_back = first_number(&stat.unwrap_or_default(), cache).unwrap_or(0);
                found.push(Room {
                    bytes: most.saturating_sub(used.saturating_sub(given_back)),
                    bound: Bound::Group(folder.join(limit)),
                });
            }
        }
        found
    }
}

/// The number behind a key that begins a line.
fn first_number(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that tells what these files say.
    struct Told {
        folder: tempfile::TempDir,
    }

    impl Told {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = folder.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Told { folder }
        }

        fn system(&self) -> System {
            System {
                proc: self.folder.path().join("proc"),
                groups: self.folder.path().join("groups"),
            }
        }

        fn room(&self) -> Option<String> {
            let room = self.system().room()?;
            let here = self.folder.path().display().to_string();
            Some(format!("{}{}", room.bytes, room.bound).replace(&here, ""))
        }
    }

    const MEMORY: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:       98 kB\nMemAvailable:   8000 kB\nMemFree: some kB\n",
    );

    #[test]
    fn a_line_is_told_in_units_of_1024_bytes() {
        let told = Told::new(&[MEMORY]);
        let system = told.system();
        assert_eq!(system.kib("meminfo", "MemAvailable:"), Some(8000 * 1024));
        assert_eq!(told.room().unwrap(), "8192000");
        // What is not there, or no number, is not known: never zero bytes.
        for key in ["MemFree:", "VmHWM:"] {
            assert_eq!(system.kib("meminfo", key), None, "{key}");
        }
        assert_eq!(system.kib("no/such/file", "MemAvailable:"), None);
    }

    #[test]
    fn a_system_that_tells_nothing_bounds_nothing() {
        assert_eq!(Told::new(&[]).room(), None);
    }

    #[test]
    fn a_control_group_bounds_less_its_files_and_so_does_one_above_it() {
        let told = Told::new(&[
            MEMORY,
            ("proc/self/cgroup", "0::/user/job\n"),
            ("groups/user/job/memory.max", "max\n"),
            ("groups/user/job/memory.current", "5000\n"),
            ("groups/user/memory.max", "600000\n"),
            ("groups/user/memory.current", "500000\n"),
            ("groups/user/memory.stat", "anon 1\ninactive_file 30000\n"),
        ]);
        assert_eq!(
            told.room().unwrap(),
            "130000 within the limit in /groups/user/memory.max"
        );
    }

    #[test]
    fn a_control_group_of_the_first_version_bounds_too() {
        let told = Told::new(&[
            MEMORY,
            (
                "proc/self/cgroup",
                "3:cpu,cpuacct:/\n4:memory:/host/path\n0::/\n",
            ),
            // In a container the group's own folder is the root of the mount.
            ("groups/memory/memory.limit_in_bytes", "700000\n"),
            ("groups/memory/memory.usage_in_bytes", "100000\n"),
            (
                "groups/memory/memory.stat",
                "cache 9\ntotal_inactive_file 1000\n",
            ),
        ]);
        assert_eq!(
            told.room().unwrap(),
            "601000 within the limit in /groups/memory/memory.limit_in_bytes"
        );
        // Without a limit the kernel writes a number that no machine has.
        let unlimited = Told::new(&[
            MEMORY,
            ("proc/self/cgroup", "4:memory:/\n"),
            (
                "groups/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("groups/memory/memory.usage_in_bytes", "100000\n"),
        ]);
        assert_eq!(unlimited.room().unwrap(), "8192000");
    }

    #[test]
    fn an_address_space_bounds_what_is_not_in_use_of_it() {
        let limits = |most: &str| {
            format!("Limit  Soft  Hard  Units\nMax address space  {most}  unlimited  bytes\n")
        };
        let told = |most: &str| {
            let limits = limits(most);
            Told::new(&[
                MEMORY,
                ("proc/self/limits", limits.as_str()),
                ("proc/self/status", "VmSize:  100 kB\n"),
            ])
        };
        assert_eq!(told("1000000").room().unwrap(), "897600 within `ulimit -v`");
        assert_eq!(told("unlimited").room().unwrap(), "8192000");
        assert_eq!(told("1000").room().unwrap(), "0 within `ulimit -v`");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_holds_what_was_touched() {
        let touched = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(peak_resident().unwrap() >= touched.len() as u64);
        assert!(available().unwrap() > 0);
        assert!(total().unwrap() >= touched.len() as u64);
    }
}
