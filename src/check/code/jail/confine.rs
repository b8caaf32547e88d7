//! Gives up what a program must not reach, and becomes Python.
//!
//! Two things happen before: the configured Python, which may be a script that looks for the real
//! one, says where it is installed; and the request goes to a file in memory, which as standard
//! input needs nobody to write to it.

mod calls;

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{Error, Seek, Write};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use serde_json::json;

use crate::check::evidence::Program;
use crate::child_process::ends_with_this_thread;
use crate::text::ellipsize;

use super::super::worker::{ALL_CASES_SECONDS, CASE_TIME, RECURSION, WORKER_MEMORY_MIB};
use super::PYTHON_VARIABLE;

/// What Python runs.
const HARNESS: &str = include_str!("harness.py");

/// Bytes of JSON for what all cases return together, half of what a worker may print. A value
/// that needs more than its share equals no expected one.
const ROOM: usize = 512 << 10;

/// Files open at once. Python has a handful while it imports.
const OPEN_FILES: u64 = 64;

/// Tells the version, the executable, and where its modules and libraries are. Python 2 can run
/// it, to be refused by its version.
const WHERE: &str = "import sys
lines = ['%d.%d' % sys.version_info[:2], sys.executable, sys.base_exec_prefix + '/lib']
sys.stdout.write('\\n'.join(lines + sys.path))
";

/// Oldest Python that can run [`HARNESS`].
const OLDEST: (u32, u32) = (3, 8);

/// Where the system keeps libraries, and which of them there are.
const LIBRARIES: [&str; 6] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
];

/// Why nothing is run.
const NO_LANDLOCK: &str = "this system does not enforce Landlock";

/// Runs the program in the Python that the environment names. Returns only to say why not.
pub(in super::super) fn run(program: &Program) -> String {
    match start(program) {
        Ok(never) => match never {},
        Err(why) => format!("refused: {why}"),
    }
}

