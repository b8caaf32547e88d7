//! `qeval snapshot`: pending changes of accepted answers are listed, shown, accepted, or rejected.
//! The files are those of `cargo insta review`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::IsTerminal;

use console::{Key, Term};
use similar::{ChangeTag, TextDiff};

use crate::exit::Outcome;
use crate::flow::ProbeId;
use crate::report::{Style, Tone};
use crate::snapshot::{Pending, SnapshotError, Snapshots};

use super::args::{Format, OutputArgs, SelectArgs, SnapshotAction, SnapshotArgs};
use super::error::CliError;
use super::setup::{load_config, load_suites};

/// Runs the command. Exit code 0 when nothing is pending afterwards, 2 when something is.
///
/// # Errors
/// A configuration, suite, or snapshot that cannot be used.
pub fn snapshot(args: &SnapshotArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
    let (config, _) = load_config(args.config.as_deref())?;
    let snapshots = Snapshots::at(config.resolve(&config.gate.snapshots));
    let style = Style {
        color: output.color.on_stdout(),
        ..Style::for_stdout()
    };
    let say = |text: &str| crate::report::print(text).map_err(CliError::Print);
    match &args.action {
        None if output.format == Format::Text && both_ends_are_a_terminal() => {
            review(&snapshots, style)?;
        }
        None | Some(SnapshotAction::List) => {
            let pending = snapshots.pending()?;
            say(&match output.format {
                Format::Json => {
                    let names: Vec<&str> = pending.iter().map(|p| p.name.as_str()).collect();
                    serde_json::to_string(&serde_json::json!({ "version": 1, "pending": names }))?
                        + "\n"
                }
                Format::Text => listing(&pending),
            })?;
        }
        Some(SnapshotAction::Show { names }) => {
            for pending in chosen(&snapshots, names)? {
                say(&shown(&pending, style))?;
            }
        }
        Some(SnapshotAction::Accept { names, variant }) => {
            for pending in chosen(&snapshots, names)? {
                let file = match variant {
                    true => snapshots.accept_variant(&pending)?,
                    false => snapshots.accept(&pending)?,
                };
                say(&format!("accepted {}: {}\n", pending.name, file.display()))?;
            }
        }
        Some(SnapshotAction::Reject { names }) => {
            for pending in chosen(&snapshots, names)? {
                snapshots.reject(&pending)?;
                say(&format!("rejected {}\n", pending.name))?;
            }
        }
        Some(SnapshotAction::Orphans { remove }) => {
            let suites = load_suites(&config, &SelectArgs::default())?;
            let living: BTreeSet<ProbeId> = suites
                .iter()
                .flat_map(|suite| suite.probes.iter().map(|probe| suite.id_of(probe)))
                .collect();
            let files = snapshots.orphans(&|probe| living.contains(probe))?;
            for file in &files {
                let did = if *remove { "removed" } else { "orphan" };
                say(&format!("{did} {}\n", file.display()))?;
            }
            if *remove {
                snapshots.remove(&files)?;
            } else if !files.is_empty() {
                say("remove them: qeval snapshot orphans --remove\n")?;
            }
            return Ok(Outcome::Pass);
        }
    }
    Ok(if snapshots.pending()?.is_empty() {
        Outcome::Pass
    } else {
        Outcome::Inconclusive
    })
}

/// Whether someone can be asked, and sees the question.
fn both_ends_are_a_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

fn listing(pending: &[Pending]) -> String {
    if pending.is_empty() {
        return "no pending snapshots\n".into();
    }
    let mut text = String::new();
    for one in pending {
        let what = match (&one.accepted, &one.description) {
            (None, _) => "new".to_owned(),
            (Some(_), None) => "changed".to_owned(),
            (Some(_), Some(description)) => format!("changed {description}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}  {what}", one.name);
    }
    text.push_str(
        "show: qeval snapshot show; accept or reject: qeval snapshot, or cargo insta review\n",
    );
    text
}

/// The pending changes that are named, else all.
fn chosen(snapshots: &Snapshots, names: &[String]) -> Result<Vec<Pending>, CliError> {
    let all = snapshots.pending()?;
    for name in names {
        if !all
            .iter()
            .any(|p| crate::suite::matches_glob(name, &p.name))
        {
            return Err(SnapshotError::NotPending {
                name: name.clone(),
                pending: all.iter().map(|p| p.name.clone()).collect(),
            }
            .into());
        }
    }
    let wanted = |p: &Pending| {
        names.is_empty() || names.iter().any(|n| crate::suite::matches_glob(n, &p.name))
    };
    Ok(all.into_iter().filter(wanted).collect())
}

/// One change with a line diff.
fn shown(pending: &Pending, style: Style) -> String {
    let mut text = style.paint(Tone::Strong, &pending.name) + "\n";
    if let Some(description) = &pending.description {
        text.push_str(&style.paint(Tone::Open, &format!("  {description}\n")));
    }
    let Some(accepted) = &pending.accepted else {
        text.push_str(&style.paint(Tone::Dim, "  no snapshot was accepted yet\n"));
        for line in pending.new.trim_end().lines() {
            text.push_str(&style.paint(Tone::Good, &format!("+ {line}")));
            text.push('\n');
        }
        return text;
    };
    let diff = TextDiff::from_lines(accepted.trim_end(), pending.new.trim_end());
    for change in diff.iter_all_changes() {
        let (sign, tone) = match change.tag() {
            ChangeTag::Delete => ('-', Tone::Bad),
            ChangeTag::Insert => ('+', Tone::Good),
            ChangeTag::Equal => (' ', Tone::Dim),
        };
        text.push_str(&style.paint(tone, &format!("{sign} {}", change.value().trim_end())));
        text.push('\n');
    }
    text
}

/// Asks about each change, one key a decision.
fn review(snapshots: &Snapshots, style: Style) -> Result<(), CliError> {
    let all = snapshots.pending()?;
    let terminal = Term::stdout();
    let say = |text: &str| crate::report::print(text).map_err(CliError::Print);
    if all.is_empty() {
        return say("no pending snapshots\n");
    }
    for (i, pending) in all.iter().enumerate() {
        say(&format!(
            "\n{} of {}\n{}\na accept, v accept as a variant, r reject, s skip, q quit\n",
            i + 1,
            all.len(),
            shown(pending, style)
        ))?;
        let done = loop {
            match terminal.read_key().map_err(CliError::Print)? {
                Key::Char('a') => {
                    snapshots.accept(pending)?;
                    break style.paint(Tone::Good, "accepted");
                }
                Key::Char('v') => {
                    snapshots.accept_variant(pending)?;
                    break style.paint(Tone::Good, "accepted as a variant");
                }
                Key::Char('r') => {
                    snapshots.reject(pending)?;
                    break style.paint(Tone::Bad, "rejected");
                }
                Key::Char('s') => break style.paint(Tone::Dim, "skipped"),
                Key::Char('q') | Key::Escape => return Ok(()),
                _ => {}
            }
        };
        say(&format!("{done} {}\n", pending.name))?;
    }
    Ok(())
}
