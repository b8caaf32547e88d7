//! Files that a reader never sees half written, whenever the writer is killed.
//!
//! - [`write()`] and [`write_with`]: a whole file, through a temporary one in the same folder, fsync
//!   and rename.
//! - [`write_folder`] and [`create_folder`]: a whole folder, built aside and renamed into place.
//! - [`LineAppender`]: a file that grows by whole lines, one `write` call a line. A line counts
//!   once its newline is on disk; a torn last line is cut off at the next opening.
//!
//! What a killed writer leaves is named `.tmp-NAME-PID.N` (unfinished) or `.old-NAME-PID.N` (a
//! replaced folder on its way out); [`remove_leftovers`] tidies a folder up at start.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const UNFINISHED: &str = ".tmp-";
const REPLACED: &str = ".old-";
/// Bytes looked at per step when the end of the last whole line is searched from the back.
const TAIL_BYTES: u64 = 64 * 1024;

/// Names in use by this process: its own unfinished work is no leftover.
static IN_USE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file or folder could not be written or read. The text has the path, the cause, and the way
/// out.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}{}", .path.display(), way_out(.source.kind()))]
pub struct FileError {
    /// What was tried, as in "cannot {action} PATH".
    pub action: &'static str,
    /// What it was tried on.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: `.map_err(FileError::at("read", path))`.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| FileError {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

fn way_out(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind as Kind;
    match kind {
        Kind::StorageFull | Kind::QuotaExceeded => {
            "\n  Free some space there or choose a folder on another disk, then give the same \
             command again: what is finished is kept."
        }
        Kind::ReadOnlyFilesystem | Kind::PermissionDenied => {
            "\n  Choose a folder that you may write to, or change its permissions."
        }
        Kind::NotADirectory => "\n  A part of this path is a file: choose another path.",
        _ => "",
    }
}

/// Writes a whole file: either the old or the new content is there, never a part.
///
/// # Errors
/// A step of writing failed; an older file of that name is untouched then.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), FileError> {
    write_with(path, |file| file.write_all(content.as_ref()))
}

/// As [`write()`], for content that is produced piece by piece.
///
/// # Errors
/// `fill` or a step of writing failed; an older file of that name is untouched then.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), FileError> {
    let aside = Aside::of(path, UNFINISHED)?;
    let written = (|| {
        let mut file = BufWriter::new(File::create(&aside.path)?);
        fill(&mut file)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&aside.path, path)
    })();
    if let Err(source) = written {
        // The cause is reported; the leftover is found at the next start if this fails too.
        let _ = fs::remove_file(&aside.path);
        return Err(FileError {
            action: "write",
            path: path.to_path_buf(),
            source,
        });
    }
    sync_folder(parent_of(path))
}

/// Writes a whole folder: `fill` gets an empty folder aside, which is then renamed to `path`. A
/// folder of that name is replaced.
///
/// # Errors
/// What `fill` returned, or a step of writing failed; an older folder is untouched then.
pub fn write_folder<E: From<FileError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    fill_aside(path, fill, |aside| {
        // Two renames: `remove_leftovers` puts the old folder back if the process ends between.
        let old = if path.is_dir() {
            Some(Aside::of(path, REPLACED)?)
        } else {
            None
        };
        if let Some(old) = &old {
            fs::rename(path, &old.path).map_err(FileError::at("replace", path))?;
        }
        if let Err(source) = fs::rename(aside, path) {
            if let Some(old) = &old {
                let _ = fs::rename(&old.path, path);
            }
            return Err(FileError {
                action: "write",
                path: path.to_path_buf(),
                source,
            });
        }
        sync_folder(parent_of(path))?;
        match old {
            Some(old) => fs::remove_dir_all(&old.path).map_err(FileError::at("remove", &old.path)),
            None => Ok(()),
        }
    })
}

