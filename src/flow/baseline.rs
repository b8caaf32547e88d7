//! The age of a baseline: when the answers that a verdict compares with were made, and by what.

use serde::{Deserialize, Serialize};

use crate::text::{date, plural};

/// Seconds that the answers of a server may be older than those that they are compared with: the model
/// behind its name may be another one by then.
const SERVED_APART: u64 = 24 * 60 * 60;

/// Where the answers of a subject come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerOrigin {
    /// What computed them: qeval's version, device, number format, or a server.
    pub engine: String,
    /// Digest of the base model.
    pub base: String,
    /// Answers and likelihoods.
    pub answers: usize,
    /// When the first of them was made, in seconds since 1970-01-01 UTC.
    pub oldest_unix_s: Option<u64>,
    /// When the last was.
    pub newest_unix_s: Option<u64>,
    /// How many are of a record that does not say when: earlier versions kept no time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undated: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl AnswerOrigin {
    /// Of answers that are still to be counted.
    pub fn of(engine: &str, base: &str) -> Self {
        AnswerOrigin {
            engine: engine.to_owned(),
            base: base.to_owned(),
            ..AnswerOrigin::default()
        }
    }

    /// Adds answers of the same subject.
    pub fn add(&mut self, more: &AnswerOrigin) {
        self.answers += more.answers;
        self.undated += more.undated;
        let both = |a: Option<u64>, b: Option<u64>, pick: fn(u64, u64) -> u64| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        self.oldest_unix_s = both(self.oldest_unix_s, more.oldest_unix_s, u64::min);
        self.newest_unix_s = both(self.newest_unix_s, more.newest_unix_s, u64::max);
    }

    /// Counts an answer that was made then.
    pub fn count(&mut self, unix_s: Option<u64>) {
        self.answers += 1;
        let Some(unix_s) = unix_s else {
            self.undated += 1;
            return;
        };
        self.oldest_unix_s = Some(self.oldest_unix_s.map_or(unix_s, |o| o.min(unix_s)));
        self.newest_unix_s = Some(self.newest_unix_s.map_or(unix_s, |n| n.max(unix_s)));
    }
}

/// The control arm of a comparison, with what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Where its answers come from.
    #[serde(flatten)]
    pub origin: AnswerOrigin,
    /// What a reader should know of it before believing a difference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Baseline {
    /// Of a base whose answers, and those of the candidates, come from there. Age alone is no fault: the
    /// same engine gives the same answers whenever it is asked. Another engine does not, and a server may
    /// have another model by now.
    pub fn of(base: &AnswerOrigin, candidates: &[AnswerOrigin], served: bool) -> Self {
        let mut warnings = Vec::new();
        let other = candidates.iter().find(|c| c.engine != base.engine);
        // A server beside a base that is loaded here is another engine by what was asked for.
        if let (Some(other), false) = (other, served) {
            warnings.push(format!(
                "the base was answered by {}, the candidate by {}: answers of two engines can differ \
                 without an adapter; `qeval run base` with the candidate's engine, in a folder of its \
                 own (`--runs`), asks anew",
                base.engine, other.engine
            ));
        }
        let other = candidates.iter().find(|c| c.base != base.base);
        if let (Some(_), false) = (other, served) {
            warnings.push(
                "base and candidate were answered on bases of different weights: their difference is \
                 not the adapter's alone"
                    .to_owned(),
            );
        }
        let newest = candidates.iter().filter_map(|c| c.newest_unix_s).max();
        let apart = newest.zip(base.oldest_unix_s);
        let apart = apart.map_or(0, |(newest, oldest)| newest.saturating_sub(oldest));
        if served && apart > SERVED_APART {
            warnings.push(format!(
                "the server answered for the base {} before it did for the candidate, and its model may \
                 have changed since: `--runs` with a new folder asks both now",
                age_of(apart)
            ));
        }
        Baseline {
            origin: base.clone(),
            warnings,
        }
    }

    /// One sentence on how old it is at a moment, in seconds since 1970.
    pub fn sentence(&self, now_unix_s: u64) -> String {
        let origin = &self.origin;
        let by = format!(
            "by {} ({})",
            origin.engine,
            crate::digest::short(&origin.base)
        );
        let undated = match origin.undated {
            0 => String::new(),
            n if n == origin.answers => {
                return format!("base answered {by}, at a time that its record does not say");
            }
            n => format!(
                "; {} of earlier versions without a time",
                plural(n, "answer")
            ),
        };
        let (Some(oldest), Some(newest)) = (origin.oldest_unix_s, origin.newest_unix_s) else {
            return format!("base answered {by}");
        };
        let days = match (date(oldest), date(newest)) {
            (first, last) if first == last => first,
            (first, last) => format!("{first} to {last}"),
        };
        let age = match now_unix_s.saturating_sub(oldest) {
            0..120 => "just now".to_owned(),
            age => format!("{} ago", age_of(age)),
        };
        format!("base answered {age} ({days}) {by}{undated}")
    }
}

