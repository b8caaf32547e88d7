//! One prompt of rehearsal, where it came from, and what is learned of the base's answer.

use serde::{Deserialize, Serialize};

use crate::train::config::{DataSection, RehearsalTarget};
use crate::train::data::Origin;

/// How training stays at an answer that the base gave itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stay {
    /// What a token of it counts beside one of the training rows, in the mean cross-entropy; 0:
    /// its text is not learned.
    pub text: f64,
    /// What a token of it counts beside other rehearsal, in the mean divergence from the base's
    /// distribution; 0: it is left out there.
    pub distribution: f64,
}

impl Stay {
    /// At the base's distributions alone, each token counting as any other.
    pub const DISTRIBUTION: Stay = Stay {
        text: 0.0,
        distribution: 1.0,
    };

    /// What is learned of it.
    pub fn target(self) -> RehearsalTarget {
        match (self.text > 0.0, self.distribution > 0.0) {
            (true, true) => RehearsalTarget::Both,
            (true, false) => RehearsalTarget::Text,
            (false, _) => RehearsalTarget::Distribution,
        }
    }

    /// By a target, with a weight for each of its sides.
    pub fn new(target: RehearsalTarget, text: f64, distribution: f64) -> Self {
        Stay {
            text: match target {
                RehearsalTarget::Distribution => 0.0,
                RehearsalTarget::Text | RehearsalTarget::Both => text,
            },
            distribution: match target {
                RehearsalTarget::Text => 0.0,
                RehearsalTarget::Distribution | RehearsalTarget::Both => distribution,
            },
        }
    }
}

/// Which kind of prompt one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptKind {
    /// Of a file of the user's.
    File,
    /// Of the built-in pool.
    Pool,
    /// A near miss of a training row.
    NearMiss,
}

/// A prompt that the base answers, to be trained on beside the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RehearsalPrompt {
    /// What the base is asked.
    pub text: String,
    /// Its place in a file or in the pool; of a near miss that of the row that it resembles.
    pub origin: Origin,
    /// Which kind.
    pub kind: PromptKind,
    /// What is learned of the answer.
    pub stay: Stay,
}

impl RehearsalPrompt {
    /// Prompts of one file, in order, stayed at as `data` says; `rehearsal_weight` is that of
    /// `[train]`.
    pub fn of_file(
        prompts: impl IntoIterator<Item = (Origin, String)>,
        data: &DataSection,
        rehearsal_weight: f64,
    ) -> Vec<Self> {
        let stay = Stay::new(data.rehearsal_target, rehearsal_weight, 1.0);
        let prompts = prompts.into_iter();
        prompts
            .map(|(origin, text)| RehearsalPrompt {
                text,
                origin,
                kind: PromptKind::File,
                stay,
            })
            .collect()
    }
}
