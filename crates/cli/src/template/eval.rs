//! Filling a template in.

use super::funcs::{self, FuncSet};
use super::lex::line;
use super::parse::{Cmd, Expr, ExprKind, Node, Pipe};
use super::value::Val;
use super::{Template, TemplateError};

/// Templates may use one another; so deep and no deeper.
const MAX_DEPTH: usize = 100;

pub(super) fn render(template: &Template, data: &Val, set: FuncSet) -> Result<String, TemplateError> {
    let mut eval = Eval {
        template,
        set,
        out: String::new(),
        variables: vec![("$".to_owned(), data.clone())],
        depth: 0,
    };
    eval.nodes(&template.nodes, data)?;
    Ok(eval.out)
}

enum Flow {
    Go,
    Break,
    Continue,
}

struct Eval<'t> {
    template: &'t Template,
    set: FuncSet,
    out: String,
    variables: Vec<(String, Val)>,
    depth: usize,
}

impl Eval<'_> {
    fn error(&self, expr: &Expr, what: &str) -> TemplateError {
        let (source, name) = (&self.template.source, self.template.name);
        let start = source[..expr.at].rfind('\n').map_or(0, |i| i + 1);
        let column = expr.at - start;
        // Go shortens the text of a node in messages to twenty characters.
        let text = match expr.text.char_indices().nth(20) {
            Some((cut, _)) => format!("{}...", &expr.text[..cut]),
            None => expr.text.clone(),
        };
        TemplateError(format!(
            "{name}:{}:{column}: executing {name:?} at <{text}>: {what}",
            line(source, expr.at)
        ))
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Val) -> Result<Flow, TemplateError> {
        for node in nodes {
            match self.node(node, dot)? {
                Flow::Go => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::Go)
    }

    fn node(&mut self, node: &Node, dot: &Val) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    let text = match value {
                        // A nil at the top of a template prints as no value, as in Go.
                        Val::Missing => "<no value>".to_owned(),
                        other => other.print(),
                    };
                    self.out.push_str(&text);
                }
            }
            Node::If(pipe, yes, no) | Node::With(pipe, yes, no) => {
                let scope = self.variables.len();
                let value = self.pipe(pipe, dot)?;
                let inner = if matches!(node, Node::With(..)) { &value } else { dot };
                let flow = match value.truth() {
                    true => self.nodes(yes, inner)?,
                    false => self.nodes(no, dot)?,
                };
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Range(pipe, body, otherwise) => return self.range(pipe, body, otherwise, dot),
            Node::Template(name, pipe, at) => self.template(name, pipe.as_ref(), *at, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Go)
    }

    fn template(&mut self, name: &str, pipe: Option<&Pipe>, at: usize, dot: &Val) -> Result<(), TemplateError> {
        let template = self.template;
        let place = line(&template.source, at);
        let Some((_, body)) = template.defines.iter().find(|(n, _)| n == name) else {
            return Err(TemplateError(format!(":{place}: template {name:?} not defined")));
        };
        if self.depth >= MAX_DEPTH {
            return Err(TemplateError(format!(":{place}: exceeded maximum template depth ({MAX_DEPTH})")));
        }
        let data = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Val::Missing,
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), data.clone())]);
        self.depth += 1;
        let done = self.nodes(body, &data);
        self.depth -= 1;
        self.variables = outer;
        done.map(drop)
    }

    fn range(&mut self, pipe: &Pipe, body: &[Node], otherwise: &[Node], dot: &Val) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let quiet = Pipe { variables: Vec::new(), ..pipe.clone() };
        let value = self.pipe(&quiet, dot)?;
        let items: Vec<(Val, Val)> = match value.bare() {
            Val::List(items) => (0..).zip(items.iter()).map(|(i, v)| (Val::Int(i), v.clone())).collect(),
            Val::Map(fields, None) => {
                let mut items: Vec<_> = fields.iter().collect();
                items.sort_by(|a, b| a.0.cmp(&b.0));
                items.into_iter().map(|(k, v)| (Val::str(k), v.clone())).collect()
            }
            Val::Int(n) => (0..*n).map(|i| (Val::Int(i), Val::Int(i))).collect(),
            Val::Nil | Val::Missing => Vec::new(),
            other => {
                let first = pipe.commands.first().and_then(|c| c.operands.first());
                let what = format!("range can't iterate over {}", other.print());
                return Err(match first {
                    Some(expr) => self.error(expr, &what),
                    None => TemplateError(what),
                });
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, item) in items {
            match pipe.variables.as_slice() {
                [one] => self.bind(one, item.clone(), pipe.assigns),
                [index, one] => {
                    self.bind(index, key, pipe.assigns);
                    self.bind(one, item.clone(), pipe.assigns);
                }
                _ => {}
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(scope);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::Go)
    }

    fn bind(&mut self, name: &str, value: Val, assigns: bool) {
        if assigns {
            if let Some(slot) = self.variables.iter_mut().rev().find(|(n, _)| n == name) {
                slot.1 = value;
            }
            return;
        }
        self.variables.push((name.to_owned(), value));
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Val) -> Result<Val, TemplateError> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Val::Missing);
        for name in &pipe.variables {
            self.bind(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    fn command(&mut self, command: &Cmd, dot: &Val, last: Option<Val>) -> Result<Val, TemplateError> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(last.unwrap_or(Val::Missing));
        };
        if let ExprKind::Func(name) = &first.kind {
            return self.function(first, name, rest, dot, last);
        }
        let value = self.operand(first, dot)?;
        if let Val::Method(method) = &value {
            let mut args = self.operands(rest, dot)?;
            args.extend(last);
            return method(&args).map_err(|what| self.error(first, &what));
        }
        if !rest.is_empty() || last.is_some() {
            let what = match &first.kind {
                ExprKind::Fields(names) => {
                    let name = names.last().map_or("", String::as_str);
                    format!("{name} has arguments but cannot be invoked as function")
                }
                _ => format!("can't give argument to non-function {}", first.text),
            };
            return Err(self.error(first, &what));
        }
        Ok(value)
    }

    fn operands(&mut self, operands: &[Expr], dot: &Val) -> Result<Vec<Val>, TemplateError> {
        operands.iter().map(|o| self.argument(o, dot)).collect()
    }

    // An operand in argument position: a function or method without arguments is called.
    fn argument(&mut self, operand: &Expr, dot: &Val) -> Result<Val, TemplateError> {
        let command = Cmd { operands: vec![operand.clone()] };
        match operand.kind {
            ExprKind::Func(_) => self.command(&command, dot, None),
            _ => self.operand(operand, dot),
        }
    }

    fn function(
        &mut self,
        at: &Expr,
        name: &str,
        operands: &[Expr],
        dot: &Val,
        last: Option<Val>,
    ) -> Result<Val, TemplateError> {
        if name == "and" || name == "or" {
            let mut value = None;
            for operand in operands {
                let this = self.argument(operand, dot)?;
                let decided = this.truth() == (name == "or");
                value = Some(this);
                if decided {
                    return Ok(value.unwrap_or(Val::Missing));
                }
            }
            return last
                .or(value)
                .ok_or_else(|| self.error(at, &format!("wrong number of args for {name}: want at least 1 got 0")));
        }
        let mut args = self.operands(operands, dot)?;
        args.extend(last);
        // Messages point at the whole call, as Go's do.
        let whole = Expr {
            text: std::iter::once(at).chain(operands).map(|e| e.text.as_str()).collect::<Vec<_>>().join(" "),
            ..at.clone()
        };
        funcs::call(self.set, name, &args).map_err(|what| {
            let place = if what.starts_with("error calling") { at } else { &whole };
            self.error(place, &what)
        })
    }

    fn operand(&mut self, expr: &Expr, dot: &Val) -> Result<Val, TemplateError> {
        Ok(match &expr.kind {
            ExprKind::Dot => dot.clone(),
            ExprKind::Nil => return Err(self.error(expr, "nil is not a command")),
            ExprKind::Bool(b) => Val::Bool(*b),
            ExprKind::Int(i) => Val::Int(*i),
            ExprKind::Float(f) => Val::Float(*f),
            ExprKind::Str(s) => Val::str(s),
            ExprKind::Fields(names) => self.fields(expr, dot.clone(), names)?,
            ExprKind::Variable(name, names) => {
                let slot = self.variables.iter().rev().find(|(n, _)| n == name);
                let value = slot.map_or(Val::Missing, |(_, v)| v.clone());
                self.fields(expr, value, names)?
            }
            ExprKind::Paren(pipe, names) => {
                let value = self.pipe(pipe, dot)?;
                self.fields(expr, value, names)?
            }
            ExprKind::Func(name) => self.function(expr, name, &[], dot, None)?,
        })
    }

    fn fields(&self, expr: &Expr, mut value: Val, names: &[String]) -> Result<Val, TemplateError> {
        for name in names {
            value = match (value.get(name), value.bare()) {
                (Some(found), _) => found.clone(),
                (None, Val::Map(_, Some(type_name))) => {
                    return Err(self.error(expr, &format!("can't evaluate field {name} in type {type_name}")));
                }
                (None, Val::Map(_, None) | Val::Struct(_)) if self.template.missing_is_error => {
                    return Err(self.error(expr, &format!("map has no entry for key {name:?}")));
                }
                (None, Val::Map(_, None) | Val::Missing) => Val::Missing,
                (None, Val::Nil) => {
                    return Err(self.error(expr, &format!("nil pointer evaluating interface {{}}.{name}")));
                }
                (None, other) => {
                    let what = format!("can't evaluate field {name} in type {}", other.type_name());
                    return Err(self.error(expr, &what));
                }
            };
        }
        Ok(value)
    }
}

