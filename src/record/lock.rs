//! One writer per run: an advisory lock on `.lock` in the run's folder.
//!
//! The operating system lets go of it when the process ends, however it ends, so a killed run
//! never has to be unlocked by hand. Reading needs no lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};

use super::{RecordError, Run};
use crate::atomic_file::{FileError, remove_leftovers};

/// The right to write into a run, until dropped.
#[derive(Debug)]
pub struct RunLock {
    run: Run,
    // Held for its lock alone.
    _file: File,
}

impl RunLock {
    pub(super) fn take(run: &Run) -> Result<Self, RecordError> {
        let path = run.folder().join(".lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(FileError::at("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder's id is a help to the user, not needed to refuse.
                let process = match file.read_to_string(&mut holder) {
                    Ok(_) => holder.trim().parse().ok(),
                    Err(_) => None,
                };
                return Err(RecordError::InUse {
                    run: run.id().to_owned(),
                    process,
                    lock: path,
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(FileError::at("lock", &path)(error).into());
            }
        }
        let name_holder = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        name_holder.map_err(FileError::at("write", &path))?;
        remove_leftovers(run.folder())?;
        remove_leftovers(&run.answers_folder())?;
        Ok(RunLock {
            run: run.clone(),
            _file: file,
        })
    }

    /// The run that is held.
    pub fn run(&self) -> &Run {
        &self.run
    }
}
