//! The guide: one topic a page, for what README has no room for.
//!
//! The pages are the Markdown files in `src/guide/`, so that one text is read on a forge, here, and
//! in a terminal. A page names another by its title and never links to it: a link cannot hold in all
//! three. The program reads them from [`TOPICS`].

/// Makes a module of each page, so that it stands in the documentation, and the list of all.
macro_rules! pages {
    ($($topic:literal, $module:ident, $file:literal;)+) => {
        $(
            #[doc = include_str!($file)]
            pub mod $module {}
        )+

        /// Every topic in the order of reading: its name, and its text in Markdown, which begins with
        /// `# ` and the title.
        ///
        /// ```
        /// let (name, text) = qeval::guide::TOPICS[0];
        /// assert_eq!(name, "commands");
        /// assert!(text.starts_with("# Commands\n"));
        /// ```
        pub const TOPICS: &[(&str, &str)] = &[$(($topic, include_str!($file))),+];
    };
}

pages! {
    "commands", commands, "guide/commands.md";
    "verdict", verdict, "guide/verdict.md";
    "why", why, "guide/why.md";
    "error-rates", error_rates, "guide/error-rates.md";
    "suites", suites, "guide/suites.md";
    "checks", checks, "guide/checks.md";
    "snapshots", snapshots, "guide/snapshots.md";
    "ci", ci, "guide/ci.md";
    "training", training, "guide/training.md";
    "models", models, "guide/models.md";
    "servers", servers, "guide/servers.md";
    "ms-swift", ms_swift, "guide/ms-swift.md";
    "trainers", trainers, "guide/trainers.md";
    "exports", exports, "guide/exports.md";
    "speed", speed, "guide/speed.md";
    "changes", changes, "guide/changes.md";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    const WIDEST: usize = 100;

    fn read(name: &str) -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
    }

    /// Lines outside of fenced blocks.
    fn prose(text: &str) -> Vec<&str> {
        let mut fenced = false;
        let lines = text.lines().filter(|line| {
            let fence = line.starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        });
        lines.collect()
    }

    #[test]
    fn every_page_is_a_topic() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        let topics: BTreeSet<String> = TOPICS
            .iter()
            .map(|(name, _)| format!("{name}.md"))
            .collect();
        assert_eq!(files, topics);
        assert_eq!(topics.len(), TOPICS.len(), "a name stands twice");
    }

    #[test]
    fn readme_links_to_every_page() {
        let readme = read("README.md");
        for (name, _) in TOPICS {
            let link = format!("(src/guide/{name}.md)");
            assert!(readme.contains(&link), "README has no link {link}");
        }
    }

    #[test]
    fn pages_read_well_in_a_terminal() {
        for (name, text) in TOPICS {
            assert!(text.starts_with("# ") && text.ends_with('\n'), "{name}");
            for line in prose(text) {
                assert!(!line.contains(".md)"), "{name} links to a file: {line}");
                let long = line.chars().count() > WIDEST && !line.starts_with('|');
                assert!(!long, "{name}: more than {WIDEST} characters: {line}");
            }
        }
    }

    #[test]
    fn blocks_say_what_they_are() {
        // rustdoc takes a block without a word for Rust, and runs it.
        for (name, text) in TOPICS {
            let opening = text
                .lines()
                .filter(|line| line.starts_with("```"))
                .step_by(2);
            for fence in opening {
                assert_ne!(fence, "```", "{name}");
            }
        }
    }
}
