//! The tree of a template.

/// A node of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Pipe, Vec<Node>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    Range(Pipe, Vec<Node>, Vec<Node>),
    Template(String, Option<Pipe>, usize),
    Break,
    Continue,
}

/// `$a, $b := command | command`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    pub(super) assigns: bool,
    pub(super) commands: Vec<Cmd>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cmd {
    pub(super) operands: Vec<Expr>,
}

/// An operand with its place and its text for messages.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expr {
    pub(super) at: usize,
    pub(super) text: String,
    pub(super) kind: ExprKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExprKind {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    /// `.A.B`
    Fields(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    /// A function by name.
    Func(String),
    /// `(pipe).A.B`
    Paren(Box<Pipe>, Vec<String>),
}

/// Whether any action looks at `.field` of the data.
pub(super) fn mentions(nodes: &[Node], field: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(pipe) => pipe_mentions(pipe, field),
        Node::Template(_, pipe, _) => pipe.as_ref().is_some_and(|p| pipe_mentions(p, field)),
        Node::If(pipe, a, b) | Node::With(pipe, a, b) | Node::Range(pipe, a, b) => {
            pipe_mentions(pipe, field) || mentions(a, field) || mentions(b, field)
        }
    })
}

fn pipe_mentions(pipe: &Pipe, field: &str) -> bool {
    let operands = pipe.commands.iter().flat_map(|c| &c.operands);
    operands.into_iter().any(|expr| match &expr.kind {
        // A bare dot may print everything.
        ExprKind::Dot => true,
        ExprKind::Fields(names) | ExprKind::Variable(_, names) => {
            names.first().is_some_and(|n| n == field)
        }
        ExprKind::Paren(pipe, _) => pipe_mentions(pipe, field),
        _ => false,
    })
}
