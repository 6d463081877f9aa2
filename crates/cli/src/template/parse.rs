//! Reading tokens into a tree.

use super::TemplateError;
use super::funcs;
use super::lex::{Tok, Token, line};
use super::node::{Cmd, Expr, ExprKind, Node, Pipe};

type Defines = Vec<(String, Vec<Node>)>;

pub(super) fn parse(text: &str, tokens: Vec<Token>) -> Result<(Vec<Node>, Defines), TemplateError> {
    let mut parser = Parser {
        text,
        tokens,
        next: 0,
        variables: vec!["$".to_owned()],
        defines: Vec::new(),
        loops: 0,
    };
    let (nodes, end) = parser.block()?;
    match end {
        End::Eof => Ok((nodes, parser.defines)),
        End::Closed(at) => Err(parser.error(at, "unexpected {{end}}")),
        End::Else { at, .. } => Err(parser.error(at, "unexpected {{else}}")),
    }
}

enum End {
    Eof,
    Closed(usize),
    Else {
        at: usize,
        again: Option<&'static str>,
    },
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    defines: Defines,
    loops: usize,
}

impl Parser<'_> {
    fn error(&self, at: usize, what: &str) -> TemplateError {
        TemplateError(format!(":{}: {what}", line(self.text, at)))
    }

    fn peek(&self) -> Option<&Tok> {
        self.tokens.get(self.next).map(|t| &t.kind)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |t| t.at)
    }

    fn bump(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Tok::Space) {
            self.next += 1;
        }
    }

    fn block(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        let mut nodes = Vec::new();
        loop {
            let at = self.at();
            match self.bump().map(|t| t.kind) {
                None => return Ok((nodes, End::Eof)),
                Some(Tok::Text(text)) => nodes.push(Node::Text(text)),
                Some(Tok::Error(error)) => return Err(error),
                _ => {
                    self.skip_space();
                    if let Some(end) = self.action(at, &mut nodes)? {
                        return Ok((nodes, end));
                    }
                }
            }
        }
    }

    // One action behind its opening mark: a node, or the end of the block.
    fn action(&mut self, at: usize, nodes: &mut Vec<Node>) -> Result<Option<End>, TemplateError> {
        let Some(Tok::Word(word)) = self.peek().cloned() else {
            let pipe = self.pipe("command", false)?;
            nodes.push(Node::Action(pipe));
            return Ok(None);
        };
        match word.as_str() {
            "if" | "with" | "range" => {
                self.next += 1;
                nodes.push(self.control(&word)?);
            }
            "end" => {
                self.next += 1;
                self.close("end")?;
                return Ok(Some(End::Closed(at)));
            }
            "else" => {
                self.next += 1;
                self.skip_space();
                let again = match self.peek() {
                    Some(Tok::Word(w)) if w == "if" => Some("if"),
                    Some(Tok::Word(w)) if w == "with" => Some("with"),
                    _ => None,
                };
                match again {
                    Some(_) => self.next += 1,
                    None => self.close("else")?,
                }
                return Ok(Some(End::Else { at, again }));
            }
            "break" | "continue" => {
                self.next += 1;
                self.close(&word)?;
                if self.loops == 0 {
                    return Err(self.error(at, &format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                nodes.push(if word == "break" {
                    Node::Break
                } else {
                    Node::Continue
                });
            }
            "define" | "block" | "template" => self.named(&word, at, nodes)?,
            _ => {
                let pipe = self.pipe("command", false)?;
                nodes.push(Node::Action(pipe));
            }
        }
        Ok(None)
    }

    fn named(&mut self, word: &str, at: usize, nodes: &mut Vec<Node>) -> Result<(), TemplateError> {
        self.next += 1;
        self.skip_space();
        let at = if word == "template" { self.at() } else { at };
        let name = match self.bump().map(|t| t.kind) {
            Some(Tok::Str(name)) => name,
            _ => return Err(self.error(at, &format!("unexpected token in {word} clause"))),
        };
        if word == "define" {
            self.close(word)?;
        }
        let argument = if word == "define" {
            None
        } else {
            self.optional_pipe(word)?
        };
        if word != "define" {
            nodes.push(Node::Template(name.clone(), argument, at));
        }
        if word != "template" {
            let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
            let (body, end) = self.block()?;
            self.variables = outer;
            if !matches!(end, End::Closed(_)) {
                return Err(self.error(at, "unexpected EOF"));
            }
            self.defines.push((name, body));
        }
        Ok(())
    }

    fn optional_pipe(&mut self, word: &str) -> Result<Option<Pipe>, TemplateError> {
        self.skip_space();
        if self.peek() == Some(&Tok::Close) {
            self.next += 1;
            return Ok(None);
        }
        self.pipe(word, false).map(Some)
    }

    fn close(&mut self, context: &str) -> Result<(), TemplateError> {
        self.skip_space();
        let at = self.at();
        match self.bump().map(|t| t.kind) {
            Some(Tok::Close) => Ok(()),
            Some(other) => Err(self.unexpected(at, &other, context)),
            None => Err(self.error(at, "unexpected EOF")),
        }
    }

    fn control(&mut self, word: &str) -> Result<Node, TemplateError> {
        let scope = self.variables.len();
        let is_range = word == "range";
        let pipe = self.pipe(word, is_range)?;
        self.loops += usize::from(is_range);
        let (body, end) = self.block()?;
        self.loops -= usize::from(is_range);
        let otherwise = match end {
            End::Eof => return Err(self.error(self.text.len(), "unexpected EOF")),
            End::Closed(_) => Vec::new(),
            // `{{else if}}` is an `if` inside the else, closed by the same end.
            End::Else {
                again: Some(inner), ..
            } => vec![self.control(inner)?],
            End::Else { again: None, .. } => {
                let (body, end) = self.block()?;
                match end {
                    End::Closed(_) => body,
                    End::Eof => return Err(self.error(self.text.len(), "unexpected EOF")),
                    End::Else { at, .. } => {
                        return Err(self.error(at, "expected end; found {{else}}"));
                    }
                }
            }
        };
        self.variables.truncate(scope);
        Ok(match word {
            "if" => Node::If(pipe, body, otherwise),
            "with" => Node::With(pipe, body, otherwise),
            _ => Node::Range(pipe, body, otherwise),
        })
    }

    // A pipeline up to and with its closing mark.
    fn pipe(&mut self, context: &str, is_range: bool) -> Result<Pipe, TemplateError> {
        let pipe = self.pipe_until(context, is_range, false)?;
        Ok(pipe)
    }

    fn pipe_until(
        &mut self,
        context: &str,
        is_range: bool,
        paren: bool,
    ) -> Result<Pipe, TemplateError> {
        let start = self.at();
        let (variables, assigns) = self.declarations(context, is_range)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let at = self.at();
            match self.peek().cloned() {
                Some(Tok::Close) if !paren => {
                    self.next += 1;
                    break;
                }
                Some(Tok::ParenClose) if paren => {
                    self.next += 1;
                    break;
                }
                Some(Tok::Pipe) => {
                    if commands.is_empty() {
                        return Err(self.unexpected(at, &Tok::Pipe, context));
                    }
                    self.next += 1;
                }
                None => return Err(self.error(at, "unclosed action")),
                Some(_) => commands.push(self.command(context)?),
            }
        }
        if commands.is_empty() {
            return Err(self.error(start, &format!("missing value for {context}")));
        }
        for command in &commands[1..] {
            if let Some(first) = command.operands.first() {
                use ExprKind as E;
                if matches!(
                    first.kind,
                    E::Bool(_) | E::Dot | E::Nil | E::Int(_) | E::Float(_) | E::Str(_)
                ) {
                    let what = format!(
                        "non executable command in pipeline stage {}",
                        commands.len()
                    );
                    return Err(self.error(first.at, &what));
                }
            }
        }
        self.variables
            .extend(variables.iter().filter(|_| !assigns).cloned());
        Ok(Pipe {
            variables,
            assigns,
            commands,
        })
    }

    fn declarations(
        &mut self,
        context: &str,
        is_range: bool,
    ) -> Result<(Vec<String>, bool), TemplateError> {
        self.skip_space();
        let start = self.next;
        let mut names = Vec::new();
        while let Some(Tok::Variable(name)) = self.peek().cloned() {
            let at = self.at();
            names.push(name.clone());
            self.next += 1;
            self.skip_space();
            match self.peek() {
                Some(Tok::Declare) => {
                    self.next += 1;
                    return Ok((names, false));
                }
                Some(Tok::Assign) => {
                    self.next += 1;
                    if !self.variables.contains(&name) {
                        return Err(self.error(at, &format!("undefined variable {name:?}")));
                    }
                    return Ok((names, true));
                }
                Some(Tok::Comma) if is_range && names.len() == 1 => {
                    self.next += 1;
                    self.skip_space();
                }
                Some(Tok::Comma) => {
                    return Err(self.error(at, &format!("too many declarations in {context}")));
                }
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, context: &str) -> Result<Cmd, TemplateError> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                Some(Tok::Pipe | Tok::Close | Tok::ParenClose) | None => break,
                Some(_) => operands.push(self.operand(context)?),
            }
            match self.peek().cloned() {
                Some(Tok::Space | Tok::Pipe | Tok::Close | Tok::ParenClose) => {}
                Some(other) => {
                    let at = self.at();
                    return Err(self.unexpected(at, &other, "operand"));
                }
                None => return Err(self.error(self.text.len(), "unclosed action")),
            }
        }
        Ok(Cmd { operands })
    }

    fn operand(&mut self, context: &str) -> Result<Expr, TemplateError> {
        let start = self.at();
        let Some(token) = self.bump() else {
            return Err(self.error(start, "unexpected EOF"));
        };
        let mut kind = match token.kind {
            Tok::Field(name) if name.is_empty() => ExprKind::Dot,
            Tok::Field(name) => ExprKind::Fields(vec![name]),
            Tok::Variable(name) => {
                if !self.variables.contains(&name) {
                    return Err(self.error(start, &format!("undefined variable {name:?}")));
                }
                ExprKind::Variable(name, Vec::new())
            }
            Tok::Word(word) => self.word(start, word)?,
            Tok::Str(text) => ExprKind::Str(text),
            Tok::Char(code) => ExprKind::Int(code),
            Tok::Number(text) => match crate::flags::parse_int(&text) {
                Ok(number) => ExprKind::Int(number),
                Err(_) => ExprKind::Float(text.parse().unwrap_or(0.0)),
            },
            Tok::ParenOpen => ExprKind::Paren(
                Box::new(self.pipe_until("parenthesized pipeline", false, true)?),
                Vec::new(),
            ),
            other => return Err(self.unexpected(start, &other, context)),
        };
        let mut at = start;
        while let Some(Tok::Field(name)) = self
            .peek()
            .cloned()
            .filter(|t| *t != Tok::Field(String::new()))
        {
            let here = self.at();
            match &mut kind {
                // Go reports a chain of fields at its second link.
                ExprKind::Fields(names) => {
                    at = if names.len() == 1 { here } else { at };
                    names.push(name);
                }
                ExprKind::Variable(_, names) => {
                    at = if names.is_empty() { here } else { at };
                    names.push(name);
                }
                ExprKind::Paren(_, names) => names.push(name),
                _ => {
                    return Err(self.error(
                        here,
                        &format!("unexpected . after term {:?}", &self.text[start..here]),
                    ));
                }
            }
            self.next += 1;
        }
        Ok(Expr {
            at,
            text: self.text[start..self.at()].to_owned(),
            kind,
        })
    }

    fn word(&self, at: usize, word: String) -> Result<ExprKind, TemplateError> {
        Ok(match word.as_str() {
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            "nil" => ExprKind::Nil,
            name if funcs::exists(name) => ExprKind::Func(word),
            name => return Err(self.error(at, &format!("function {name:?} not defined"))),
        })
    }

    fn unexpected(&self, at: usize, token: &Tok, context: &str) -> TemplateError {
        let shown = match token {
            Tok::Error(error) => return error.clone(),
            Tok::Close => return self.error(at, &format!("missing value for {context}")),
            Tok::Text(text) | Tok::Str(text) => format!("{text:?}"),
            Tok::Field(name) => format!("<.{name}>"),
            Tok::Variable(name) | Tok::Number(name) => format!("{name:?}"),
            Tok::Word(word) => format!("<{word}>"),
            Tok::Open => "\"{{\"".to_owned(),
            Tok::Pipe => "\"|\"".to_owned(),
            Tok::Comma => "\",\"".to_owned(),
            Tok::ParenOpen => "\"(\"".to_owned(),
            Tok::ParenClose => "\")\"".to_owned(),
            Tok::Declare => "\":=\"".to_owned(),
            Tok::Assign => "\"=\"".to_owned(),
            Tok::Space => "\" \"".to_owned(),
            Tok::Char(c) => c.to_string(),
            Tok::Other(c) => format!("\"{c}\""),
        };
        self.error(at, &format!("unexpected {shown} in {context}"))
    }
}
