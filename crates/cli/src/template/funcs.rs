//! The functions of templates: Go's own and those of Docker's CLI.

use std::cmp::Ordering;
use std::rc::Rc;

use super::value::Val;

/// Which functions a template gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FuncSet {
    /// All of them.
    Data,
    /// For column titles: those of Docker's CLI leave their value as it is.
    Header,
}

const NAMES: &[&str] = &[
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt",
    "le", "gt", "ge", "html", "js", "urlquery", "call", "json", "split", "join", "title", "lower",
    "upper", "pad", "truncate",
];

/// Whether there is such a function.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct CallError {
    /// Go's text.
    pub(super) text: String,
    /// The argument it is about.
    pub(super) argument: Option<usize>,
    /// The type that was wanted of it.
    pub(super) wanted: &'static str,
}

impl From<String> for CallError {
    fn from(text: String) -> Self {
        Self {
            text,
            argument: None,
            wanted: "",
        }
    }
}

/// Calls a function. `and` and `or` are the evaluator's business: they look at their arguments lazily.
pub(super) fn call(set: FuncSet, name: &str, args: &[Val]) -> Result<Val, CallError> {
    if set == FuncSet::Header
        && matches!(
            name,
            "json" | "split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate"
        )
    {
        return Ok(args.first().cloned().unwrap_or(Val::Missing));
    }
    match name {
        "not" => Ok(Val::Bool(!one(name, args)?.truth())),
        "len" => Ok(len(one(name, args)?)?),
        "index" => Ok(index(args)?),
        "slice" => Ok(slice(args)?),
        "print" => Ok(Val::str(print(args))),
        "println" => Ok(Val::str(println(args))),
        "printf" => {
            let format = text(name, args, 0)?;
            Ok(Val::str(super::printf::printf(&format, &args[1..])))
        }
        "eq" => Ok(equal(args)?),
        "ne" => {
            arity(name, args, 2)?;
            Ok(Val::Bool(!same(&args[0], &args[1])?))
        }
        "lt" | "le" | "gt" | "ge" => Ok(order(name, args)?),
        "json" => Ok(Val::str(json(one(name, args)?))),
        "split" => {
            let (whole, mark) = (text(name, args, 0)?, text(name, args, 1)?);
            let parts: Vec<Val> = match mark.is_empty() {
                true => whole.chars().map(|c| Val::str(c.to_string())).collect(),
                false => whole.split(&mark).map(Val::str).collect(),
            };
            Ok(Val::List(Rc::new(parts)))
        }
        "join" => join(args),
        "title" => Ok(Val::str(title(&text(name, args, 0)?))),
        "lower" => Ok(Val::str(text(name, args, 0)?.to_lowercase())),
        "upper" => Ok(Val::str(text(name, args, 0)?.to_uppercase())),
        "pad" => {
            let (body, before, after) = (
                text(name, args, 0)?,
                number(name, args, 1)?,
                number(name, args, 2)?,
            );
            match body.is_empty() {
                true => Ok(Val::str("")),
                false => Ok(Val::str(format!(
                    "{}{body}{}",
                    " ".repeat(before),
                    " ".repeat(after)
                ))),
            }
        }
        "truncate" => {
            let (body, length) = (text(name, args, 0)?, number(name, args, 1)?);
            Ok(Val::str(body.chars().take(length).collect::<String>()))
        }
        "html" => Ok(Val::str(html(&print(args)))),
        "urlquery" => Ok(Val::str(
            api::client::escape(&print(args)).replace("%20", "+"),
        )),
        "js" => Ok(Val::str(
            print(args)
                .replace('\\', "\\\\")
                .replace('\'', "\\'")
                .replace('"', "\\\""),
        )),
        _ => Err(format!(
            "error calling call: non-function {} of type {}",
            args.first().map(Val::print).unwrap_or_default(),
            args.first().map_or("nil", Val::type_name)
        )
        .into()),
    }
}

fn arity(name: &str, args: &[Val], want: usize) -> Result<(), String> {
    if args.len() == want {
        return Ok(());
    }
    Err(format!(
        "wrong number of args for {name}: want {want} got {}",
        args.len()
    ))
}