/// `5 minutes`, `3 hours`, `12 days`.
fn age_of(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    plural(usize::try_from(count).unwrap_or(usize::MAX), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 November 2026, noon.
    const NOW: u64 = 1_796_040_000;
    const DAY: u64 = 86_400;

    fn origin(engine: &str, times: &[Option<u64>]) -> AnswerOrigin {
        let mut origin = AnswerOrigin::of(engine, "c0ffee0123456789");
        times.iter().for_each(|time| origin.count(*time));
        origin
    }

    fn said(times: &[Option<u64>]) -> String {
        let base = origin("qeval 0.1.0 cpu f32", times);
        Baseline::of(&base, std::slice::from_ref(&base), false).sentence(NOW)
    }

    #[test]
    fn an_age_is_told_in_a_sentence() {
        let all = [
            said(&[Some(NOW - 5), Some(NOW - 30)]),
            said(&[Some(NOW - 600)]),
            said(&[Some(NOW - 5 * 3600)]),
            said(&[Some(NOW - 12 * DAY), Some(NOW - 2 * DAY)]),
            said(&[Some(NOW - 12 * DAY), None]),
            said(&[None, None]),
            said(&[]),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        base answered just now (2026-11-30) by qeval 0.1.0 cpu f32 (c0ffee012345)
        base answered 10 minutes ago (2026-11-30) by qeval 0.1.0 cpu f32 (c0ffee012345)
        base answered 5 hours ago (2026-11-30) by qeval 0.1.0 cpu f32 (c0ffee012345)
        base answered 12 days ago (2026-11-18 to 2026-11-28) by qeval 0.1.0 cpu f32 (c0ffee012345)
        base answered 12 days ago (2026-11-18) by qeval 0.1.0 cpu f32 (c0ffee012345); 1 answer of earlier versions without a time
        base answered by qeval 0.1.0 cpu f32 (c0ffee012345), at a time that its record does not say
        base answered by qeval 0.1.0 cpu f32 (c0ffee012345)
        ");
    }

    #[test]
    fn another_engine_is_warned_of_and_age_alone_is_not() {
        let (old, new) = ([Some(NOW - 100 * DAY)], [Some(NOW)]);
        let (here, there) = ("qeval 0.1.0 cpu f32", "qeval 0.2.0 gpu H200 bf16");
        let warned = |base: &AnswerOrigin, served| {
            Baseline::of(base, &[origin(here, &new)], served).warnings
        };
        assert!(warned(&origin(here, &old), false).is_empty());
        insta::assert_snapshot!(warned(&origin(there, &new), false).join("\n"), @"the base was answered by qeval 0.2.0 gpu H200 bf16, the candidate by qeval 0.1.0 cpu f32: answers of two engines can differ without an adapter; `qeval run base` with the candidate's engine, in a folder of its own (`--runs`), asks anew");
        let other = AnswerOrigin {
            base: "another".into(),
            ..origin(here, &new)
        };
        insta::assert_snapshot!(warned(&other, false).join("\n"), @"base and candidate were answered on bases of different weights: their difference is not the adapter's alone");
        // A server's name says nothing of its weights.
        assert!(warned(&origin(there, &new), true).is_empty());
        insta::assert_snapshot!(warned(&origin(here, &old), true).join("\n"), @"the server answered for the base 100 days before it did for the candidate, and its model may have changed since: `--runs` with a new folder asks both now");
    }
}
