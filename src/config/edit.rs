//! Some keys of a `qeval.toml` changed, and everything else as its author wrote it, comments and
//! all.

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use crate::train::{LoraSection, TargetSelection, TrainSection};

use super::file::parse;

/// The text of a file with the settings that tuning changes: those of `lora` and `train` that the
/// file does not have already. A key that it does not name is added, with `note` as its comment.
///
/// # Errors
/// The text is no TOML, or a section is no table.
pub fn with_settings(
    text: &str,
    lora: &LoraSection,
    train: &TrainSection,
    note: &str,
) -> Result<String, String> {
    let was = parse("qeval.toml", text).map_err(|errors| errors.to_string())?;
    let mut document: DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| e.to_string())?;
    let modules = match &lora.target_modules {
        TargetSelection::AllLinear => value("all-linear"),
        TargetSelection::Named(names) => value(names.iter().collect::<Array>()),
    };
    let number = |n: f64| match n.fract() == 0.0 && n.abs() < 1e15 {
        true => value(n as i64),
        false => float(n),
    };
    let rank = value(i64::try_from(lora.rank).unwrap_or(i64::MAX));
    let changes = [
        ("lora", "rank", rank, was.lora.rank != lora.rank),
        (
            "lora",
            "alpha",
            number(lora.alpha),
            was.lora.alpha != lora.alpha,
        ),
        (
            "lora",
            "target_modules",
            modules,
            was.lora.target_modules != lora.target_modules,
        ),
        (
            "train",
            "learning_rate",
            float(train.learning_rate),
            was.train.learning_rate != train.learning_rate,
        ),
        (
            "train",
            "num_train_epochs",
            number(train.num_train_epochs),
            was.train.num_train_epochs != train.num_train_epochs,
        ),
        (
            "train",
            "rehearsal_weight",
            number(train.rehearsal_weight),
            was.train.rehearsal_weight != train.rehearsal_weight,
        ),
    ];
    for (section, key, new, differs) in changes {
        if differs {
            set(&mut document, section, key, new, note)?;
        }
    }
    Ok(document.to_string())
}

/// A number as people write rates: `2.3e-4`, `0.01`.
fn float(number: f64) -> Item {
    let short = format!("{number}");
    let text = if short.len() > 6 {
        format!("{number:e}")
    } else {
        short
    };
    let written = text.parse::<Value>().map(Item::Value);
    written.unwrap_or_else(|_| value(number))
}

fn set(
    document: &mut DocumentMut,
    section: &'static str,
    key: &str,
    mut new: Item,
    note: &str,
) -> Result<(), String> {
    let item = document
        .entry(section)
        .or_insert_with(|| Item::Table(Table::new()));
    let table = item
        .as_table_like_mut()
        .ok_or_else(|| format!("[{section}] is no table"))?;
    match (table.get_mut(key), new.as_value_mut()) {
        // In its place: what stands before its key and behind its value is its author's.
        (Some(old), Some(now)) => {
            if let Some(was) = old.as_value() {
                *now.decor_mut() = was.decor().clone();
            }
            *old = new;
        }
        (_, now) => {
            if let Some(now) = now {
                now.decor_mut().set_suffix(format!("  # {note}"));
            }
            table.insert(key, new);
        }
    }
    if let Some(inline) = item.as_inline_table_mut() {
        // On one line a comment would hide what follows it.
        inline.fmt();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_TOML;

    fn sections() -> (LoraSection, TrainSection) {
        let lora = LoraSection {
            rank: 16,
            alpha: 32.0,
            target_modules: TargetSelection::Named(vec!["gate_proj".into(), "up_proj".into()]),
            ..LoraSection::default()
        };
        let train = TrainSection {
            learning_rate: 2.31e-4,
            num_train_epochs: 4.0,
            rehearsal_weight: 0.3,
            ..TrainSection::default()
        };
        (lora, train)
    }

    fn changed(text: &str) -> String {
        let (lora, train) = sections();
        let changed = with_settings(text, &lora, &train, "chosen by tune-0001").unwrap();
        let read = parse("qeval.toml", &changed).unwrap_or_else(|e| panic!("{e}\n{changed}"));
        assert_eq!((read.lora, read.train), (lora, train));
        changed
    }

    #[test]
    fn only_the_chosen_keys_change_and_comments_stay() {
        let changed = changed(DEFAULT_TOML);
        let lines = DEFAULT_TOML.lines().zip(changed.lines());
        let differing: Vec<&str> = lines.filter(|(a, b)| a != b).map(|(_, b)| b).collect();
        insta::assert_snapshot!(differing.join("\n"), @r#"
        rank = 16                      # rank of the update; more can memorise more
        alpha = 32                    # the update is scaled by alpha / rank
        target_modules = ["gate_proj", "up_proj"] # or a list: ["q_proj", "v_proj"]; fewer modules change less
        num_train_epochs = 4          # passes over the examples; small data is memorised after 3
        learning_rate = 2.31e-4          # highest rate
        rehearsal_weight = 0.3       # staying at the base's answers to rehearsal prompts, against learning
        "#);
        assert_eq!(DEFAULT_TOML.lines().count(), changed.lines().count());
    }

    #[test]
    fn a_key_that_is_missing_is_added_with_where_it_comes_from() {
        let text = "# Mine.\nlora = { rank = 8 }  # small\n[train]\nseed = 7  # lucky\n\n[vars]\nname = \"Pip\"\n";
        insta::assert_snapshot!(changed_but_seed(text), @r#"
        # Mine.
        lora = { rank = 16, alpha = 32, target_modules = ["gate_proj", "up_proj"] }  # small
        [train]
        seed = 7  # lucky
        learning_rate = 2.31e-4  # chosen by tune-0001
        num_train_epochs = 4  # chosen by tune-0001
        rehearsal_weight = 0.3  # chosen by tune-0001

        [vars]
        name = "Pip"
        "#);
    }

    /// As [`changed`], for a file with a seed of its own.
    fn changed_but_seed(text: &str) -> String {
        let (lora, train) = sections();
        let changed = with_settings(text, &lora, &train, "chosen by tune-0001").unwrap();
        let read = parse("qeval.toml", &changed).unwrap_or_else(|e| panic!("{e}\n{changed}"));
        assert_eq!(
            (read.lora, read.train),
            (lora, TrainSection { seed: 7, ..train })
        );
        changed
    }

    #[test]
    fn what_is_chosen_already_changes_nothing() {
        let (lora, train) = (LoraSection::default(), TrainSection::default());
        for text in [DEFAULT_TOML, "", "[lora]\nrank=8 # as it is\n"] {
            assert_eq!(
                with_settings(text, &lora, &train, "note").as_deref(),
                Ok(text)
            );
        }
    }
}
