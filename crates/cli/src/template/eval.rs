//! Filling a template in.

use super::funcs::{self, FuncSet};
use super::lex::line;
use super::node::{Cmd, Expr, ExprKind, Node, Pipe};
use super::value::Val;
use super::{Template, TemplateError};

/// Templates may use one another; so deep and no deeper.
const MAX_DEPTH: usize = 100;

pub(super) fn render(
    template: &Template,
    data: &Val,
    set: FuncSet,
) -> Result<String, TemplateError> {
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
        let limit = if expr.text.starts_with("{{") {
            usize::MAX
        } else {
            20
        };
        let text = match expr.text.char_indices().nth(limit) {
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
                let inner = if matches!(node, Node::With(..)) {
                    &value
                } else {
                    dot
                };
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

    fn template(
        &mut self,
        name: &str,
        pipe: Option<&Pipe>,
        at: usize,
        dot: &Val,
    ) -> Result<(), TemplateError> {
        let template = self.template;
        let place = Expr {
            at,
            text: format!("{{{{template {name:?}}}}}"),
            kind: ExprKind::Nil,
        };
        let Some((_, body)) = template.defines.iter().find(|(n, _)| n == name) else {
            return Err(self.error(&place, &format!("template {name:?} not defined")));
        };
        if self.depth >= MAX_DEPTH {
            return Err(self.error(
                &place,
                &format!("exceeded maximum template depth ({MAX_DEPTH})"),
            ));
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

    fn range(
        &mut self,
        pipe: &Pipe,
        body: &[Node],
        otherwise: &[Node],
        dot: &Val,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let quiet = Pipe {
            variables: Vec::new(),
            ..pipe.clone()
        };
        let value = self.pipe(&quiet, dot)?;
        let items: Vec<(Val, Val)> = match value.bare() {
            Val::List(items) => (0..)
                .zip(items.iter())
                .map(|(i, v)| (Val::Int(i), v.clone()))
                .collect(),
            Val::Map(fields, None) => {
                let mut items: Vec<_> = fields.iter().collect();
                items.sort_by(|a, b| a.0.cmp(&b.0));
                items
                    .into_iter()
                    .map(|(k, v)| (Val::str(k), v.clone()))
                    .collect()
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

    fn command(
        &mut self,
        command: &Cmd,
        dot: &Val,
        last: Option<Val>,
    ) -> Result<Val, TemplateError> {
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
                    match self.template.missing_is_error {
                        true => format!("{name} is not a method but has arguments"),
                        false => format!("{name} has arguments but cannot be invoked as function"),
                    }
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
        let command = Cmd {
            operands: vec![operand.clone()],
        };
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
            return last.or(value).ok_or_else(|| {
                self.error(
                    at,
                    &format!("wrong number of args for {name}: want at least 1 got 0"),
                )
            });
        }
        let mut args = self.operands(operands, dot)?;
        args.extend(last);
        // Messages point at the whole call, as Go's do.
        let whole = Expr {
            text: std::iter::once(at)
                .chain(operands)
                .map(|e| e.text.as_str())
                .collect::<Vec<_>>()
                .join(" "),
            ..at.clone()
        };
        funcs::call(self.set, name, &args).map_err(|error| {
            match error.argument.and_then(|i| operands.get(i)) {
                Some(
                    operand @ Expr {
                        kind: ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Str(_),
                        ..
                    },
                ) => self.error(
                    operand,
                    &format!("expected {}; found {}", error.wanted, operand.text),
                ),
                Some(operand) => self.error(operand, &error.text),
                None => self.error(&whole, &error.text),
            }
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
                    return Err(self.error(
                        expr,
                        &format!("can't evaluate field {name} in type {type_name}"),
                    ));
                }
                (None, Val::Map(_, None) | Val::Struct(_)) if self.template.missing_is_error => {
                    return Err(self.error(expr, &format!("map has no entry for key {name:?}")));
                }
                (None, Val::Map(_, None) | Val::Missing) => Val::Missing,
                (None, Val::Nil) => {
                    return Err(self.error(
                        expr,
                        &format!("nil pointer evaluating interface {{}}.{name}"),
                    ));
                }
                (None, _) if self.template.missing_is_error => {
                    return Err(self.error(
                        expr,
                        &format!("can't evaluate field {name} in type interface {{}}"),
                    ));
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