/// As [`write_folder`], but a folder of that name that holds anything is never replaced. Of
/// several processes that create the same name one succeeds.
///
/// # Errors
/// What `fill` returned, or a step of writing failed: with `AlreadyExists` if the name is taken.
pub fn create_folder<E: From<FileError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    fill_aside(path, fill, |aside| {
        fs::rename(aside, path).map_err(|source| {
            let taken = source.kind() == io::ErrorKind::DirectoryNotEmpty || path.exists();
            let source = if taken {
                io::ErrorKind::AlreadyExists.into()
            } else {
                source
            };
            FileError {
                action: "create",
                path: path.to_path_buf(),
                source,
            }
        })?;
        sync_folder(parent_of(path))
    })
}

fn fill_aside<E: From<FileError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
    place: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Result<(), E> {
    let aside = Aside::of(path, UNFINISHED)?;
    let written = (|| {
        fs::create_dir(&aside.path).map_err(FileError::at("create", path))?;
        fill(&aside.path)?;
        sync_below(&aside.path)?;
        Ok(place(&aside.path)?)
    })();
    if written.is_err() {
        // The cause is reported; the leftover is found at the next start if this fails too.
        let _ = fs::remove_dir_all(&aside.path);
    }
    written
}

/// Tidies up what killed writers left in a folder: unfinished files and folders are removed, a
/// folder that was moved aside and not yet replaced is put back. Work of processes that still run
/// is left alone. Returns what was removed or put back; a folder that does not exist has none.
///
/// # Errors
/// The folder cannot be listed, or a leftover cannot be removed.
pub fn remove_leftovers(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::at("list", folder))?,
    };
    let mut handled = Vec::new();
    for entry in entries {
        let path = entry.map_err(FileError::at("list", folder))?.path();
        let Some(leftover) = Leftover::of(&path) else {
            continue;
        };
        if leftover.in_use(&path) {
            continue;
        }
        let home = folder.join(leftover.name);
        if leftover.replaced && !home.exists() {
            fs::rename(&path, &home).map_err(FileError::at("put back", &home))?;
        } else if path.is_dir() {
            fs::remove_dir_all(&path).map_err(FileError::at("remove", &path))?;
        } else {
            fs::remove_file(&path).map_err(FileError::at("remove", &path))?;
        }
        handled.push(path);
    }
    handled.sort();
    Ok(handled)
}

/// A name beside the real one, known as in use until dropped.
struct Aside {
    path: PathBuf,
}

impl Aside {
    fn of(path: &Path, prefix: &str) -> Result<Self, FileError> {
        let name = path.file_name().ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the path ends in no name");
            FileError {
                action: "write",
                path: path.to_path_buf(),
                source,
            }
        })?;
        let mut aside = OsString::from(prefix);
        aside.push(name);
        aside.push(format!(
            "-{}.{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let path = parent_of(path).join(aside);
        names_in_use().push(path.clone());
        Ok(Aside { path })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        names_in_use().retain(|path| *path != self.path);
    }
}

fn names_in_use() -> MutexGuard<'static, Vec<PathBuf>> {
    // A list of names is whole whatever its last holder was doing.
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the name of a leftover says.
struct Leftover<'a> {
    name: &'a str,
    process: u32,
    replaced: bool,
}

impl<'a> Leftover<'a> {
    fn of(path: &'a Path) -> Option<Self> {
        let file_name = path.file_name()?.to_str()?;
        let (rest, replaced) = match file_name.strip_prefix(UNFINISHED) {
            Some(rest) => (rest, false),
            None => (file_name.strip_prefix(REPLACED)?, true),
        };
        let (name, writer) = rest.rsplit_once('-')?;
        let (process, count) = writer.split_once('.')?;
        count.parse::<u64>().ok()?;
        Some(Leftover {
            name,
            process: process.parse().ok()?,
            replaced,
        })
    }

