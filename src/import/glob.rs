//! Names of several files: `*`, `?`, `[a-z]`, `**`, and `{a,b}`, as npm's `glob` reads them.
//! Names with a dot in front are matched by such alone, and links are not followed by `**`.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Most files that one pattern may name.
const MOST_FILES: usize = 10_000;
/// Most folders that are looked into.
const MOST_FOLDERS: usize = 10_000;
/// Most patterns that braces may stand for.
const MOST_ALTERNATIVES: usize = 100;

/// Whether a text is a pattern of file names.
pub(super) fn is_pattern(text: &str) -> bool {
    let class = text
        .find('[')
        .is_some_and(|open| text.get(open + 1..).is_some_and(|rest| rest.contains(']')));
    let extended = ["+(", "@(", "!("].iter().any(|mark| text.contains(mark));
    class || extended || text.contains(['*', '?']) || alternatives(text).is_ok_and(|a| a.len() > 1)
}

/// The files that a pattern names below a folder, in the order of their names.
///
/// # Errors
/// It is no pattern that is read, or names too many.
pub(super) fn files(root: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if ["+(", "@(", "!(", "?(", "*("]
        .iter()
        .any(|mark| pattern.contains(mark))
    {
        return Err(format!("the pattern `{pattern}` is not read"));
    }
    let mut found = Vec::new();
    for pattern in alternatives(pattern)? {
        let mut walk = Walk {
            found: &mut found,
            folders: 0,
        };
        let parts: Vec<&str> = pattern
            .split('/')
            .filter(|p| !p.is_empty() && *p != ".")
            .collect();
        let start = if pattern.starts_with('/') {
            Path::new("/")
        } else {
            root
        };
        walk.below(start, &parts)?;
    }
    found.sort();
    found.dedup();
    Ok(found)
}

struct Walk<'a> {
    found: &'a mut Vec<PathBuf>,
    folders: usize,
}

impl Walk<'_> {
    fn below(&mut self, folder: &Path, parts: &[&str]) -> Result<(), String> {
        let Some((first, rest)) = parts.split_first() else {
            return Ok(());
        };
        self.folders += 1;
        if self.folders > MOST_FOLDERS {
            return Err(format!("it looks into more than {MOST_FOLDERS} folders"));
        }
        if *first == "**" {
            self.below(folder, rest)?;
            for (path, _) in entries(folder)? {
                let is_folder = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
                if is_folder && !is_hidden(&path) {
                    self.below(&path, parts)?;
                }
            }
            return Ok(());
        }
        if !first.contains(['*', '?', '[']) {
            return self.take(folder.join(first), rest);
        }
        let regex = of_names(first)?;
        for (path, name) in entries(folder)? {
            if regex.is_match(&name) && (first.starts_with('.') || !is_hidden(&path)) {
                self.take(path, rest)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, path: PathBuf, rest: &[&str]) -> Result<(), String> {
        if !rest.is_empty() {
            return match path.is_dir() {
                true => self.below(&path, rest),
                false => Ok(()),
            };
        }
        if path.is_file() {
            self.found.push(path);
        }
        match self.found.len() > MOST_FILES {
            true => Err(format!("it names more than {MOST_FILES} files")),
            false => Ok(()),
        }
    }
}

/// What stands in a folder; one that is not there has nothing.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let Ok(read) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let entries = read.flatten().map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (entry.path(), name)
    });
    Ok(entries.collect())
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with('.'))
}

/// One part of a path as a regular expression of names.
fn of_names(part: &str) -> Result<Regex, String> {
    let mut source = String::from("^(?s:");
    let mut chars = part.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => source.push_str(".*"),
            '?' => source.push('.'),
            '[' => {
                source.push('[');
                if matches!(chars.peek(), Some('!' | '^')) {
                    chars.next();
                    source.push('^');
                }
                for c in chars.by_ref() {
                    match c {
                        ']' => break,
                        '-' => source.push('-'),
                        c => source.push_str(&regex::escape(&c.to_string())),
                    }
                }
                source.push(']');
            }
            c => source.push_str(&regex::escape(&c.to_string())),
        }
    }
    source.push_str(")$");
    Regex::new(&source).map_err(|_| format!("the pattern `{part}` is not read"))
}

/// The patterns that braces stand for: `{a,b}.txt` is `a.txt` and `b.txt`.
fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        if open.len() + done.len() > MOST_ALTERNATIVES {
            return Err(format!("the pattern `{pattern}` has too many alternatives"));
        }
        // An innermost pair of braces with a comma.
        let pair = pattern.match_indices('}').find_map(|(close, _)| {
            let start = pattern.get(..close)?.rfind('{')?;
            let inside = pattern.get(start + 1..close)?;
            inside.contains(',').then_some((start, close))
        });
        let Some((start, close)) = pair else {
            done.push(pattern);
            continue;
        };
        let (before, after) = (&pattern[..start], &pattern[close + 1..]);
        for part in pattern[start + 1..close].split(',') {
            open.push(format!("{before}{part}{after}"));
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "a.yaml",
            "b.yaml",
            "c.txt",
            ".hidden.yaml",
            "deep/d.yaml",
            "deep/e/f.yaml",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let named = |pattern: &str| {
            let found = files(folder.path(), pattern).unwrap();
            let names = found
                .iter()
                .map(|path| path.strip_prefix(folder.path()).unwrap());
            let names: Vec<String> = names.map(|name| name.display().to_string()).collect();
            names.join(" ")
        };
        for (pattern, expected) in [
            ("*.yaml", "a.yaml b.yaml"),
            ("[ac].*", "a.yaml c.txt"),
            ("[!a].yaml", "b.yaml"),
            ("{a,c}.{yaml,txt}", "a.yaml c.txt"),
            ("**/*.yaml", "a.yaml b.yaml deep/d.yaml deep/e/f.yaml"),
            ("deep/**/f.yaml", "deep/e/f.yaml"),
            ("?.txt", "c.txt"),
            ("a.yaml", "a.yaml"),
            ("none/*", ""),
            ("deep", ""),
        ] {
            assert_eq!(named(pattern), expected, "{pattern}");
        }
        for (text, expected) in [
            ("cases/*.yaml", true),
            ("What is {{a}}/{{b}}?", true),
            ("[INST] {{q}} [/INST]", true),
            ("{{a}}/{{b}}", false),
            ("{a,b}.txt", true),
        ] {
            assert_eq!(is_pattern(text), expected, "{text}");
        }
    }
}