fn one<'a>(name: &str, args: &'a [Val]) -> Result<&'a Val, String> {
    arity(name, args, 1)?;
    Ok(&args[0])
}

fn text(name: &str, args: &[Val], at: usize) -> Result<String, CallError> {
    let wrong = |text: String| CallError {
        text,
        argument: Some(at),
        wanted: "string",
    };
    match args.get(at).map(Val::bare) {
        Some(Val::Str(s)) => Ok(s.to_string()),
        Some(Val::Missing | Val::Nil) => Err(wrong("invalid value; expected string".to_owned())),
        Some(other) => Err(wrong(format!(
            "wrong type for value; expected string; got {}",
            other.type_name()
        ))),
        None => Err(format!(
            "wrong number of args for {name}: want at least {} got {}",
            at + 1,
            args.len()
        )
        .into()),
    }
}

fn number(name: &str, args: &[Val], at: usize) -> Result<usize, CallError> {
    let wrong = |text: String| CallError {
        text,
        argument: Some(at),
        wanted: "integer",
    };
    match args.get(at).map(Val::bare) {
        Some(Val::Int(i)) => Ok(usize::try_from(*i).unwrap_or(0)),
        Some(other) => Err(wrong(format!(
            "wrong type for value; expected int; got {}",
            other.type_name()
        ))),
        None => Err(format!(
            "wrong number of args for {name}: want {} got {}",
            at + 1,
            args.len()
        )
        .into()),
    }
}

fn len(value: &Val) -> Result<Val, String> {
    let length = match value.bare() {
        Val::Str(s) => s.len(),
        Val::List(l) => l.len(),
        Val::Map(m, _) => m.len(),
        Val::Nil => 0,
        Val::Missing => return Err("error calling len: len of untyped nil".to_owned()),
        other => {
            return Err(format!(
                "error calling len: len of type {}",
                other.type_name()
            ));
        }
    };
    Ok(Val::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(args: &[Val]) -> Result<Val, String> {
    let failed = |what: &str| format!("error calling index: {what}");
    let (first, keys) = args
        .split_first()
        .ok_or("wrong number of args for index: want at least 1 got 0")?;
    let mut value = first.clone();
    for key in keys {
        value = match (value.bare(), key) {
            (Val::List(items), Val::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| items.get(at).cloned())
                .ok_or_else(|| failed(&format!("index out of range: {at}")))?,
            (Val::List(_), other) => {
                return Err(failed(&format!(
                    "cannot index slice/array with type {}",
                    other.type_name()
                )));
            }
            (Val::Str(s), Val::Int(at)) => {
                let byte = usize::try_from(*at)
                    .ok()
                    .and_then(|at| s.as_bytes().get(at).copied());
                Val::Int(i64::from(
                    byte.ok_or_else(|| failed(&format!("index out of range: {at}")))?,
                ))
            }
            (Val::Map(..) | Val::Struct(_), Val::Str(key)) => {
                value.get(key).cloned().unwrap_or(Val::Str("".into()))
            }
            (Val::Map(..), other) => {
                return Err(failed(&format!(
                    "value has type {}; should be string",
                    other.type_name()
                )));
            }
            (Val::Nil, _) => Val::Str("".into()),
            (Val::Missing, _) => return Err(failed("index of untyped nil")),
            (other, _) => {
                return Err(failed(&format!(
                    "can't index item of type {}",
                    other.type_name()
                )));
            }
        };
    }
    Ok(value)
}

fn slice(args: &[Val]) -> Result<Val, String> {
    let (first, bounds) = args
        .split_first()
        .ok_or("wrong number of args for slice: want at least 1 got 0")?;
    let first = first.bare();
    let length = match first {
        Val::Str(s) => s.len(),
        Val::List(l) => l.len(),
        other => {
            return Err(format!(
                "error calling slice: can't slice item of type {}",
                other.type_name()
            ));
        }
    };
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Val::Int(i)) => match usize::try_from(*i) {
            Ok(i) if i <= length => Ok(i),
            _ => Err(format!("error calling slice: index out of range: {i}")),
        },
        Some(other) => Err(format!(
            "error calling slice: cannot index slice/array with type {}",
            other.type_name()
        )),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to {
        return Err(format!(
            "error calling slice: invalid slice index: {from} > {to}"
        ));
    }
    Ok(match first {
        Val::List(items) => Val::List(Rc::new(items[from..to].to_vec())),
        Val::Str(s) => Val::str(String::from_utf8_lossy(&s.as_bytes()[from..to])),
        _ => Val::Nil,
    })
}

fn print(args: &[Val]) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        // Go's Sprint puts a blank between two operands of which neither is a text.
        let texts = |v: &Val| matches!(v, Val::Str(_));
        if i > 0 && !texts(arg) && !texts(&args[i - 1]) {
            out.push(' ');
        }
        out.push_str(&arg.print());
    }
    out
}

