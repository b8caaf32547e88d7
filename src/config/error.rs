//! What can be wrong with `qeval.toml`.

use thiserror::Error;

use crate::toml_file::{Explanation, Mistake, Place, list};

/// One thing wrong at one place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", self.explanation())]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What.
    #[source]
    pub kind: ConfigErrorKind,
}

impl ConfigError {
    fn explanation(&self) -> Explanation<'_> {
        let (rule, nearest, way_out) = match &self.kind {
            ConfigErrorKind::Unreadable(_) => (
                "a configuration that is named has to be readable".into(),
                None,
                Some("`qeval init` writes a commented qeval.toml into an empty folder"),
            ),
            ConfigErrorKind::Toml(mistake) => {
                (mistake.rule(), mistake.nearest(), mistake.way_out())
            }
        };
        Explanation {
            place: &self.place,
            what: self.kind.to_string(),
            rule,
            nearest,
            way_out,
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigErrorKind {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The file is no TOML, or has keys or values that are none of a configuration.
    #[error(transparent)]
    Toml(#[from] Mistake),
}

/// Everything wrong with a file, never only the first.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", self.list())]
pub struct ConfigErrors(
    /// At least one.
    pub Vec<ConfigError>,
);

impl ConfigErrors {
    fn list(&self) -> String {
        let told: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        let file = self.0.first().map_or("", |error| &error.place.file);
        list(&told, file)
    }
}
