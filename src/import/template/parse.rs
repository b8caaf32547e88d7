//! Tokens -> a tree. Its nodes stand in one vector and name each other by number, so that a tree of
//! any depth is built and dropped without recursion; what recurses counts its depth.

use serde_json::Value as Json;

use super::eval;
use super::lex::{self, Piece, Token};
use super::value::{Language, Value, Vars};

/// Longest template in bytes.
const LONGEST: usize = 200_000;
/// Deepest nesting of brackets, conditions, and blocks.
const DEEPEST: usize = 40;

/// The number of a node.
pub(super) type Id = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Whole,
    Remainder,
    Join,
}

impl Binary {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Binary::Add => "+",
            Binary::Subtract => "-",
            Binary::Multiply => "*",
            Binary::Divide => "/",
            Binary::Whole => "//",
            Binary::Remainder => "%",
            Binary::Join => "~",
        }
    }
}

/// A part of an expression.
#[derive(Debug)]
pub(super) enum Expr {
    Const(Value),
    Name(String),
    List(Vec<Id>),
    /// `(a, b)`: only where its members are looked through.
    Tuple(Vec<Id>),
    Map(Vec<(Id, Id)>),
    Attribute(Id, String),
    Index(Id, Id),
    Slice(Id, [Option<Id>; 3]),
    Call(Id, Vec<Id>),
    Filter(Id, String, Vec<Id>),
    Test(Id, String, Vec<Id>),
    Not(Id),
    Negative(Id),
    Binary(Binary, Id, Id),
    Compare(Id, Vec<(&'static str, Id)>),
    And(Id, Id),
    Or(Id, Id),
    If(Id, Id, Option<Id>),
}

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Output(Id),
    Set(String, Id),
    If(Vec<(Id, Vec<Node>)>, Vec<Node>),
    For {
        names: Vec<String>,
        items: Id,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// A template that is known to be read.
#[derive(Debug)]
pub(in crate::import) struct Template {
    pub(super) language: Language,
    pub(super) nodes: Vec<Node>,
    pub(super) expressions: Vec<Expr>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What of it is not read, in words.
    pub(in crate::import) fn parse(source: &str, language: Language) -> Result<Self, String> {
        if source.len() > LONGEST {
            return Err(format!("its template has more than {LONGEST} bytes"));
        }
        let pieces = lex::pieces(source, language)?;
        let mut blocks = Blocks {
            pieces: pieces.into_iter().peekable(),
            language,
            expressions: Vec::new(),
            depth: 0,
        };
        let (nodes, end) = blocks.until(&[])?;
        match end {
            None => Ok(Template {
                language,
                nodes,
                expressions: blocks.expressions,
            }),
            Some((name, _)) => Err(format!("the tag `{name}` closes nothing")),
        }
    }

    /// The text that it makes of the variables.
    ///
    /// # Errors
    /// Why it makes none, in words.
    pub(in crate::import) fn render(&self, vars: &Vars) -> Result<String, String> {
        eval::render(self, vars)
    }
}

/// A text as Python's `ast.literal_eval` reads it: literals, lists, and maps of them.
///
/// # Errors
/// It is none.
pub(in crate::import) fn literal(text: &str) -> Result<Json, String> {
    if text.len() > LONGEST * 10 {
        return Err("it is too long for a literal".into());
    }
    let mut expressions = Vec::new();
    let mut parser = Parser {
        tokens: lex::expression(text)?,
        at: 0,
        language: Language::Python,
        expressions: &mut expressions,
        depth: 0,
    };
    let root = parser.condition()?;
    if parser.peek().is_some() {
        return Err("it is no Python literal".into());
    }
    eval::literal(&expressions, root)?.json()
}

struct Blocks {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece>>,
    language: Language,
    expressions: Vec<Expr>,
    depth: usize,
}

/// The tag that ended a block, with what stands behind its name.
type End = Option<(String, Vec<Token>)>;

impl Blocks {
    /// Nodes until one of the tags that `ends` names.
    fn until(&mut self, ends: &[&str]) -> Result<(Vec<Node>, End), String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("its tags nest more than {DEEPEST} deep"));
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Output(tokens) => {
                    let id = self.whole(tokens)?;
                    nodes.push(Node::Output(id));
                }
                Piece::Statement(tokens) => {
                    let mut tokens = tokens.into_iter();
                    let Some(Token::Name(name)) = tokens.next() else {
                        return Err("a tag without a name".into());
                    };
                    let rest: Vec<Token> = tokens.collect();
                    if ends.contains(&name.as_str()) {
                        self.depth -= 1;
                        return Ok((nodes, Some((name, rest))));
                    }
                    nodes.push(self.statement(&name, rest)?);
                }
            }
        }
        self.depth -= 1;
        match ends.last() {
            Some(end) => Err(format!("there is no `{end}`")),
            None => Ok((nodes, None)),
        }
    }

    fn statement(&mut self, name: &str, rest: Vec<Token>) -> Result<Node, String> {
        match name {
            "if" => self.choice(rest),
            "for" => self.repetition(rest),
            "set" => {
                let mut rest = rest.into_iter();
                match (rest.next(), rest.next()) {
                    (Some(Token::Name(name)), Some(Token::Mark("="))) => {
                        Ok(Node::Set(name, self.whole(rest.collect())?))
                    }
                    _ => Err("of `set` only `name = value` is read".into()),
                }
            }
            other => Err(format!("the tag `{other}` is not read")),
        }
    }

    fn choice(&mut self, condition: Vec<Token>) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut condition = condition;
        loop {
            let test = self.whole(condition)?;
            let (body, end) = self.until(&["elif", "elseif", "else", "endif"])?;
            branches.push((test, body));
            match end {
                Some((name, rest)) if name == "elif" => condition = rest,
                Some((name, rest)) if name == "elseif" && self.language == Language::JavaScript => {
                    condition = rest;
                }
                Some((name, rest)) if name == "else" && rest.is_empty() => {
                    let (otherwise, _) = self.until(&["endif"])?;
                    return Ok(Node::If(branches, otherwise));
                }
                Some((name, rest)) if name == "endif" && rest.is_empty() => {
                    return Ok(Node::If(branches, Vec::new()));
                }
                _ => return Err("an `if` is not closed".into()),
            }
        }
    }

    fn repetition(&mut self, tokens: Vec<Token>) -> Result<Node, String> {
        let mut names = Vec::new();
        let mut tokens = tokens.into_iter();
        let rest: Vec<Token> = loop {
            match (tokens.next(), tokens.next()) {
                (Some(Token::Name(name)), Some(Token::Mark(","))) => names.push(name),
                (Some(Token::Name(name)), Some(Token::Name(word))) if word == "in" => {
                    names.push(name);
                    break tokens.collect();
                }
                _ => return Err("a `for` that is not read".into()),
            }
        };
        let items = self.whole(rest)?;
        let (body, end) = self.until(&["else", "endfor"])?;
        let otherwise = match end {
            Some((name, _)) if name == "else" => self.until(&["endfor"])?.0,
            _ => Vec::new(),
        };
        Ok(Node::For {
            names,
            items,
            body,
            otherwise,
        })
    }

    /// One expression and nothing behind it.
    fn whole(&mut self, tokens: Vec<Token>) -> Result<Id, String> {
        let mut parser = Parser {
            tokens,
            at: 0,
            language: self.language,
            expressions: &mut self.expressions,
            depth: 0,
        };
        let id = parser.condition()?;
        match parser.peek() {
            None => Ok(id),
            Some(_) => Err("a tag has more than one expression".into()),
        }
    }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    language: Language,
    expressions: &'a mut Vec<Expr>,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn add(&mut self, expr: Expr) -> Id {
        self.expressions.push(expr);
        self.expressions.len() - 1
    }

    fn mark(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Mark(mark)) if *mark == wanted);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(name)) if name == wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        match self.mark(wanted) {
            true => Ok(()),
            false => Err(format!("a tag misses a `{wanted}`")),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err("a tag misses a name".into()),
        }
    }

    fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("an expression nests more than {DEEPEST} deep"));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// `a if b else c`
    fn condition(&mut self) -> Result<Id, String> {
        self.deeper(|parser| {
            let then = parser.or()?;
            if !parser.word("if") {
                return Ok(then);
            }
            let test = parser.or()?;
            let otherwise = match parser.word("else") {
                true => Some(parser.condition()?),
                false => None,
            };
            Ok(parser.add(Expr::If(test, then, otherwise)))
        })
    }

    fn or(&mut self) -> Result<Id, String> {
        let mut left = self.and()?;
        while self.word("or") {
            let right = self.and()?;
            left = self.add(Expr::Or(left, right));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Id, String> {
        let mut left = self.not()?;
        while self.word("and") {
            let right = self.not()?;
            left = self.add(Expr::And(left, right));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Id, String> {
        if self.word("not") {
            let id = self.deeper(Self::not)?;
            return Ok(self.add(Expr::Not(id)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Id, String> {
        const OPERATORS: [&str; 8] = ["===", "!==", "==", "!=", "<=", ">=", "<", ">"];
        let left = self.sum()?;
        let mut steps = Vec::new();
        loop {
            let before = self.at;
            let operator = match self.peek() {
                Some(Token::Mark(mark)) if OPERATORS.contains(mark) => {
                    let mark = *mark;
                    self.at += 1;
                    mark
                }
                Some(Token::Name(name)) if name == "in" => {
                    self.at += 1;
                    "in"
                }
                Some(Token::Name(name)) if name == "not" => {
                    self.at += 1;
                    match self.word("in") {
                        true => "not in",
                        false => {
                            self.at = before;
                            break;
                        }
                    }
                }
                _ => break,
            };
            steps.push((operator, self.sum()?));
        }
        match (steps.len(), self.language) {
            (0, _) => Ok(left),
            // Nunjucks nests what Python chains.
            (2.., Language::JavaScript) => Err("a chain of comparisons is not read".into()),
            _ => Ok(self.add(Expr::Compare(left, steps))),
        }
    }

    /// `+`, `-`, and `~`, which binds tighter than they do in Jinja and looser in Nunjucks.
    fn sum(&mut self) -> Result<Id, String> {
        let mut left = self.joined()?;
        loop {
            let operator = match self.peek() {
                Some(Token::Mark("+")) => Binary::Add,
                Some(Token::Mark("-")) => Binary::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.joined()?;
            if self.language == Language::JavaScript
                && [left, right].iter().any(|id| {
                    matches!(
                        self.expressions.get(*id),
                        Some(Expr::Binary(Binary::Join, ..))
                    )
                })
            {
                return Err("`~` beside `+` or `-` without brackets is not read".into());
            }
            left = self.add(Expr::Binary(operator, left, right));
        }
    }

    fn joined(&mut self) -> Result<Id, String> {
        let mut left = self.product()?;
        while self.mark("~") {
            let right = self.product()?;
            left = self.add(Expr::Binary(Binary::Join, left, right));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Id, String> {
        let mut left = self.signed(true)?;
        let mut before: Option<Binary> = None;
        loop {
            let operator = match self.peek() {
                Some(Token::Mark("*")) => Binary::Multiply,
                Some(Token::Mark("/")) => Binary::Divide,
                Some(Token::Mark("//")) => Binary::Whole,
                Some(Token::Mark("%")) => Binary::Remainder,
                Some(Token::Mark("**")) => return Err("`**` is not read".into()),
                _ => return Ok(left),
            };
            self.at += 1;
            // Nunjucks gives each of them a rank of its own.
            if self.language == Language::JavaScript && before.is_some_and(|b| b != operator) {
                return Err("`*`, `/`, and `%` side by side without brackets are not read".into());
            }
            before = Some(operator);
            let right = self.signed(true)?;
            left = self.add(Expr::Binary(operator, left, right));
        }
    }

    /// A value with its sign. What stands behind belongs to the signed value.
    fn signed(&mut self, filters: bool) -> Result<Id, String> {
        let value = if self.mark("-") {
            let id = self.deeper(|parser| parser.signed(false))?;
            self.add(Expr::Negative(id))
        } else if self.mark("+") {
            self.deeper(|parser| parser.signed(false))?
        } else {
            self.postfix()?
        };
        match filters {
            true => self.filtered(value),
            false => Ok(value),
        }
    }

    /// Filters and tests behind a value.
    fn filtered(&mut self, value: Id) -> Result<Id, String> {
        let mut value = value;
        loop {
            if self.mark("|") {
                let name = self.name()?;
                let arguments = self.arguments_if_any()?;
                value = self.add(Expr::Filter(value, name, arguments));
            } else if self.word("is") {
                let negated = self.word("not");
                let name = self.name()?;
                let arguments = self.arguments_if_any()?;
                value = self.add(Expr::Test(value, name, arguments));
                if negated {
                    value = self.add(Expr::Not(value));
                }
            } else {
                return Ok(value);
            }
        }
    }

    fn arguments_if_any(&mut self) -> Result<Vec<Id>, String> {
        match self.mark("(") {
            true => self.list_until(")"),
            false => Ok(Vec::new()),
        }
    }

    /// Expressions with commas between them.
    fn list_until(&mut self, close: &str) -> Result<Vec<Id>, String> {
        let mut items = Vec::new();
        loop {
            if self.mark(close) {
                return Ok(items);
            }
            items.push(self.condition()?);
            if matches!(self.peek(), Some(Token::Mark("="))) {
                return Err("arguments by name are not read".into());
            }
            if !self.mark(",") {
                self.expect(close)?;
                return Ok(items);
            }
        }
    }

    fn postfix(&mut self) -> Result<Id, String> {
        let mut value = self.primary()?;
        loop {
            if self.mark(".") {
                value = match self.peek() {
                    Some(Token::Int(index)) if self.language == Language::Python => {
                        let index = *index;
                        self.at += 1;
                        let index = self.add(Expr::Const(Value::Int(index)));
                        self.add(Expr::Index(value, index))
                    }
                    _ => {
                        let name = self.name()?;
                        self.add(Expr::Attribute(value, name))
                    }
                };
            } else if self.mark("[") {
                value = self.subscript(value)?;
            } else if self.mark("(") {
                let arguments = self.list_until(")")?;
                value = self.add(Expr::Call(value, arguments));
            } else {
                return Ok(value);
            }
        }
    }

    fn subscript(&mut self, value: Id) -> Result<Id, String> {
        let mut parts = [None; 3];
        let mut colons = 0;
        loop {
            if self.mark("]") {
                break;
            }
            if self.mark(":") {
                colons += 1;
                if colons > 2 {
                    return Err("a slice with more than three parts".into());
                }
                continue;
            }
            let part = self.condition()?;
            if let Some(slot) = parts.get_mut(colons) {
                if slot.is_some() {
                    return Err("an index that is not read".into());
                }
                *slot = Some(part);
            }
        }
        match (colons, parts, self.language) {
            (0, [Some(index), ..], _) => Ok(self.add(Expr::Index(value, index))),
            (0, ..) => Err("an index without a value".into()),
            (_, _, Language::JavaScript) => Err("Nunjucks has no slices".into()),
            (_, parts, _) => Ok(self.add(Expr::Slice(value, parts))),
        }
    }

    fn primary(&mut self) -> Result<Id, String> {
        let Some(token) = self.peek().cloned() else {
            return Err("a tag misses a value".into());
        };
        self.at += 1;
        let value = match token {
            Token::Text(mut text) => {
                // Texts side by side are one in Python.
                while self.language == Language::Python
                    && let Some(Token::Text(more)) = self.tokens.get(self.at)
                {
                    text.push_str(more);
                    self.at += 1;
                }
                Value::text(text)
            }
            Token::Int(whole) if self.language == Language::JavaScript =>
            {
                #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers")]
                Value::Float(whole as f64)
            }
            Token::Int(whole) => Value::Int(whole),
            Token::Float(float) => Value::Float(float),
            Token::Name(name) => match (name.as_str(), self.language) {
                ("true", _) | ("True", Language::Python) => Value::Bool(true),
                ("false", _) | ("False", Language::Python) => Value::Bool(false),
                ("none", _) | ("None", Language::Python) | ("null", Language::JavaScript) => {
                    Value::Null
                }
                _ => return Ok(self.add(Expr::Name(name))),
            },
            Token::Mark("(") => {
                let first = self.condition()?;
                if self.mark(")") {
                    return Ok(first);
                }
                self.expect(",")?;
                let mut items = vec![first];
                items.extend(self.list_until(")")?);
                return Ok(self.add(Expr::Tuple(items)));
            }
            Token::Mark("[") => {
                let items = self.list_until("]")?;
                return Ok(self.add(Expr::List(items)));
            }
            Token::Mark("{") => return self.map(),
            Token::Mark(mark) => return Err(format!("`{mark}` stands where a value is wanted")),
        };
        Ok(self.add(Expr::Const(value)))
    }

    fn map(&mut self) -> Result<Id, String> {
        let mut pairs = Vec::new();
        loop {
            if self.mark("}") {
                break;
            }
            let key = match (self.peek(), self.tokens.get(self.at + 1), self.language) {
                // A bare key is a name's value in Jinja, and the text itself in Nunjucks.
                (Some(Token::Name(name)), Some(Token::Mark(":")), Language::JavaScript) => {
                    let key = Value::text(name);
                    self.at += 1;
                    self.add(Expr::Const(key))
                }
                _ => self.condition()?,
            };
            self.expect(":")?;
            pairs.push((key, self.condition()?));
            if !self.mark(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(self.add(Expr::Map(pairs)))
    }
}
