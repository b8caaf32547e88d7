//! Limits of a chat template, which is somebody's program.
//!
//! It comes with the model and runs before anything is asked. Its work and what it writes cost fuel
//! ([`minijinja::Environment::set_fuel`]); its recursion has a limit of minijinja's. What minijinja
//! does not limit is the depth of one expression (`not not not ...`, `a.b.b.b...`), whose tree is
//! walked recursively: so the signs of one tag are counted, and templates are read and rendered with
//! a large stack.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use minijinja::{Environment, Error, ErrorKind};

/// Fuel of one rendering. A template that walks a conversation of a hundred turns with tools takes
/// below a hundredth of it; all of it is gone within seconds, and pays for about 256 MiB of text.
pub(super) const FUEL: u64 = 4_000_000;

/// Most bytes of a template. The longest that models bring have below 50 KiB.
const MOST_BYTES: usize = 256 << 10;

/// Most words and signs between `{{` and `}}` or `{%` and `%}`: the depth of an expression cannot be
/// larger.
const MOST_SIGNS: usize = 4000;

/// Room for the deepest tree that the limits above allow, and for the deepest value that fuel pays
/// for. Address space, not memory, until it is used.
const STACK: usize = 512 << 20;

/// How often a template that takes its time is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Most time of one rendering: fuel is gone long before.
const MOST_TIME: Duration = Duration::from_secs(10);

/// Most bytes by which the process may grow meanwhile.
const MOST_GROWTH: usize = 1 << 29;

/// Refuses a template that is too long, or has too deep an expression.
pub(super) fn check(source: &str) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::new(ErrorKind::SyntaxError, what));
    if source.len() > MOST_BYTES {
        return refuse(format!(
            "it has {} bytes; at most {MOST_BYTES} are read",
            source.len()
        ));
    }
    let mut rest = source;
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let line = 1 + source[..source.len() - rest.len() + start]
            .matches('\n')
            .count();
        let (signs, length) = signs(&rest[start + 2..]);
        if signs > MOST_SIGNS {
            return refuse(format!(
                "the expression in line {line} has {signs} words and signs; at most {MOST_SIGNS} \
                 are read"
            ));
        }
        rest = &rest[start + 2 + length..];
    }
    Ok(())
}

/// Words and signs up to the end of a tag, and its length in bytes.
fn signs(tag: &str) -> (usize, usize) {
    let (mut signs, mut quote, mut in_word, mut escaped) = (0, None, false, false);
    let mut before = ' ';
    for (at, c) in tag.char_indices() {
        if let Some(open) = quote {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == open {
                quote = None;
            }
            continue;
        }
        if c == '}' && matches!(before, '}' | '%') {
            return (signs, at + 1);
        }
        let word = c.is_alphanumeric() || c == '_';
        let goes_on = word && in_word;
        if !c.is_whitespace() && !goes_on {
            signs += 1;
        }
        if matches!(c, '"' | '\'') {
            quote = Some(c);
        }
        in_word = word;
        before = c;
    }
    (signs, tag.len())
}

/// Does something with a template on a thread of its own, which has a large stack.
///
/// A last resort against what fuel does not pay for (lists that double are joined late and at once):
/// a thread that takes too much time or memory is left alone, and told of as one out of fuel. Whoever
/// hears that gives up, and the process with it.
pub(super) fn with_room<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let failed = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    let (sender, receiver) = mpsc::sync_channel(1);
    let (begun, before) = (Instant::now(), resident());
    std::thread::Builder::new()
        .name("chat template".into())
        .stack_size(STACK)
        .spawn(move || {
            // Nobody hears one that was given up.
            let _ = sender.send(work());
        })
        .map_err(|e| failed(format!("no thread to read it with: {e}")))?;
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(failed("minijinja cannot read it".into()));
            }
            Err(RecvTimeoutError::Timeout) => {
                let grown = resident().saturating_sub(before);
                if begun.elapsed() > MOST_TIME || grown > MOST_GROWTH {
                    return Err(Error::from(ErrorKind::OutOfFuel));
                }
            }
        }
    }
}

/// Bytes of memory that this process holds; 0 where the system does not say.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// Sets the limits that minijinja keeps.
pub(super) fn limit(environment: &mut Environment<'_>) {
    environment.set_fuel(Some(FUEL));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_counted_to_the_end_of_a_tag() {
        assert_eq!(signs(" a.b }} x y z"), (3 + 1, 7));
        assert_eq!(signs(" 'it''s }} %}' ~ x %} rest"), (2 + 3, 21));
        assert_eq!(signs(r" 'a\'}}' }}"), (2, 11));
        assert_eq!(signs(" not not x"), (3, 10));
    }
}