    /// Process ids start again at 1 in every container, so an id like our own proves nothing:
    /// then the list of our own names decides.
    fn in_use(&self, path: &Path) -> bool {
        if self.process == std::process::id() {
            return names_in_use().iter().any(|name| name == path);
        }
        is_running(self.process)
    }
}

#[cfg(unix)]
fn is_running(process: u32) -> bool {
    let Ok(process) = libc::pid_t::try_from(process) else {
        return false;
    };
    // SAFETY: signal 0 sends nothing; the call only asks whether the process exists.
    let answer = unsafe { libc::kill(process, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

#[cfg(not(unix))]
fn is_running(_process: u32) -> bool {
    // Cannot be asked without more dependencies: rather leave a leftover than remove live work.
    true
}

/// The folder that a path lies in; `.` for a bare name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Flushes every file below a folder, and the folders.
fn sync_below(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::at("list", folder))? {
        let path = entry.map_err(FileError::at("list", folder))?.path();
        if path.is_dir() {
            sync_below(&path)?;
        } else {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(FileError::at("write", &path))?;
        }
    }
    sync_folder(folder)
}

/// Makes a rename inside a folder outlive a power cut. Only Unix opens folders as files.
fn sync_folder(folder: &Path) -> Result<(), FileError> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|file| file.sync_all())
            .map_err(FileError::at("write", folder))?;
    }
    Ok(())
}

/// Appends lines to a file, one `write` call a line, from any number of threads.
///
/// A killed process tears at most the line it was writing. There is no fsync per line: `kill -9`
/// loses nothing that `write` returned for, a power cut may lose the last seconds.
#[derive(Debug)]
pub struct LineAppender {
    file: Mutex<File>,
    path: PathBuf,
}

impl LineAppender {
    /// Opens a file for appending, creates it if need be, and cuts a torn last line off. Only one
    /// process may do this at a time, or it could cut what another is writing.
    ///
    /// # Errors
    /// The file cannot be opened, read or cut.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map_err(FileError::at("open", path))?;
        cut_torn_line(&mut file).map_err(FileError::at("repair the last line of", path))?;
        Ok(LineAppender {
            file: Mutex::new(file),
            path: path.to_path_buf(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line; the newline is added here.
    ///
    /// # Errors
    /// The text holds a newline, or it could not be written. What was written of it is taken back
    /// then, so that a later line does not join a torn one.
    pub fn append(&self, text: &str) -> Result<(), FileError> {
        let failed = FileError::at("append to", &self.path);
        if text.contains('\n') {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the line has a line break");
            return Err(failed(source));
        }
        let line = format!("{text}\n");
        // The file is only ever left between lines, so a poisoned lock guards nothing broken.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        append_whole(&mut file, line.as_bytes()).map_err(failed)
    }

    /// Waits until everything appended so far is on disk.
    ///
    /// # Errors
    /// The disk refused it.
    pub fn sync(&self) -> Result<(), FileError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.sync_data().map_err(FileError::at("write", &self.path))
    }
}

fn append_whole(file: &mut File, line: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < line.len() {
        let error = match file.write(&line[written..]) {
            Ok(0) => io::Error::from(io::ErrorKind::WriteZero),
            Ok(n) => {
                written += n;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        if written > 0 {
            let end = file.metadata()?.len();
            file.set_len(end.saturating_sub(written as u64))?;
        }
        return Err(error);
    }
    Ok(())
}

/// Cuts everything after the last newline.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(());
    }
    let len = metadata.len();
    let mut from = len;
    let mut keep = 0;
    while from > 0 {
        let piece = from.min(TAIL_BYTES);
        from -= piece;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        Read::by_ref(file).take(piece).read_to_end(&mut bytes)?;
        if let Some(newline) = bytes.iter().rposition(|&byte| byte == b'\n') {
            keep = from + newline as u64 + 1;
            break;
        }
    }
    if keep < len {
        file.set_len(keep)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A process id that no process has: a child that has ended and was waited for.
    fn ended_process() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provenance.json");
        write(&path, "old").unwrap();
        let failed = write_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert_eq!(
            failed.unwrap_err().source.kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names_in(folder.path()), ["provenance.json"]);
    }

    #[test]
    fn folder_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint-40");
        let fill = |text: &'static str, fail: bool| {
            move |aside: &Path| {
                write(&aside.join("a"), text)?;
                fs::create_dir(aside.join("deep")).unwrap();
                write(&aside.join("deep/b"), text)?;
                match fail {
                    true => Err(FileError::at("write", aside)(
                        io::ErrorKind::StorageFull.into(),
                    )),
                    false => Ok(()),
                }
            }
        };
        let read = || fs::read_to_string(path.join("deep/b")).unwrap();

        write_folder(&path, fill("one", true)).unwrap_err();
        assert!(names_in(folder.path()).is_empty());
        write_folder(&path, fill("one", false)).unwrap();
        assert_eq!(read(), "one");
        write_folder(&path, fill("two", true)).unwrap_err();
        assert_eq!(read(), "one");
        write_folder(&path, fill("two", false)).unwrap();
        assert_eq!(read(), "two");
        assert_eq!(names_in(folder.path()), ["checkpoint-40"]);
    }

