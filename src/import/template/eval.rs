//! A tree and variables -> text.

use std::rc::Rc;

use super::budget::Budget;
use super::parse::{Expr, Id, Node, Template};
use super::print;
use super::value::{Language, Value, Vars, missing};
use super::{filters, methods, operators};

/// Deepest recursion through a tree: chains such as `a.b.c` and `a + b + c` are deep on one side.
const DEEPEST: usize = 200;
/// Most numbers of a `range`, as Jinja's sandbox has it.
const LONGEST_RANGE: usize = 100_000;

/// The text of a template.
pub(super) fn render(template: &Template, vars: &Vars) -> Result<String, String> {
    let mut run = Run {
        expressions: &template.expressions,
        language: template.language,
        globals: vars,
        scopes: vec![Vec::new()],
        loops: 0,
        depth: 0,
        budget: Budget::new(),
    };
    let mut text = String::new();
    run.nodes(&template.nodes, &mut text)?;
    Ok(text)
}

/// The value of an expression that may have literals alone.
pub(super) fn literal(expressions: &[Expr], root: Id) -> Result<Value, String> {
    let vars = Vars { values: Vec::new() };
    let mut run = Run {
        expressions,
        language: Language::Python,
        globals: &vars,
        scopes: Vec::new(),
        loops: 0,
        depth: 0,
        budget: Budget::new(),
    };
    run.literal(root)
}

