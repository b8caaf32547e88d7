//! `qeval snapshot`: pending changes of accepted answers are listed, shown, accepted, or rejected.
//! The files are those of `cargo insta review`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::IsTerminal;

use console::{Key, Term};
use serde_json::json;
use similar::{ChangeTag, TextDiff};

use crate::exit::Outcome;
use crate::flow::ProbeId;
use crate::project::{Overrides, Project};
use crate::report::{Style, Tone};
use crate::snapshot::{Pending, SnapshotError, Snapshots};
use crate::text::ellipsize;

use super::args::{OutputFormat, SnapshotAction, SnapshotArgs};
use super::error::CliError;
use super::output::Screen;

/// Longest description of a change in a list, in characters.
const DESCRIBED: usize = 40;

/// Runs the command. Exit code 0 when nothing is pending afterwards, 2 when something is.
///
/// # Errors
/// A configuration, suite, or snapshot that cannot be used.
pub fn snapshot(args: &SnapshotArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(Overrides {
        config: args.config.clone(),
        ..Overrides::default()
    })?;
    let folder = project.config.resolve(&project.config.gate.snapshots);
    let snapshots = Snapshots::at(folder);
    match &args.action {
        None if screen.format == OutputFormat::Text && both_ends_are_a_terminal() => {
            review(&snapshots, screen)?;
        }
        None | Some(SnapshotAction::List) => list(&snapshots.pending()?, screen)?,
        Some(SnapshotAction::Show { names }) => show(&chosen(&snapshots, names)?, screen)?,
        Some(SnapshotAction::Accept { names, variant }) => {
            let mut accepted = Vec::new();
            for pending in chosen(&snapshots, names)? {
                let file = match variant {
                    true => snapshots.accept_variant(&pending)?,
                    false => snapshots.accept(&pending)?,
                };
                screen.print_text(&format!("accepted {}: {}\n", pending.name, file.display()))?;
                accepted.push(json!({ "name": pending.name, "file": file }));
            }
            done(screen, "accepted", &accepted, &snapshots)?;
        }
        Some(SnapshotAction::Reject { names }) => {
            let mut rejected = Vec::new();
            for pending in chosen(&snapshots, names)? {
                snapshots.reject(&pending)?;
                screen.print_text(&format!("rejected {}\n", pending.name))?;
                rejected.push(json!({ "name": pending.name, "file": pending.file }));
            }
            done(screen, "rejected", &rejected, &snapshots)?;
        }
        Some(SnapshotAction::Orphans { remove }) => {
            orphans(&project, &snapshots, *remove, screen)?;
            return Ok(Outcome::Pass);
        }
    }
    Ok(if snapshots.pending()?.is_empty() {
        Outcome::Pass
    } else {
        Outcome::Inconclusive
    })
}

fn list(pending: &[Pending], screen: &Screen) -> Result<(), CliError> {
    let names: Vec<&str> = pending.iter().map(|p| p.name.as_str()).collect();
    match screen.format {
        OutputFormat::Json => screen.print_json(&json!({ "version": 1, "pending": names })),
        OutputFormat::Text => screen.print(&listing(pending)),
    }
}

fn show(pending: &[Pending], screen: &Screen) -> Result<(), CliError> {
    if screen.format == OutputFormat::Json {
        let each = pending.iter().map(|p| {
            json!({
                "name": p.name,
                "file": p.file,
                "description": p.description,
                "accepted": p.accepted,
                "new": p.new,
            })
        });
        let pending: Vec<_> = each.collect();
        return screen.print_json(&json!({ "version": 1, "pending": pending }));
    }
    for one in pending {
        screen.print(&shown(one, screen.style))?;
    }
    Ok(())
}

/// For machines: what was decided, and what still waits.
fn done(
    screen: &Screen,
    decision: &str,
    changes: &[serde_json::Value],
    snapshots: &Snapshots,
) -> Result<(), CliError> {
    if screen.format == OutputFormat::Text {
        return Ok(());
    }
    let pending: Vec<String> = snapshots.pending()?.into_iter().map(|p| p.name).collect();
    screen.print_json(&json!({ "version": 1, decision: changes, "pending": pending }))
}

fn orphans(
    project: &Project,
    snapshots: &Snapshots,
    remove: bool,
    screen: &Screen,
) -> Result<(), CliError> {
    let suites = project.every_suite()?;
    let living: BTreeSet<ProbeId> = suites
        .iter()
        .flat_map(|suite| suite.probes.iter().map(|probe| suite.id_of(probe)))
        .collect();
    let files = snapshots.orphans(&|probe| living.contains(probe))?;
    let did = if remove { "removed" } else { "orphan" };
    for file in &files {
        screen.print_text(&format!("{did} {}\n", file.display()))?;
    }
    if remove {
        snapshots.remove(&files)?;
    } else if !files.is_empty() {
        screen.print_text("remove them: qeval snapshot orphans --remove\n")?;
    }
    if screen.format == OutputFormat::Json {
        screen.print_json(&json!({ "version": 1, "orphans": files, "removed": remove }))?;
    }
    Ok(())
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
            (Some(_), Some(description)) => format!("changed {}", one_line(description)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}  {what}", one.name);
    }
    text.push_str(
        "show: qeval snapshot show; accept or reject: qeval snapshot, or cargo insta review\n",
    );
    text
}

