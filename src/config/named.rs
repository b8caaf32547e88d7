//! Where a key stands in `qeval.toml`: what it names may be missing, which shows long after the file
//! was read.

use std::path::Path;

use toml::de::DeTable;

use crate::toml_file::{Place, text};

/// The place of a key's value in a section of the file; `None` where it is not written, or where the
/// file cannot be read any more.
pub fn place_of(file: &Path, section: &str, key: &str) -> Option<Place> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).ok()?;
    let text = text(&name, &bytes).ok()?;
    let table = DeTable::parse(&text).ok()?;
    let section = table.get_ref().get(section)?.get_ref().as_table()?;
    let value = section.get(key)?;
    Some(Place::at(&name, &text, &value.span()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_place_where_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("qeval.toml");
        std::fs::write(
            &file,
            "[model]\npath = \"gone\"\n[gate]\nsuites = [\n  \"x\",\n]\n",
        )
        .unwrap();
        let of = |section, key| {
            let place = place_of(&file, section, key)?;
            let file = format!("{}:", file.display());
            Some(place.to_string().replace(&file, ""))
        };
        assert_eq!(of("model", "path").as_deref(), Some("2:8"));
        assert_eq!(of("gate", "suites").as_deref(), Some("4:10"));
        assert_eq!(of("gate", "tags"), None);
        assert_eq!(of("data", "sources"), None);
        assert_eq!(place_of(Path::new("nowhere.toml"), "model", "path"), None);
    }
}