struct Run<'a> {
    expressions: &'a [Expr],
    language: Language,
    globals: &'a Vars,
    scopes: Vec<Vec<(String, Value)>>,
    /// How many `for` stand around.
    loops: usize,
    depth: usize,
    budget: Budget,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], out: &mut String) -> Result<(), String> {
        for node in nodes {
            self.budget.step()?;
            match node {
                Node::Text(text) => self.write(text, out)?,
                Node::Output(id) => {
                    let value = self.value(*id)?;
                    match (&value, self.language) {
                        (Value::Null, Language::JavaScript) => {}
                        (Value::Text(text), _) => self.write(text, out)?,
                        _ => self.write(&print::text(&value, self.language)?, out)?,
                    }
                }
                Node::Set(name, id) => {
                    if self.loops > 0 && self.language == Language::JavaScript {
                        return Err("`set` inside of `for` is not read".into());
                    }
                    let value = self.value(*id)?;
                    if let Some(scope) = self.scopes.last_mut() {
                        scope.retain(|(known, _)| known != name);
                        scope.push((name.clone(), value));
                    }
                }
                Node::If(branches, otherwise) => {
                    let mut taken = otherwise;
                    for (condition, body) in branches {
                        if self.truth(*condition)? {
                            taken = body;
                            break;
                        }
                    }
                    self.nodes(taken, out)?;
                }
                Node::For {
                    names,
                    items,
                    body,
                    otherwise,
                } => self.repeat(names, *items, body, otherwise, out)?,
            }
        }
        Ok(())
    }

    fn write(&self, text: &str, out: &mut String) -> Result<(), String> {
        self.budget.make(text.len())?;
        out.push_str(text);
        Ok(())
    }

    fn repeat(
        &mut self,
        names: &[String],
        items: Id,
        body: &[Node],
        otherwise: &[Node],
        out: &mut String,
    ) -> Result<(), String> {
        let whole = self.value(items)?;
        let items = self.items(&whole, names.len())?;
        if items.is_empty() {
            return self.nodes(otherwise, out);
        }
        let count = items.len();
        self.loops += 1;
        for (n, item) in items.into_iter().enumerate() {
            self.budget.step()?;
            let mut scope = vec![("loop".to_owned(), self.loop_value(n, count))];
            match (names, item) {
                ([name], item) => scope.push((name.clone(), item)),
                (names, Value::List(parts) | Value::View(parts)) if parts.len() == names.len() => {
                    scope.extend(names.iter().cloned().zip(parts.iter().cloned()));
                }
                _ => return Err("a `for` with more names than parts".into()),
            }
            self.scopes.push(scope);
            let done = self.nodes(body, out);
            self.scopes.pop();
            done?;
        }
        self.loops -= 1;
        Ok(())
    }

    /// What a `for` goes through.
    fn items(&self, whole: &Value, names: usize) -> Result<Vec<Value>, String> {
        let items = match (whole, self.language) {
            (Value::List(items) | Value::View(items), _) => items.to_vec(),
            (Value::Map(pairs), Language::Python) => pairs
                .iter()
                .map(|(key, _)| Value::Text(Rc::clone(key)))
                .collect(),
            (Value::Map(pairs), Language::JavaScript) if names == 2 => {
                let pair = |(key, value): &(Rc<str>, Value)| {
                    Value::list(vec![Value::Text(Rc::clone(key)), value.clone()])
                };
                pairs.iter().map(pair).collect()
            }
            (Value::Text(text), Language::Python) => {
                text.chars().map(|c| Value::text(c.to_string())).collect()
            }
            (Value::Undefined(name), _) => return Err(missing(name)),
            (other, _) => return Err(format!("`for` goes through {}", other.kind())),
        };
        self.budget.make(items.len() * 16)?;
        Ok(items)
    }

    fn loop_value(&self, n: usize, count: usize) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let number = |n: usize| match self.language {
            Language::Python => Value::Int(i64::try_from(n).unwrap_or(i64::MAX)),
            Language::JavaScript => Value::Float(n as f64),
        };
        let pairs = [
            ("index", number(n + 1)),
            ("index0", number(n)),
            ("revindex", number(count - n)),
            ("revindex0", number(count - n - 1)),
            ("first", Value::Bool(n == 0)),
            ("last", Value::Bool(n + 1 == count)),
            ("length", number(count)),
        ];
        let pairs = pairs.map(|(key, value)| (key.into(), value));
        Value::Map(Rc::new(pairs.into()))
    }

    fn truth(&mut self, id: Id) -> Result<bool, String> {
        let value = self.value(id)?;
        match (&value, self.language) {
            // Jinja is strict here, Nunjucks is not.
            (Value::Undefined(name), Language::Python) => Err(missing(name)),
            _ => Ok(value.is_true(self.language)),
        }
    }

    fn name(&self, name: &str) -> Value {
        let scopes = self.scopes.iter().rev();
        let mut local = scopes.flat_map(|scope| scope.iter());
        let local = local.find(|(known, _)| known == name);
        let global = || {
            let mut globals = self.globals.values.iter();
            globals.find(|(known, _)| **known == *name)
        };
        match local {
            Some((_, value)) => value.clone(),
            None => match global() {
                Some((_, value)) => value.clone(),
                None => Value::Undefined(name.into()),
            },
        }
    }

    fn expr(&self, id: Id) -> Result<&Expr, String> {
        self.expressions
            .get(id)
            .ok_or_else(|| "a part of it is missing".into())
    }

    fn values(&mut self, ids: &[Id]) -> Result<Vec<Value>, String> {
        ids.iter().map(|id| self.value(*id)).collect()
    }

    fn value(&mut self, id: Id) -> Result<Value, String> {
        self.budget.step()?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!(
                "an expression has more than {DEEPEST} parts in a row"
            ));
        }
        let value = self.evaluated(id);
        self.depth -= 1;
        value
    }

    fn evaluated(&mut self, id: Id) -> Result<Value, String> {
        // The tree outlives the run: it is not borrowed from `self`.
        let expressions = self.expressions;
        let Some(expr) = expressions.get(id) else {
            return Err("a part of it is missing".into());
        };
        Ok(match expr {
            Expr::Const(value) => value.clone(),
            Expr::Name(name) => self.name(name),
            Expr::List(items) => Value::list(self.values(items)?),
            Expr::Tuple(_) => return Err("a tuple is not read".into()),
            Expr::Map(pairs) => {
                let mut made: Vec<(Rc<str>, Value)> = Vec::new();
                for (key, value) in pairs {
                    let Value::Text(key) = self.value(*key)? else {
                        return Err("a map whose keys are no texts".into());
                    };
                    let value = self.value(*value)?;
                    made.retain(|(known, _)| *known != key);
                    made.push((key, value));
                }
                Value::Map(Rc::new(made))
            }
            Expr::Attribute(value, name) => {
                let value = self.value(*value)?;
                self.attribute(&value, name)?
            }
            Expr::Index(value, index) => {
                let value = self.value(*value)?;
                let index = self.value(*index)?;
                self.item(&value, &index)?
            }
            Expr::Slice(value, parts) => {
                let value = self.value(*value)?;
                let parts = parts.map(|part| part.map(|id| self.value(id)));
                self.slice(&value, parts)?
            }
            Expr::Call(callee, arguments) => self.call(*callee, arguments)?,
            Expr::Filter(value, name, arguments) => {
                let value = self.value(*value)?;
                let arguments = self.values(arguments)?;
                filters::apply(name, &value, &arguments, self.language, &self.budget)?
            }
            Expr::Test(value, name, arguments) => {
                let value = self.value(*value)?;
                let arguments = self.values(arguments)?;
                Value::Bool(filters::test(name, &value, &arguments, self.language)?)
            }
            Expr::Not(value) => Value::Bool(!self.truth(*value)?),
            Expr::Negative(value) => match self.value(*value)? {
                Value::Int(whole) => {
                    Value::Int(whole.checked_neg().ok_or("a number that is too large")?)
                }
                Value::Float(float) => Value::Float(-float),
                other => return Err(format!("`-` before {}", other.kind())),
            },
            Expr::Binary(operator, a, b) => {
                let (a, b) = (self.value(*a)?, self.value(*b)?);
                operators::binary(*operator, &a, &b, self.language, &self.budget)?
            }
            Expr::Compare(first, steps) => {
                let mut left = self.value(*first)?;
                for (operator, right) in steps {
                    let right = match self.expr(*right)? {
                        // Of a tuple only its members are asked for.
                        Expr::Tuple(items) if operator.ends_with("in") => {
                            let items = items.clone();
                            Value::list(self.values(&items)?)
                        }
                        _ => self.value(*right)?,
                    };
                    if !operators::compare(operator, &left, &right, self.language)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Value::Bool(true)
            }
            Expr::And(a, b) => {
                let left = self.value(*a)?;
                self.strict(&left)?;
                if left.is_true(self.language) {
                    self.value(*b)?
                } else {
                    left
                }
            }
            Expr::Or(a, b) => {
                let left = self.value(*a)?;
                self.strict(&left)?;
                if left.is_true(self.language) {
                    left
                } else {
                    self.value(*b)?
                }
            }
            Expr::If(condition, then, otherwise) => match (self.truth(*condition)?, otherwise) {
                (true, _) => self.value(*then)?,
                (false, Some(otherwise)) => self.value(*otherwise)?,
                // Jinja's is not strict, though every other missing value is.
                (false, None) => Value::text(""),
            },
        })
    }

    fn strict(&self, value: &Value) -> Result<(), String> {
        match (value, self.language) {
            (Value::Undefined(name), Language::Python) => Err(missing(name)),
            _ => Ok(()),
        }
    }

    /// `value.name`
    fn attribute(&self, value: &Value, name: &str) -> Result<Value, String> {
        match (value, self.language) {
            (Value::Undefined(of), Language::Python) => Err(missing(of)),
            (Value::Map(_), Language::Python) if methods::is_of_dict(name) => {
                Err(format!("`.{name}` is a method of every map there"))
            }
            (Value::Map(pairs), _) => Ok(find(pairs, name)),
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            (Value::List(items), Language::JavaScript) if name == "length" => {
                Ok(Value::Float(items.len() as f64))
            }
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            (Value::Text(text), Language::JavaScript) if name == "length" => {
                Ok(Value::Float(text.encode_utf16().count() as f64))
            }
            (Value::Undefined(of), Language::JavaScript) => {
                Ok(Value::Undefined(format!("{of}.{name}").into()))
            }
            _ => Ok(Value::Undefined(name.into())),
        }
    }

    /// `value[index]`
    fn item(&self, value: &Value, index: &Value) -> Result<Value, String> {
        let missing_item = || Value::Undefined("an index that is not there".into());
        match (value, index) {
            (Value::Undefined(of), _) if self.language == Language::Python => Err(missing(of)),
            (_, Value::Undefined(of)) if self.language == Language::Python => Err(missing(of)),
            (Value::Map(pairs), Value::Text(name)) => Ok(find(pairs, name)),
            (Value::List(items) | Value::View(items), index) => match index.index(self.language) {
                Some(index) => {
                    let index = self.position(index, items.len());
                    let item = index.and_then(|index| items.get(index));
                    Ok(item.cloned().unwrap_or_else(missing_item))
                }
                None => Ok(missing_item()),
            },
            (Value::Text(text), index) if index.index(self.language).is_some() => {
                if self.language == Language::JavaScript && !text.is_ascii() {
                    return Err("an index into a text that is not ASCII is not read".into());
                }
                let index = index.index(self.language).unwrap_or_default();
                let length = text.chars().count();
                let c = self
                    .position(index, length)
                    .and_then(|at| text.chars().nth(at));
                Ok(c.map_or_else(missing_item, |c| Value::text(c.to_string())))
            }
            _ => Ok(missing_item()),
        }
    }

    /// Python counts negative ones from the end.
    fn position(&self, index: i64, length: usize) -> Option<usize> {
        match (usize::try_from(index), self.language) {
            (Ok(index), _) => Some(index),
            (Err(_), Language::Python) => {
                length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
            }
            _ => None,
        }
    }

    fn slice(
        &self,
        value: &Value,
        parts: [Option<Result<Value, String>>; 3],
    ) -> Result<Value, String> {
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            *bound = match part.transpose()? {
                None | Some(Value::Null) => None,
                Some(value) => {
                    let whole = value.index(self.language);
                    Some(whole.ok_or_else(|| format!("a slice by {}", value.kind()))?)
                }
            };
        }
        match value {
            Value::Undefined(of) => Err(missing(of)),
            Value::List(items) => {
                let taken = methods::sliced(items.len(), bounds)?;
                Ok(Value::list(
                    taken.filter_map(|at| items.get(at).cloned()).collect(),
                ))
            }
            Value::Text(text) => {
                let chars: Vec<char> = text.chars().collect();
                self.budget.make(chars.len())?;
                let taken = methods::sliced(chars.len(), bounds)?;
                let text: String = taken.filter_map(|at| chars.get(at)).collect();
                Ok(Value::text(text))
            }
            other => Err(format!("a slice of {}", other.kind())),
        }
    }

    fn call(&mut self, callee: Id, arguments: &[Id]) -> Result<Value, String> {
        let expressions = self.expressions;
        match expressions.get(callee) {
            Some(Expr::Attribute(value, method)) => {
                let value = self.value(*value)?;
                let arguments = self.values(arguments)?;
                if let Value::Undefined(of) = &value {
                    return Err(missing(of));
                }
                methods::call(&value, method, &arguments, self.language, &self.budget)
            }
            Some(Expr::Name(name)) if name == "range" => {
                let arguments = self.values(arguments)?;
                self.range(&arguments)
            }
            Some(Expr::Name(name)) => Err(format!("the function `{name}` is not read")),
            _ => Err("a call that is not read".into()),
        }
    }

    fn range(&self, arguments: &[Value]) -> Result<Value, String> {
        let whole = |value: &Value| {
            value
                .index(self.language)
                .ok_or("`range` wants whole numbers")
        };
        let numbers = arguments
            .iter()
            .map(whole)
            .collect::<Result<Vec<i64>, _>>()?;
        let (start, stop, step) = match numbers.as_slice() {
            [stop] => (0, *stop, 1),
            [start, stop] => (*start, *stop, 1),
            [start, stop, step] if *step != 0 => (*start, *stop, *step),
            _ => return Err("`range` wants one to three numbers, the third not 0".into()),
        };
        let mut made = Vec::new();
        let mut at = start;
        while if step > 0 { at < stop } else { at > stop } {
            if made.len() >= LONGEST_RANGE {
                return Err(format!("`range` has more than {LONGEST_RANGE} numbers"));
            }
            self.budget.make(16)?;
            #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers")]
            made.push(match self.language {
                Language::Python => Value::Int(at),
                Language::JavaScript => Value::Float(at as f64),
            });
            at = at.saturating_add(step);
        }
        Ok(Value::list(made))
    }

    fn literal(&mut self, id: Id) -> Result<Value, String> {
        let expressions = self.expressions;
        let refused = || "it is no Python literal".to_owned();
        self.budget.step()?;
        match expressions.get(id) {
            Some(Expr::Const(value)) => Ok(value.clone()),
            Some(Expr::List(items) | Expr::Tuple(items)) => {
                let items = items.iter().map(|item| self.literal(*item));
                Ok(Value::list(items.collect::<Result<_, _>>()?))
            }
            Some(Expr::Map(pairs)) => {
                let mut made: Vec<(Rc<str>, Value)> = Vec::new();
                for (key, value) in pairs {
                    let Value::Text(key) = self.literal(*key)? else {
                        return Err("a map whose keys are no texts".into());
                    };
                    made.push((key, self.literal(*value)?));
                }
                Ok(Value::Map(Rc::new(made)))
            }
            Some(Expr::Negative(value)) => match self.literal(*value)? {
                Value::Int(whole) => Ok(Value::Int(whole.checked_neg().ok_or_else(refused)?)),
                Value::Float(float) => Ok(Value::Float(-float)),
                _ => Err(refused()),
            },
            _ => Err(refused()),
        }
    }
}

fn find(pairs: &[(Rc<str>, Value)], name: &str) -> Value {
    let found = pairs.iter().find(|(key, _)| **key == *name);
    found.map_or_else(|| Value::Undefined(name.into()), |(_, value)| value.clone())
}