fn start(program: &Program) -> Result<Infallible, String> {
    let python = std::env::var(PYTHON_VARIABLE).map_err(|e| format!("{PYTHON_VARIABLE}: {e}"))?;
    let installation = Installation::find(&python)?;
    let request = request(program).map_err(|e| format!("no file in memory: {e}"))?;
    let nothing = File::options().read(true).write(true).open("/dev/null");
    let nothing = nothing.map_err(|e| format!("/dev/null: {e}"))?;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| "a NUL in its path".to_owned());
    let executable = text(installation.executable.as_os_str().as_bytes())?;
    // Python's own modules and no others (`-s`, `-S`), and none written as bytecode (`-B`).
    let arguments = ["-s", "-S", "-B", "-c", HARNESS].map(|a| text(a.as_bytes()));
    let arguments = arguments.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut argv = vec![executable.as_ptr()];
    argv.extend(arguments.iter().map(|a| a.as_ptr()));
    argv.push(ptr::null());
    // Sets are iterated in the same order each time, so that an answer does the same each time.
    // `-I` would ignore it; there is nothing else in the environment to ignore.
    let seed = c"PYTHONHASHSEED=0";
    let envp = [seed.as_ptr(), ptr::null()];
    let filters = calls::filters(&executable).map_err(|e| e.to_string())?;

    std::env::set_current_dir("/").map_err(|e| e.to_string())?;
    match deny_files(&installation) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {}
        Ok(RulesetStatus::NotEnforced) => return Err(NO_LANDLOCK.to_owned()),
        Err(error) => {
            let error = ellipsize(&error.to_string(), 80);
            return Err(format!("{NO_LANDLOCK}: {error}"));
        }
    }
    hand_on(request, nothing).map_err(|e| format!("files: {e}"))?;
    drop_capabilities().map_err(|e| format!("capabilities: {e}"))?;
    limit().map_err(|e| format!("limits: {e}"))?;
    for filter in &filters {
        seccompiler::apply_filter(filter)
            .map_err(|e| format!("this system enforces no seccomp filter: {e}"))?;
    }
    // SAFETY: path, arguments, and environment are strings that live until here, the latter two
    // in arrays that end with a null pointer.
    unsafe { libc::execve(executable.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    let error = Error::last_os_error();
    Err(format!("{}: {error}", installation.executable.display()))
}

/// A Python as it says of itself.
struct Installation {
    executable: PathBuf,
    /// Its modules and libraries; some may not exist.
    folders: Vec<PathBuf>,
}

impl Installation {
    /// Asks a command, which runs unconfined: it is what the user configured.
    fn find(command: &str) -> Result<Self, String> {
        let mut asked = Command::new(command);
        let said = ends_with_this_thread(&mut asked)
            .args(["-I", "-S", "-c", WHERE])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("`{command}` did not start: {e}"))?;
        let words = String::from_utf8_lossy(&said.stderr);
        let words = words.lines().rfind(|l| !l.trim().is_empty());
        if !said.status.success() {
            let words = ellipsize(words.unwrap_or_default().trim(), 160);
            return Err(format!("`{command}` ended with {}: {words}", said.status));
        }
        let text = String::from_utf8_lossy(&said.stdout);
        Self::read(&text).map_err(|what| format!("`{command}` {what}"))
    }

    fn read(said: &str) -> Result<Self, String> {
        let mut lines = said.lines();
        let version = lines.next().unwrap_or_default();
        let numbers = version.split_once('.');
        let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let oldest = format!("{}.{}", OLDEST.0, OLDEST.1);
        match numbers {
            Some(numbers) if numbers >= OLDEST => {}
            Some(_) => {
                return Err(format!(
                    "is Python {version}; from {oldest} on it can be used"
                ));
            }
            None => return Err("is no Python".to_owned()),
        }
        let executable = Path::new(lines.next().unwrap_or_default());
        // Landlock rules are for what links lead to, and so is what Python finds beside itself.
        let executable = executable
            .canonicalize()
            .map_err(|e| format!("says that it is \"{}\": {e}", executable.display()))?;
        let folders = lines.map(PathBuf::from).filter(|f| f.is_absolute());
        Ok(Installation {
            executable,
            folders: folders.collect(),
        })
    }
}