/// A description in what is left of a terminal's line beside a name.
fn one_line(description: &str) -> String {
    let words: Vec<&str> = description.split_whitespace().collect();
    ellipsize(&words.join(" "), DESCRIBED)
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
fn review(snapshots: &Snapshots, screen: &Screen) -> Result<(), CliError> {
    let style = screen.style;
    let all = snapshots.pending()?;
    let terminal = Term::stdout();
    let say = |text: &str| screen.print(text);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn pending(
        name: &str,
        accepted: Option<&str>,
        new: &str,
        description: Option<&str>,
    ) -> Pending {
        Pending {
            file: Path::new("answers").join(name).with_extension("snap.new"),
            name: name.into(),
            accepted: accepted.map(str::to_owned),
            new: new.into(),
            description: description.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_pending_is_told_with_how_it_is_settled() {
        assert_eq!(listing(&[]), "no pending snapshots\n");
        let all = [
            pending("code/add", None, "4\n", None),
            pending("code/sum", Some("4\n"), "5\n", None),
            pending("facts/peru", Some("Lima\n"), "Rome\n", Some("at token 0")),
        ];
        insta::assert_snapshot!(listing(&all), @"
        code/add  new
        code/sum  changed
        facts/peru  changed at token 0
        show: qeval snapshot show; accept or reject: qeval snapshot, or cargo insta review
        ");
    }

    #[test]
    fn a_change_is_shown_line_by_line() {
        let style = Style::plain(80);
        let accepted = "> Capital?\nThe capital is Lima.\n";
        let new = "> Capital?\nThe capital is Rome.\n\n";
        let changed = pending("facts/peru", Some(accepted), new, Some("at token 4"));
        insta::assert_snapshot!(shown(&changed, style), @"
        facts/peru
          at token 4
          > Capital?
        - The capital is Lima.
        + The capital is Rome.
        ");
        let first = pending("facts/peru", None, "> Capital?\nLima.\n", None);
        insta::assert_snapshot!(shown(&first, style), @"
        facts/peru
          no snapshot was accepted yet
        + > Capital?
        + Lima.
        ");
    }

    /// Blank lines at the end are no change: files of both have them or not.
    #[test]
    fn blanks_at_the_end_are_no_change() {
        let same = pending("a/b", Some("x\n\n"), "x", None);
        assert_eq!(shown(&same, Style::plain(80)), "a/b\n  x\n");
    }

    /// A folder with these pending changes.
    fn folder(names: &[&str]) -> (tempfile::TempDir, Snapshots) {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(format!("{name}.snap.new"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "---\nsource: qeval\n---\ntext\n").unwrap();
        }
        let snapshots = Snapshots::at(folder.path());
        (folder, snapshots)
    }

    #[test]
    fn names_choose_by_pattern_and_none_is_all() {
        let (_folder, snapshots) = folder(&["code/add", "code/sum", "facts/peru"]);
        let names = |wanted: &[&str]| -> Vec<String> {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            let all = chosen(&snapshots, &wanted).unwrap();
            all.into_iter().map(|p| p.name).collect()
        };
        assert_eq!(names(&[]), ["code/add", "code/sum", "facts/peru"]);
        assert_eq!(names(&["code/*"]), ["code/add", "code/sum"]);
        assert_eq!(
            names(&["facts/peru", "code/a*"]),
            ["code/add", "facts/peru"]
        );
        assert_eq!(names(&["code/*", "code/add"]).len(), 2, "none twice");
    }

    /// Nothing is settled when one of the names is mistyped.
    #[test]
    fn a_name_that_is_not_pending_is_told_with_those_that_are() {
        let (_folder, snapshots) = folder(&["code/add", "code/sum"]);
        let wanted = ["code/add".to_owned(), "code/ad".to_owned()];
        let error = chosen(&snapshots, &wanted).unwrap_err();
        insta::assert_snapshot!(error, @"no pending snapshot `code/ad`; pending: code/add and code/sum");
        let none = Snapshots::at("no-such-folder");
        let error = chosen(&none, &["a".to_owned()]).unwrap_err();
        insta::assert_snapshot!(error, @"no pending snapshot `a`; pending: none");
    }
}
