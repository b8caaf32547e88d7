//! What happens to files when a text differs: insta's environment variables, with insta's meaning.

use super::error::SnapshotError;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// A changed text replaces the accepted one.
    changed_in_place: bool,
    /// A text without an accepted one is accepted.
    unseen_in_place: bool,
    /// Anything else goes to a `.snap.new`.
    pending: bool,
    /// A difference is no failure.
    force_pass: bool,
    /// Any difference of the text counts, within the noise or not.
    full_match: bool,
}

impl Update {
    /// Everything is accepted as it comes, as `INSTA_UPDATE=always` asks.
    pub fn always() -> Self {
        Update {
            changed_in_place: true,
            unseen_in_place: true,
            pending: true,
            force_pass: false,
            full_match: false,
        }
    }

    /// What the environment says: `INSTA_UPDATE` (`auto`, `always`, `new`, `unseen`, `no`,
    /// `force`), `INSTA_FORCE_PASS`, `INSTA_REQUIRE_FULL_MATCH`, and `CI`, which makes `auto`
    /// write nothing.
    ///
    /// # Errors
    /// `INSTA_UPDATE` has another value.
    pub fn from_environment() -> Result<Self, SnapshotError> {
        Update::of(&|name| std::env::var(name).ok())
    }

    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, SnapshotError> {
        let value = |name| variable(name).filter(|v| !v.is_empty());
        let ci = match value("CI").as_deref() {
            None => value("TF_BUILD").is_some(),
            Some("false" | "0") => false,
            Some(_) => true,
        };
        let is_on = |name| matches!(value(name).as_deref(), Some("1" | "true"));
        let written = value("INSTA_UPDATE").unwrap_or_else(|| "auto".into());
        let (changed_in_place, unseen_in_place, pending) = match written.as_str() {
            "auto" => (false, false, !ci),
            "always" | "1" | "force" => (true, true, true),
            "new" => (false, false, true),
            "unseen" => (true, false, true),
            "no" => (false, false, false),
            _ => return Err(SnapshotError::Update(written)),
        };
        Ok(Update {
            changed_in_place,
            unseen_in_place,
            pending,
            force_pass: is_on("INSTA_FORCE_PASS"),
            full_match: is_on("INSTA_REQUIRE_FULL_MATCH"),
        })
    }

    /// A text that differs replaces the accepted one, or becomes the first.
    pub(super) fn in_place(self, unseen: bool) -> bool {
        if unseen {
            self.unseen_in_place
        } else {
            self.changed_in_place
        }
    }

    pub(super) fn pending(self) -> bool {
        self.pending
    }

    pub(super) fn force_pass(self) -> bool {
        self.force_pass
    }

    pub(super) fn full_match(self) -> bool {
        self.full_match
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Update, SnapshotError> {
        Update::of(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    // The table of https://insta.rs/docs/advanced/ (INSTA_UPDATE), read with insta 1.49's
    // `snapshot_update_behavior`.
    #[test]
    fn variables_mean_what_insta_means() {
        for (variables, unseen, changed, pending) in [
            (&[][..], false, false, true),
            (&[("CI", "true")], false, false, false),
            (&[("CI", "false")], false, false, true),
            (&[("CI", "1"), ("INSTA_UPDATE", "new")], false, false, true),
            (&[("TF_BUILD", "1")], false, false, false),
            (&[("INSTA_UPDATE", "always")], true, true, true),
            (&[("INSTA_UPDATE", "unseen")], false, true, true),
            (&[("INSTA_UPDATE", "no")], false, false, false),
            (&[("INSTA_UPDATE", "")], false, false, true),
        ] {
            let update = of(variables).unwrap();
            let found = (
                update.in_place(true),
                update.in_place(false),
                update.pending(),
            );
            assert_eq!(found, (unseen, changed, pending), "{variables:?}");
        }
        assert!(of(&[("INSTA_FORCE_PASS", "1")]).unwrap().force_pass());
        assert!(!of(&[("INSTA_FORCE_PASS", "0")]).unwrap().force_pass());
        insta::assert_snapshot!(of(&[("INSTA_UPDATE", "yes")]).unwrap_err(), @"INSTA_UPDATE is `yes`: it is auto, always, new, unseen, no, or force, as for insta's own snapshots");
    }
}