fn println(args: &[Val]) -> String {
    let words: Vec<String> = args.iter().map(Val::print).collect();
    words.join(" ") + "\n"
}

fn join(args: &[Val]) -> Result<Val, CallError> {
    let mark = text("join", args, 1)?;
    let parts: Vec<String> = match args[0].bare() {
        Val::List(items) => items.iter().map(Val::print).collect(),
        Val::Nil => Vec::new(),
        other => {
            let text = format!(
                "wrong type for value; expected []string; got {}",
                other.type_name()
            );
            return Err(CallError {
                text,
                argument: Some(0),
                wanted: "[]string",
            });
        }
    };
    Ok(Val::str(parts.join(&mark)))
}

fn title(text: &str) -> String {
    let mut start = true;
    let each = text.chars().map(|c| {
        let out = if start {
            c.to_uppercase().next().unwrap_or(c)
        } else {
            c
        };
        start = !(c.is_alphanumeric() || c == '_' || c == '\'');
        out
    });
    each.collect()
}

fn html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn json(value: &Val) -> String {
    let text = super::value::json_text(&value.to_json());
    match value {
        // Docker's rows write their own JSON, with what HTML would mind escaped.
        Val::Map(_, Some(type_name)) if type_name.starts_with('*') => text
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026"),
        _ => text,
    }
}

fn equal(args: &[Val]) -> Result<Val, String> {
    if args.len() < 2 {
        return Err("error calling eq: missing argument for comparison".to_owned());
    }
    for other in &args[1..] {
        if same(&args[0], other)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

fn same(a: &Val, b: &Val) -> Result<bool, String> {
    Ok(match (a.bare(), b.bare()) {
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Int(a), Val::Int(b)) => a == b,
        (Val::Float(a), Val::Float(b)) => a == b,
        (Val::Str(a), Val::Str(b)) => a == b,
        (Val::Nil | Val::Missing, Val::Nil | Val::Missing) => true,
        (Val::Nil | Val::Missing, _) | (_, Val::Nil | Val::Missing) => false,
        (Val::List(_) | Val::Map(..), _) | (_, Val::List(_) | Val::Map(..)) => {
            return Err("error calling eq: non-comparable type".to_owned());
        }
        _ => return Err("error calling eq: incompatible types for comparison".to_owned()),
    })
}

fn order(name: &str, args: &[Val]) -> Result<Val, String> {
    arity(name, args, 2)?;
    let ordering = match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => a.cmp(b),
        (Val::Float(a), Val::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Val::Str(a), Val::Str(b)) => a.cmp(b),
        (a, b) if a.type_name() == b.type_name() => {
            return Err(format!("error calling {name}: invalid type for comparison"));
        }
        _ => {
            return Err(format!(
                "error calling {name}: incompatible types for comparison"
            ));
        }
    };
    Ok(Val::Bool(match name {
        "lt" => ordering.is_lt(),
        "le" => ordering.is_le(),
        "gt" => ordering.is_gt(),
        _ => ordering.is_ge(),
    }))
}

/// Quotes as Go's `strconv.Quote`.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)))
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
