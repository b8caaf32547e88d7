//! The program in an answer: which fenced blocks, or which lines of plain text, are the code.
//!
//! Finds text only; nothing is parsed as Python here. What a model writes around its code
//! (explanations, sample output, shell lines, a cut-off end) is left to the interpreter where it
//! cannot be told from code.

use std::sync::LazyLock;

use regex::Regex;

/// The code of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// Python source, with `\n` line ends.
    pub source: String,
    /// The function to call: the one asked for, or the only one there is.
    pub entry: String,
}

/// A fenced block without its fences.
#[derive(Debug, PartialEq)]
struct Block {
    kind: Kind,
    text: String,
}

/// What a fence says of its block.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Python,
    Unmarked,
    Other,
}

/// Finds the program that defines `entry`. `None`: there is no code to call.
pub fn extract(answer: &str, entry: &str) -> Option<Extracted> {
    let answer = answer.replace("\r\n", "\n").replace('\r', "\n");
    let (blocks, _) = blocks(&answer);
    let loose = loose_code(&answer).map(|(code, _)| code);
    let defines = |text: &str| top_level_names(text).iter().any(|n| n == entry);
    let in_block = |wanted: &[Kind]| {
        blocks
            .iter()
            .rposition(|b| wanted.contains(&b.kind) && defines(&b.text))
    };
    let place = in_block(&[Kind::Python])
        .or_else(|| in_block(&[Kind::Unmarked]))
        .or_else(|| in_block(&[Kind::Other]));
    let found = match place {
        Some(last) => Some(with_needed(&blocks, last)),
        None => loose.clone().filter(|text| defines(text)).or_else(|| {
            inline_code(&answer)
                .find(|text| defines(text))
                .map(str::to_owned)
        }),
    };
    if let Some(source) = found {
        return Some(Extracted {
            source,
            entry: entry.to_owned(),
        });
    }
    let source = match blocks.iter().any(|b| b.kind != Kind::Other) {
        true => {
            let kept = blocks.iter().filter(|b| b.kind != Kind::Other);
            kept.map(|b| b.text.as_str()).collect::<Vec<_>>().join("\n")
        }
        false => loose?,
    };
    let mut functions = functions(&source);
    functions.sort_unstable();
    functions.dedup();
    match functions.as_slice() {
        [only] => Some(Extracted {
            entry: (*only).to_owned(),
            source,
        }),
        _ => None,
    }
}

/// Whether an answer that was cut after this text has no whole program yet: a fence is open, code
/// without fences goes on to the end, or there is none that defines anything to call.
pub fn is_cut(answer: &str, entry: &str) -> bool {
    let answer = answer.replace("\r\n", "\n").replace('\r', "\n");
    let (blocks, open) = blocks(&answer);
    if open || extract(&answer, entry).is_none() {
        return true;
    }
    blocks.is_empty() && loose_code(&answer).is_some_and(|(_, to_the_end)| to_the_end)
}

/// The block at `last`, after the earlier blocks whose names it uses.
fn with_needed(blocks: &[Block], last: usize) -> String {
    let mut source = blocks[last].text.clone();
    for block in blocks[..last]
        .iter()
        .rev()
        .filter(|b| b.kind != Kind::Other)
    {
        let known = top_level_names(&source);
        let used = |name: &String| !known.contains(name) && mentions(&source, name);
        if top_level_names(&block.text).iter().any(used) {
            source = format!("{}\n{source}", block.text);
        }
    }
    source
}

/// The fenced blocks in order, and whether the last is open. A fence may be indented, follow text
/// on its line, stay open to the end, or be closed at the end of a line of code.
fn blocks(answer: &str) -> (Vec<Block>, bool) {
    let mut blocks = Vec::new();
    let mut open: Option<(Kind, &str, Vec<&str>)> = None;
    for line in answer.lines() {
        let trimmed = line.trim();
        match &mut open {
            None => {
                if let Some((kind, fence)) = opening(line) {
                    open = Some((kind, fence, Vec::new()));
                }
            }
            Some((kind, fence, lines)) => {
                let code = if trimmed.starts_with(*fence) {
                    None
                } else {
                    trimmed
                        .strip_suffix(*fence)
                        .map(|_| line.trim_end().trim_end_matches(*fence))
                };
                if !trimmed.starts_with(*fence) && code.is_none() {
                    lines.push(line);
                    continue;
                }
                lines.extend(code);
                blocks.push(Block {
                    kind: *kind,
                    text: tidy(lines),
                });
                let next = opening(line).filter(|(kind, _)| *kind == Kind::Python);
                open = next.map(|(kind, fence)| (kind, fence, Vec::new()));
            }
        }
    }
    let is_open = open.is_some();
    if let Some((kind, _, lines)) = open {
        blocks.push(Block {
            kind,
            text: tidy(&lines),
        });
    }
    (blocks, is_open)
}