/// What the harness reads, from its beginning: everything but the values to be returned.
fn request(program: &Program) -> Result<File, Error> {
    let cases: Vec<_> = program.cases.iter().map(|case| &case.args).collect();
    let request = json!({
        "source": program.source,
        "entry": program.entry,
        "cases": cases,
        "case_seconds": CASE_TIME.as_secs_f64(),
        "all_seconds": ALL_CASES_SECONDS,
        "recursion": RECURSION,
        "room": ROOM / cases.len().max(1),
    });
    // SAFETY: the name is a string; the call returns a new descriptor or -1.
    let descriptor = unsafe { libc::memfd_create(c"program".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: nobody else has the new descriptor.
    let mut file = unsafe { File::from_raw_fd(descriptor) };
    file.write_all(request.to_string().as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Nothing but Python and libraries can be read or executed from here on, and nothing be written.
fn deny_files(installation: &Installation) -> Result<RulesetStatus, RulesetError> {
    let first = AccessFs::from_all(ABI::V1);
    let readable = AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir;
    let paths = installation.folders.iter().map(PathBuf::as_path);
    let paths = paths
        .chain([installation.executable.as_path()])
        .chain(LIBRARIES.map(Path::new));
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(first)?
        // What the first version lacks is also denied by the filter of calls.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V7))?
        .handle_access(AccessNet::from_all(ABI::V7))?
        .scope(Scope::from_all(ABI::V7))?
        .create()?
        .add_rules(path_beneath_rules(paths, readable))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Leaves open: standard output and error, the request as standard input, and the null device as
/// descriptor 3, with which the harness replaces all three.
fn hand_on(request: File, nothing: File) -> Result<(), Error> {
    // Opened in this order with the standard descriptors in use, so that neither is the other's
    // goal: the first may be 3, the second is beyond it.
    let pairs = [(request.into_raw_fd(), 0), (nothing.into_raw_fd(), 3)];
    for (from, to) in pairs {
        // SAFETY: dup2 takes numbers and changes what `to` stands for, which nobody owns: the file
        // that may have been 3 was given up above, and copied first.
        checked(unsafe { libc::dup2(from, to) }.into())?;
    }
    // Whoever started this program may have left files open, too. By number, since older C
    // libraries have no function for it.
    // SAFETY: takes numbers; nothing owns a descriptor beyond 3 any more.
    checked(unsafe { libc::syscall(libc::SYS_close_range, 4, libc::c_uint::MAX, 0) })
}

/// Root without capabilities is nobody. With no new privileges, which Landlock has set, what is
/// executed does not get them back.
fn drop_capabilities() -> Result<(), Error> {
    /// `_LINUX_CAPABILITY_VERSION_3`, which has two words a set.
    const VERSION: u32 = 0x2008_0522;
    let (header, sets) = ([VERSION, 0], [[0_u32; 3]; 2]);
    // SAFETY: both arrays have the layout that this version reads: version and process (0 is this
    // one), then twice effective, permitted, and inheritable.
    checked(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) })
}

fn limit() -> Result<(), Error> {
    // A program may ignore the signal of the first limit of time, but lives no longer than its
    // wall time allows; the second is reached where nobody is left to end it.
    let time = ALL_CASES_SECONDS + 2;
    let limits = [
        (libc::RLIMIT_CORE, 0, 0),
        (libc::RLIMIT_FSIZE, 0, 0),
        (libc::RLIMIT_NPROC, 0, 0),
        (libc::RLIMIT_MEMLOCK, 0, 0),
        (libc::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (libc::RLIMIT_CPU, time, time + 10),
        // Less than this process may have already: from here on it asks for nothing large.
        (
            libc::RLIMIT_AS,
            WORKER_MEMORY_MIB << 20,
            WORKER_MEMORY_MIB << 20,
        ),
    ];
    for (what, soft, hard) in limits {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: writes a struct that outlives the call.
        checked(unsafe { libc::getrlimit(what, &mut limit) }.into())?;
        limit.rlim_max = limit.rlim_max.min(hard);
        limit.rlim_cur = limit.rlim_max.min(soft);
        // SAFETY: reads the same.
        checked(unsafe { libc::setrlimit(what, &limit) }.into())?;
    }
    Ok(())
}

fn checked(returned: libc::c_long) -> Result<(), Error> {
    match returned {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_says_where_it_is() {
        let executable = std::env::current_exe().unwrap();
        let said = |version: &str| format!("{version}\n{}\n/a/lib\n\n/b c", executable.display());
        let found = Installation::read(&said("3.10")).unwrap();
        assert_eq!(found.executable, executable.canonicalize().unwrap());
        assert_eq!(found.folders, ["/a/lib", "/b c"].map(PathBuf::from));
        for old in ["2.7", "3.7"] {
            let why = Installation::read(&said(old)).err().unwrap();
            assert_eq!(why, format!("is Python {old}; from 3.8 on it can be used"));
        }
        for other in ["", "hello\n", "three.ten\n/a"] {
            assert_eq!(Installation::read(other).err().unwrap(), "is no Python");
        }
        assert!(Installation::read("3.11\n/nowhere/python3\n").is_err());
        assert!(Installation::find("/nowhere/python3").is_err());
        assert!(Installation::find("false").is_err());
    }

    #[test]
    fn the_request_is_without_what_has_to_be_returned() {
        let program = Program {
            source: "def f(x): return x".into(),
            entry: "f".into(),
            cases: vec![crate::check::evidence::ProgramCase {
                args: vec![json!(1)],
                returns: json!("secret"),
            }],
        };
        let text = std::io::read_to_string(request(&program).unwrap()).unwrap();
        assert!(text.contains(r#""cases":[[1]]"#), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
