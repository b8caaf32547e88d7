//! Templates of other programs, as those programs render them: Jinja2 with Python's values for
//! lm-evaluation-harness, Nunjucks with JavaScript's for promptfoo.
//!
//! The two languages look alike and differ where it is not seen: `{{ 9.0 }}` prints `9.0` or `9`,
//! `{{ true }}` prints `True` or `true`, an empty list is false or true, `"1" == 1` is false or
//! true, a missing name is an error or nothing. A prompt or an expected answer that differs in one
//! of these is another probe. So both are read here, as far as tasks and configurations use them,
//! and everything else is refused by name rather than guessed.
//!
//! A template is somebody's program. Every rendering has a budget of steps, of text made on the
//! way, and of depth ([`budget`]): one that loops, doubles a string, or nests without end is
//! refused.
//!
//! Source -> tokens (`lex`) -> a tree in one vector (`parse`) -> text (`eval`, with `filters` and
//! `methods`). `print` says how values look.

mod budget;
mod eval;
mod filters;
mod lex;
mod methods;
mod operators;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod value;

pub(super) use budget::begin;
pub(super) use parse::{Template, literal};
pub(super) use print::printed;
pub(super) use value::{Language, Vars};