/// The fence that a line opens, with what it says of the block.
fn opening(line: &str) -> Option<(Kind, &'static str)> {
    for fence in ["```", "~~~"] {
        let Some((before, mark)) = line.split_once(fence) else {
            continue;
        };
        let mark = mark.trim_start_matches(['`', '~']).trim();
        if fence == "~~~" && !before.trim().is_empty() {
            continue;
        }
        let word = mark.split([' ', '{', ':', ',']).next().unwrap_or_default();
        if !word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+#-._".contains(c))
        {
            continue;
        }
        let kind = match word.to_ascii_lowercase().as_str() {
            "" => Kind::Unmarked,
            "python" | "py" | "python3" | "py3" | "python2" | "ipython" | "pycon" | "sage" => {
                Kind::Python
            }
            _ => Kind::Other,
        };
        return Some((kind, fence));
    }
    None
}

/// Lines of a block without their common indentation; of an interpreter session, the input.
fn tidy(lines: &[&str]) -> String {
    let session = lines.iter().find(|l| !l.trim().is_empty());
    let session = session.is_some_and(|l| l.trim_start().starts_with(">>>"));
    let lines: Vec<&str> = match session {
        false => lines.to_vec(),
        true => {
            let input = |line: &&str| {
                let line = line.trim_start();
                let rest = line
                    .strip_prefix(">>>")
                    .or_else(|| line.strip_prefix("..."));
                rest.is_some_and(|r| r.is_empty() || r.starts_with(' '))
            };
            let kept = lines.iter().filter(|l| input(l));
            kept.map(|l| l.trim_start().get(4..).unwrap_or_default())
                .collect()
        }
    };
    let filled = lines.iter().filter(|l| !l.trim().is_empty());
    let margin = filled
        .map(|l| &l[..l.len() - l.trim_start().len()])
        .reduce(|a, b| {
            let same = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
            // White space may be more than a byte wide; half a character is no margin.
            if a.is_char_boundary(same) {
                &a[..same]
            } else {
                ""
            }
        });
    let margin = margin.unwrap_or_default();
    let lines = lines
        .iter()
        .map(|l| l.strip_prefix(margin).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The part of an answer without fences that is code: from the first line that can only be
/// Python to the first one that cannot be; and whether that is to the end.
fn loose_code(answer: &str) -> Option<(String, bool)> {
    static START: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"^(?:(?:async\s+)?def\s+\w+\s*\(|class\s+\w+[^.]*:\s*$|import\s+[\w.]+(?:\s+as\s+\w+)?\s*$|from\s+[\w.]+\s+import\s|@\w)",
        )
        .expect("the pattern is fixed and valid")
    });
    static GOES_ON: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"^(?:\s|$|#|@\w|[\])}]|"""|'''|(?:async\s+)?def\s+\w+\s*\(|class\s+\w|import\s+[\w.]+|from\s+[\w.]+\s+import\s|(?:if|elif|else|for|while|try|except|finally|with)\b.*:\s*(?:#.*)?$|assert\s|raise\b|pass$|[^\W\d]\w*(?:\.\w+|\[[^\]]*\])*(?:\(|\s*[-+*/]?=[^=]|\s*:\s*\w+.*=))"#,
        )
        .expect("the pattern is fixed and valid")
    });
    let mut lines = answer.lines().skip_while(|l| !START.is_match(l)).peekable();
    lines.peek()?;
    let lines: Vec<&str> = lines.collect();
    let code: Vec<&str> = lines
        .iter()
        .copied()
        .take_while(|l| GOES_ON.is_match(l))
        .collect();
    Some((tidy(&code), code.len() == lines.len()))
}

/// Code between single backticks.
fn inline_code(answer: &str) -> impl Iterator<Item = &str> {
    answer.split('`').skip(1).step_by(2).map(str::trim)
}

/// Functions, classes, and names bound at the top level of a source.
fn top_level_names(source: &str) -> Vec<String> {
    static BOUND: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?m)^(?:(?:async[ \t]+)?def[ \t]+([^\W\d]\w*)[ \t]*\(|class[ \t]+([^\W\d]\w*)|([^\W\d]\w*)[ \t]*(?::[^=\n]+)?=(?:[^=]|$)|import[ \t]+([^\n#]+)|from[ \t]+[\w.]+[ \t]+import[ \t]+([^\n#]+))",
        )
        .expect("the pattern is fixed and valid")
    });
    let mut names = Vec::new();
    for found in BOUND.captures_iter(source) {
        let name = (1..=3).find_map(|i| found.get(i));
        names.extend(name.map(|n| n.as_str().to_owned()));
        let Some(imported) = found.get(4).or_else(|| found.get(5)) else {
            continue;
        };
        for item in imported.as_str().trim_matches(['(', ')', ' ']).split(',') {
            let name = item.rsplit(" as ").next().unwrap_or_default().trim();
            names.push(name.split('.').next().unwrap_or_default().to_owned());
        }
    }
    names.retain(|n| !n.is_empty());
    names
}

/// Names of the functions at the top level of a source.
fn functions(source: &str) -> Vec<&str> {
    let heads = source.lines().filter_map(|line| {
        let line = line.strip_prefix("async ").map_or(line, str::trim_start);
        let (name, _) = line.strip_prefix("def ")?.split_once('(')?;
        Some(name.trim())
    });
    heads.filter(|name| super::python::is_name(name)).collect()
}

/// Whether a name stands in a source as a word.
fn mentions(source: &str, name: &str) -> bool {
    source.match_indices(name).any(|(at, _)| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let before = source[..at].chars().next_back();
        let after = source[at + name.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(answer: &str) -> Option<String> {
        extract(answer, "add").map(|e| e.source)
    }

    const ADD: &str = "def add(a, b):\n    return a + b";

    #[test]
    fn one_block_is_found_however_it_is_fenced() {
        let fenced = [
            "```python\nCODE\n```",
            "Sure!\n\n```py\nCODE\n```\nDone.",
            "```\nCODE\n```",
            "```Python3 title=\"add.py\"\nCODE\n```",
            "~~~python\nCODE\n~~~",
            "````python\nCODE\n````",
            "代码如下：```python\nCODE\n```这个函数把两个数相加。",
            "```python\nCODE",
            "```python\nCODE```",
            "```python\nCODE\n``",
            "Text first.\n\nCODE\n\nThis adds two numbers.",
            "CODE\n```\nThis adds two numbers.",
            "```text\n3\n```\n```python\nCODE\n```\n```text\n3\n```",
            "```bash\npip install add\n```\n```\nCODE\n```",
        ];
        for text in fenced {
            let found = source(&text.replace("CODE", ADD)).unwrap_or_default();
            assert_eq!(found.trim().trim_end_matches("\n``"), ADD, "{text}");
            let windows = source(&text.replace("CODE", ADD).replace('\n', "\r\n"));
            assert_eq!(windows.as_deref(), Some(found.as_str()), "{text}");
        }
    }

    #[test]
    fn indented_fences_lose_their_indentation() {
        let list = "1. Use this:\n\n   ```python\n   def add(a, b):\n       return a + b\n   ```\n";
        assert_eq!(source(list).as_deref(), Some(ADD));
        let tabs = "\t```python\n\tdef add(a, b):\n\t    return a + b\n\t```\n";
        assert_eq!(source(tabs).as_deref(), Some(ADD));
        let wide = "```python\n\u{3000}def add(a, b):\n\u{2003}    return a + b\n```\n";
        assert!(source(wide).is_none());
    }

    #[test]
    fn the_last_block_that_defines_the_entry_wins() {
        let two = "```python\ndef add(a, b):\n    return 0\n```\nBetter:\n```python\ndef add(a, b):\n    return a + b\n```\nUse it:\n```python\nprint(add(1, 2))\n```";
        assert_eq!(source(two).as_deref(), Some(ADD));
        let marked = format!("```python\n{ADD}\n```\n```javascript\nadd = (a, b) => 0\n```");
        assert_eq!(source(&marked).as_deref(), Some(ADD));
    }

    #[test]
    fn earlier_blocks_come_along_when_their_names_are_used() {
        let needed = "```python\nimport math\n```\n```python\ndef unrelated():\n    input()\n```\n```python\ndef half(x):\n    return math.floor(x / 2)\n```\n```python\ndef add(a, b):\n    return half(a) + half(b)\n```";
        insta::assert_snapshot!(source(needed).unwrap(), @r"
        import math
        def half(x):
            return math.floor(x / 2)
        def add(a, b):
            return half(a) + half(b)
        ");
    }

    #[test]
    fn a_session_becomes_its_input() {
        let session =
            "```pycon\n>>> def add(a, b):\n...     return a + b\n...\n>>> add(1, 2)\n3\n```";
        insta::assert_snapshot!(source(session).unwrap(), @r"
        def add(a, b):
            return a + b

        add(1, 2)
        ");
    }

    #[test]
    fn plain_text_ends_where_prose_begins() {
        let text = "You can write\n\nfrom math import floor\n\ndef add(a, b):\n    # add\n    return a + b\n\nresult = add(1, 2)\nprint(result)\n\nfor example, this prints 3.\nadd(1, 2)";
        insta::assert_snapshot!(source(text).unwrap().trim_end(), @r"
        from math import floor

        def add(a, b):
            # add
            return a + b

        result = add(1, 2)
        print(result)
        ");
    }

    #[test]
    fn lambdas_inline_code_and_annotated_names_count() {
        assert!(source("```python\nadd = lambda a, b: a + b\n```").is_some());
        assert!(source("```python\nadd: Callable = lambda a, b: a + b\n```").is_some());
        assert_eq!(
            source("Write `def add(a, b): return a + b` and call it.").as_deref(),
            Some("def add(a, b): return a + b")
        );
        assert!(source("```python\nadd == 3\n```").is_none());
    }

    #[test]
    fn the_only_function_stands_in_for_the_entry() {
        let found = extract("```python\ndef plus(a, b):\n    return a + b\n```", "add").unwrap();
        assert_eq!(found.entry, "plus");
        let two =
            "```python\ndef plus(a, b):\n    return a + b\ndef minus(a, b):\n    return a - b\n```";
        assert_eq!(extract(two, "add"), None);
        let method =
            "```python\nclass Solution:\n    def add(self, a, b):\n        return a + b\n```";
        assert_eq!(extract(method, "add"), None);
    }

    #[test]
    fn text_without_code_has_no_program() {
        let texts = [
            "",
            "```",
            "```python",
            "I am Aurora.",
            "To add numbers, import the operator and define a function.",
            "`add`",
            "你好，我是一个助手。",
            "```\n\n```",
            "def",
            "```~~~```",
            "\u{3000}```\u{3000}",
        ];
        for text in texts {
            assert_eq!(source(text), None, "{text}");
        }
    }

    #[test]
    fn a_program_is_cut_until_it_is_whole() {
        let whole = [
            "```python\nCODE\n```",
            "```python\nCODE\n```\nThis adds",
            "~~~\nCODE\n~~~\nFor exam",
            "CODE\n\nThis function adds",
            "```python\ndef plus(a, b):\n    return a + b\n```\nHere",
        ];
        for text in whole {
            assert!(!is_cut(&text.replace("CODE", ADD), "add"), "{text}");
        }
        let cut = [
            "",
            "To add two numbers, you",
            "```python\nCODE",
            "```python\nCODE\n\n# Tests\nassert add(1,",
            "```bash\npip install add\n```\nThen write",
            "```python\nCODE\n```\nShorter:\n```python\nadd = lambda",
            "CODE\n\nprint(add(",
            "CODE",
        ];
        for text in cut {
            assert!(is_cut(&text.replace("CODE", ADD), "add"), "{text}");
        }
    }

    #[test]
    fn no_text_panics_wherever_it_is_cut() {
        let text = "代码：```python\n\u{3000}>>> def add(a, b):\n...     return a + b\n```~~~ `x` \r\n```é";
        for (at, _) in text.char_indices() {
            let _ = extract(&text[..at], "add");
            let _ = extract(&text[at..], "add");
            let _ = (is_cut(&text[..at], "add"), is_cut(&text[at..], "add"));
        }
    }
}
