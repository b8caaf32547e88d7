//! A probe's name and the file of its snapshot: `suite::probe` is `SUITE/PROBE.snap`, and further
//! accepted variants are `PROBE-2.snap`, `PROBE-3.snap`, and so on, as insta numbers several
//! snapshots of one test.

use std::path::{Path, PathBuf};

use crate::flow::ProbeId;

/// Most variants of a probe.
pub(super) const MOST_VARIANTS: usize = 9;

/// The file of a probe's snapshot, from the folder of answers. `variant` counts from 1.
pub fn snapshot_file(probe: &ProbeId, variant: usize) -> PathBuf {
    let name = match variant {
        0 | 1 => format!("{}.snap", probe.probe),
        n => format!("{}-{n}.snap", probe.probe),
    };
    Path::new(&probe.suite).join(name)
}

/// The probe whose snapshot a file is; `living` says which probes there are, since an id may end
/// like a variant's number. `None` for a file that is no living probe's.
pub fn probe_of(file: &Path, living: &dyn Fn(&ProbeId) -> bool) -> Option<ProbeId> {
    let suite = file.parent()?.file_name()?.to_str()?;
    let name = file.file_name()?.to_str()?;
    let stem = name
        .strip_suffix(".snap.new")
        .or_else(|| name.strip_suffix(".snap"))?;
    let of = |probe: &str| ProbeId {
        suite: suite.to_owned(),
        probe: probe.to_owned(),
    };
    let variant = stem.rsplit_once('-').filter(|(_, number)| {
        let number: Option<usize> = number.parse().ok();
        number.is_some_and(|n| (2..=MOST_VARIANTS).contains(&n))
    });
    [Some(of(stem)), variant.map(|(probe, _)| of(probe))]
        .into_iter()
        .flatten()
        .find(living)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(probe: &str) -> ProbeId {
        ProbeId {
            suite: "code".into(),
            probe: probe.into(),
        }
    }

    #[test]
    fn names_and_files_go_both_ways() {
        let living = [id("add"), id("max-2"), id("max")];
        let known = |probe: &ProbeId| living.contains(probe);
        for probe in &living {
            for variant in 1..=3 {
                let file = snapshot_file(probe, variant);
                let found = probe_of(&file, &known);
                // `max-2.snap` is the snapshot of `max-2`, not a variant of `max`.
                let expected = match (probe.probe.as_str(), variant) {
                    ("max", 2) => id("max-2"),
                    _ => probe.clone(),
                };
                assert_eq!(found, Some(expected), "{}", file.display());
            }
        }
        assert_eq!(probe_of(Path::new("code/gone.snap"), &known), None);
        assert_eq!(probe_of(Path::new("code/add-77.snap"), &known), None);
        assert_eq!(
            probe_of(Path::new("code/add.snap.new"), &known),
            Some(id("add"))
        );
        assert_eq!(probe_of(Path::new("code/add.txt"), &known), None);
    }
}
