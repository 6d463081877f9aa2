//! Go's text/template, as far as users of `--format` go.
//!
//! Text is cut into tokens (`lex`), read into a tree (`parse`) and filled in with a [`Val`]
//! (`eval`). Error texts are Go's, with the place in the template.

mod eval;
mod funcs;
mod lex;
mod node;
mod parse;
mod printf;
mod value;

pub use funcs::{FuncSet, quote};
pub use value::Val;

/// A problem with a template: Go's text without its `template parsing error: ` prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {0}")]
pub struct TemplateError(String);

/// A read template.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<node::Node>,
    defines: Vec<(String, Vec<node::Node>)>,
    source: String,
    name: &'static str,
    missing_is_error: bool,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let tokens = lex::tokens(text);
        let (nodes, defines) = parse::parse(text, tokens)?;
        Ok(Self {
            nodes,
            defines,
            source: text.to_owned(),
            name: "",
            missing_is_error: false,
        })
    }

    /// Reads a template that messages call by a name.
    pub fn parse_named(name: &'static str, text: &str) -> Result<Self, TemplateError> {
        let named = |error: TemplateError| TemplateError(format!("{name}{}", error.0));
        Ok(Self {
            name,
            ..Self::parse(text).map_err(named)?
        })
    }

    /// Makes a missing key of a map an error, as `inspect` does.
    #[must_use]
    pub fn missing_is_error(mut self) -> Self {
        self.missing_is_error = true;
        self
    }

    /// Fills the template in.
    pub fn render(&self, data: &Val) -> Result<String, TemplateError> {
        eval::render(self, data, FuncSet::Data)
    }

    /// Fills the template in with column titles: functions leave their value as it is.
    pub fn render_header(&self, titles: &Val) -> Result<String, TemplateError> {
        eval::render(self, titles, FuncSet::Header)
    }

    /// Whether the template looks at this field of its data.
    pub fn mentions(&self, field: &str) -> bool {
        node::mentions(&self.nodes, field)
    }
}

#[cfg(test)]
mod tests;