    #[test]
    fn taken_name_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run-0001");
        let fill = |aside: &Path| write(&aside.join("a"), "first");
        create_folder(&path, fill).unwrap();
        let error = create_folder(&path, |aside| write(&aside.join("a"), "second")).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "first");
        assert_eq!(names_in(folder.path()), ["run-0001"]);
    }

    #[test]
    fn leftovers_of_ended_processes_go_and_the_old_folder_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let ended = ended_process();
        let alive = std::os::unix::process::parent_id();
        let unfinished = folder.path().join(format!(".tmp-checkpoint-20-{ended}.0"));
        fs::create_dir_all(unfinished.join("deep")).unwrap();
        fs::write(
            folder.path().join(format!(".tmp-best.json-{ended}.7")),
            "ha",
        )
        .unwrap();
        fs::create_dir(folder.path().join(format!(".old-checkpoint-40-{ended}.1"))).unwrap();
        fs::create_dir(folder.path().join(format!(".old-checkpoint-60-{ended}.2"))).unwrap();
        fs::create_dir(folder.path().join("checkpoint-60")).unwrap();
        let kept = [
            format!(".tmp-busy-{alive}.0"),
            ".tmp-notes".to_owned(),
            ".tmp-a-b.c".to_owned(),
            "x.tmp-a-1.0".to_owned(),
        ];
        for name in &kept {
            fs::write(folder.path().join(name), "mine").unwrap();
        }

        assert_eq!(remove_leftovers(folder.path()).unwrap().len(), 4);
        let mut expected: Vec<String> = kept.into();
        expected.extend(["checkpoint-40".to_owned(), "checkpoint-60".to_owned()]);
        expected.sort();
        assert_eq!(names_in(folder.path()), expected);
        assert!(
            remove_leftovers(&folder.path().join("none"))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn own_process_id_of_an_earlier_container_is_a_leftover() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let stale = folder
            .path()
            .join(format!(".tmp-other-{}.999999", std::process::id()));
        fs::write(&stale, "").unwrap();
        write_with(&path, |file| {
            file.write_all(b"whole")?;
            assert_eq!(remove_leftovers(folder.path()).unwrap(), [stale.as_path()]);
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
    }

    #[test]
    fn torn_last_line_is_cut_at_every_offset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        let (whole, torn) = ("one\ntwo\n", "{\"three\":\"drei 三\"}\n");
        for end in 0..torn.len() {
            let mut bytes = whole.as_bytes().to_vec();
            bytes.extend_from_slice(&torn.as_bytes()[..end]);
            fs::write(&path, &bytes).unwrap();
            LineAppender::open(&path).unwrap().append("next").unwrap();
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                "one\ntwo\nnext\n",
                "cut at {end}"
            );
        }
    }

    #[test]
    fn torn_line_longer_than_one_look_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        for whole in ["", "one\n"] {
            for extra in [TAIL_BYTES - 1, TAIL_BYTES, 2 * TAIL_BYTES + 1] {
                fs::write(&path, format!("{whole}{}", "x".repeat(extra as usize))).unwrap();
                LineAppender::open(&path).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), whole, "{extra} more");
            }
        }
    }

    #[test]
    fn lines_of_many_threads_stay_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        // Two appenders, as two processes would have them, each shared by four threads.
        let appenders = [
            LineAppender::open(&path).unwrap(),
            LineAppender::open(&path).unwrap(),
        ];
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let appender = &appenders[thread % 2];
                scope.spawn(move || {
                    for line in 0..100 {
                        appender
                            .append(&format!("{thread}-{line}-{}", "x".repeat(line)))
                            .unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 800);
        for line in lines {
            let mut parts = line.splitn(3, '-').skip(1);
            let count: usize = parts.next().unwrap().parse().unwrap();
            assert_eq!(parts.next().unwrap(), "x".repeat(count));
        }
    }

    #[test]
    fn line_break_inside_a_line_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let appender = LineAppender::open(&folder.path().join("lines.jsonl")).unwrap();
        appender.append("one\ntwo").unwrap_err();
        appender.append("one").unwrap();
        appender.sync().unwrap();
        assert_eq!(fs::read_to_string(appender.path()).unwrap(), "one\n");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn full_disk_says_so() {
        let appender = LineAppender::open(Path::new("/dev/full")).unwrap();
        insta::assert_snapshot!(appender.append("{}").unwrap_err(), @"
        cannot append to /dev/full: No space left on device (os error 28)
          Free some space there or choose a folder on another disk, then give the same command again: what is finished is kept.
        ");
    }

    #[test]
    fn refusals_name_path_cause_and_way_out() {
        let text = |kind: io::ErrorKind| {
            FileError::at("write", Path::new("runs/run-0001/provenance.json"))(kind.into())
                .to_string()
        };
        insta::assert_snapshot!(text(io::ErrorKind::StorageFull), @"
        cannot write runs/run-0001/provenance.json: no storage space
          Free some space there or choose a folder on another disk, then give the same command again: what is finished is kept.
        ");
        insta::assert_snapshot!(text(io::ErrorKind::ReadOnlyFilesystem), @"
        cannot write runs/run-0001/provenance.json: read-only filesystem or storage medium
          Choose a folder that you may write to, or change its permissions.
        ");
        insta::assert_snapshot!(text(io::ErrorKind::PermissionDenied), @"
        cannot write runs/run-0001/provenance.json: permission denied
          Choose a folder that you may write to, or change its permissions.
        ");
        insta::assert_snapshot!(text(io::ErrorKind::NotFound), @"cannot write runs/run-0001/provenance.json: entity not found");
    }

    #[test]
    fn file_in_the_way_of_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("runs"), "").unwrap();
        let error = write(&folder.path().join("runs/a.json"), "").unwrap_err();
        let shown = error
            .to_string()
            .replace(&folder.path().display().to_string(), "[folder]");
        insta::assert_snapshot!(shown, @"
        cannot write [folder]/runs/a.json: Not a directory (os error 20)
          A part of this path is a file: choose another path.
        ");
    }

    #[test]
    #[cfg(unix)]
    fn folder_without_write_permission_is_refused_unless_root() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        // SAFETY: reads this process's user id.
        let root = unsafe { libc::geteuid() } == 0;
        let written = write(&folder.path().join("a.json"), "").map_err(|e| e.source.kind());
        match root {
            true => assert_eq!(written, Ok(())),
            false => assert_eq!(written, Err(io::ErrorKind::PermissionDenied)),
        }
    }
}