/// Go's `fmt.Sprintf`, for the verbs that make sense on these values.
pub(super) fn printf(format: &str, args: &[Val]) -> String {
    let mut out = String::new();
    let mut args_left = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
            flags.push(flag);
        }
        let mut digits = || -> Option<usize> {
            let mut text = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                text.push(digit);
            }
            text.parse().ok()
        };
        let width = digits().unwrap_or(0);
        let precision = match chars.next_if_eq(&'.') {
            Some(_) => {
                let mut text = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    text.push(digit);
                }
                Some(text.parse().unwrap_or(0))
            }
            None => None,
        };
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(arg) = args_left.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let body = verb_text(verb, &flags, precision, arg);
        pad(&mut out, &body, width, &flags, arg);
    }
    let extra: Vec<String> = args_left.map(|v| format!("{}={}", v.type_name(), v.print())).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn verb_text(verb: char, flags: &str, precision: Option<usize>, arg: &Val) -> String {
    let arg = arg.bare();
    let signed = |text: String| match flags.contains('+') && !text.starts_with('-') {
        true => format!("+{text}"),
        false => text,
    };
    match (verb, arg) {
        ('v', Val::Missing) => "<nil>".to_owned(),
        ('v', Val::Str(s)) if flags.contains('#') => funcs::quote(s),
        ('v', _) => arg.print(),
        ('s', Val::Str(s)) => match precision {
            Some(p) => s.chars().take(p).collect(),
            None => s.to_string(),
        },
        ('s', Val::List(_) | Val::Map(..) | Val::Struct(_)) => arg.print(),
        ('q', Val::Str(s)) => funcs::quote(s),
        ('q', Val::List(items)) => {
            let items: Vec<String> = items.iter().map(|v| verb_text('q', "", None, v)).collect();
            format!("[{}]", items.join(" "))
        }
        ('d', Val::Int(i)) => signed(i.to_string()),
        ('x', Val::Int(i)) => format!("{i:x}"),
        ('X', Val::Int(i)) => format!("{i:X}"),
        ('o', Val::Int(i)) => format!("{i:o}"),
        ('b', Val::Int(i)) => format!("{i:b}"),
        ('c', Val::Int(i)) => u32::try_from(*i).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string(),
        ('x', Val::Str(s)) => s.bytes().map(|b| format!("{b:02x}")).collect(),
        ('f' | 'F', Val::Float(f)) => signed(format!("{f:.*}", precision.unwrap_or(6))),
        ('g', Val::Float(f)) => match precision {
            Some(p) => crate::units::general(*f, p),
            None => arg.print(),
        },
        ('e', Val::Float(f)) => format!("{f:.*e}", precision.unwrap_or(6)),
        ('t', Val::Bool(b)) => b.to_string(),
        ('T', _) => arg.type_name().to_owned(),
        (_, Val::Missing) => format!("%!{verb}(<nil>)"),
        _ => format!("%!{verb}({}={})", arg.type_name(), arg.print()),
    }
}

fn pad(out: &mut String, body: &str, width: usize, flags: &str, arg: &Val) {
    let missing = width.saturating_sub(body.chars().count());
    if flags.contains('-') {
        out.push_str(body);
        out.push_str(&" ".repeat(missing));
    } else if flags.contains('0') && matches!(arg, Val::Int(_) | Val::Float(_)) {
        let (sign, digits) = match body.strip_prefix(['-', '+']) {
            Some(digits) => (&body[..1], digits),
            None => ("", body),
        };
        out.push_str(&format!("{sign}{}{digits}", "0".repeat(missing)));
    } else {
        out.push_str(&" ".repeat(missing));
        out.push_str(body);
    }
}
