//! What to type next: one mechanism, so that every command that is printed asks and judges as the one
//! that printed it.

use crate::text::shell_word;

use super::ProbeId;

/// The commands that go on with a candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NextCommands {
    /// The one command there is, where no subject is asked.
    only: Option<String>,
    candidate: String,
    options: String,
    probes: String,
}

impl NextCommands {
    /// About a candidate as the user named it. `options` are what was typed beside it, and `probes`
    /// the patterns over probes among it, each with a blank in front.
    pub fn new(candidate: &str, options: String, probes: String) -> Self {
        NextCommands {
            only: None,
            candidate: shell_word(candidate),
            options,
            probes,
        }
    }

    /// Where nothing was asked here, as of another program's results: the command that shows them.
    pub fn asked_by(command: String) -> Self {
        NextCommands {
            only: Some(command),
            ..NextCommands::default()
        }
    }

    /// A command, or the only one there is.
    fn command(&self, command: String) -> String {
        self.only.clone().unwrap_or(command)
    }

    /// Shows what changed.
    ///
    /// ```
    /// use qeval::flow::NextCommands;
    ///
    /// let next = NextCommands::new("run-0001/ckpt-4", " --runs out".into(), " --probe 'code::*'".into());
    /// assert_eq!(
    ///     next.diff(),
    ///     "qeval diff base run-0001/ckpt-4 --probe 'code::*' --runs out",
    /// );
    /// ```
    pub fn diff(&self) -> String {
        let (candidate, probes, options) = (&self.candidate, &self.probes, &self.options);
        self.command(format!("qeval diff base {candidate}{probes}{options}"))
    }

    /// Judges it.
    pub fn gate(&self) -> String {
        let (candidate, probes, options) = (&self.candidate, &self.probes, &self.options);
        self.command(format!("qeval gate {candidate}{probes}{options}"))
    }

    /// Shows why one probe was lost.
    ///
    /// ```
    /// use qeval::flow::{NextCommands, ProbeId};
    ///
    /// let next = NextCommands::new("ckpt-4", " --runs out".into(), " --probe 'code::*'".into());
    /// let probe = ProbeId { suite: "code".into(), probe: "sum".into() };
    /// assert_eq!(next.why(&probe), "qeval why code::sum ckpt-4 --runs out");
    /// ```
    pub fn why(&self, probe: &ProbeId) -> String {
        let (candidate, probe) = (&self.candidate, shell_word(&probe.to_string()));
        // One probe is explained, not judged.
        let options = without(&self.options, "--margin");
        self.command(format!("qeval why {probe} {candidate}{options}"))
    }

    /// Shows one probe.
    pub fn probe(&self, probe: &ProbeId) -> String {
        let (candidate, options) = (&self.candidate, &self.options);
        let probe = shell_word(&probe.to_string());
        self.command(format!(
            "qeval diff base {candidate} --probe {probe}{options}"
        ))
    }
}

/// Options without one of them and its value, which is a single word.
fn without(options: &str, option: &str) -> String {
    let Some((before, after)) = options.split_once(&format!(" {option} ")) else {
        return options.to_owned();
    };
    let rest = after.split_once(' ').map_or("", |(_, rest)| rest);
    match rest {
        "" => before.to_owned(),
        rest => format!("{before} {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_does_not_take_is_left_out() {
        for (options, left) in [
            ("", ""),
            (" --margin 0.3", ""),
            (" --runs out --margin 0.3", " --runs out"),
            (" --margin 0.3 --runs out", " --runs out"),
            (" --runs out", " --runs out"),
        ] {
            assert_eq!(without(options, "--margin"), left);
        }
    }
}
