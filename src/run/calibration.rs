//! What a judge was found to be, kept in a run beside the scores that rest on it.

use crate::atomic_file;
use crate::flow::Calibration;
use crate::record::{RecordError, Run, read_kept};

/// File of a run that says how far the judge of its `llm-rubric` checks can be trusted.
const JUDGE_FILE: &str = "judge.json";

/// Keeps a judge's calibration.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_calibration(run: &Run, calibration: &Calibration) -> Result<(), RecordError> {
    let json = serde_json::to_vec_pretty(calibration).unwrap_or_default();
    atomic_file::write(&run.folder().join(JUDGE_FILE), json)?;
    Ok(())
}

/// The calibration that a run keeps, if it has one.
///
/// # Errors
/// It is there and cannot be read.
pub(super) fn read_calibration(run: &Run) -> Result<Option<Calibration>, RecordError> {
    read_kept(&run.folder().join(JUDGE_FILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Provenance, Store};

    #[test]
    fn a_calibration_reads_back_and_a_damaged_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let run = store.create(None, &Provenance::started("run")).unwrap();
        assert_eq!(read_calibration(&run).unwrap(), None);
        let calibration = Calibration {
            judge: "fixture (the base)".into(),
            passes: 20,
            passed: 18,
            fails: 21,
            failed: 3,
            least: 0.8,
        };
        write_calibration(&run, &calibration).unwrap();
        assert_eq!(read_calibration(&run).unwrap(), Some(calibration));
        std::fs::write(run.folder().join(JUDGE_FILE), "{\"judge\": ").unwrap();
        let error = read_calibration(&run).unwrap_err().to_string();
        assert!(error.contains(JUDGE_FILE), "{error}");
    }
}
