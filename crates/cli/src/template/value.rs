//! What a template is filled in with, and how it prints.

use std::fmt;
use std::rc::Rc;

use serde_json::Value;

/// Fields of Docker's structs that JSON spells otherwise.
const GO_NAMES: [(&str, &str); 15] = [
    ("ID", "Id"),
    ("CPUShares", "CpuShares"),
    ("CPUPeriod", "CpuPeriod"),
    ("CPUQuota", "CpuQuota"),
    ("CPURealtimePeriod", "CpuRealtimePeriod"),
    ("CPURealtimeRuntime", "CpuRealtimeRuntime"),
    ("CPUCount", "CpuCount"),
    ("CPUPercent", "CpuPercent"),
    ("NanoCPUs", "NanoCpus"),
    ("DNS", "Dns"),
    ("DNSOptions", "DnsOptions"),
    ("DNSSearch", "DnsSearch"),
    ("HostIP", "HostIp"),
    ("EnableIPV4", "EnableIPv4"),
    ("IPAMOptions", "IpamOptions"),
];

type Method = Rc<dyn Fn(&[Val]) -> Result<Val, String>>;

/// A value.
#[derive(Clone)]
pub enum Val {
    /// Nothing; as Go's nil.
    Nil,
    /// Nothing that was never there; prints as `<no value>`.
    Missing,
    /// A truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Str(Rc<str>),
    /// A list.
    List(Rc<Vec<Val>>),
    /// A map in the order of its making; with a type name it has fields instead of keys.
    Map(Rc<Vec<(String, Val)>>, Option<&'static str>),
    /// Fields of a struct without a name: prints in its order.
    Struct(Rc<Vec<(String, Val)>>),
    /// A method that takes arguments; absent from JSON.
    Method(Method),
    /// A value whose JSON is given: what `json` shows of a row differs from its fields.
    Typed(Rc<(Val, Value)>),
}

impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print())
    }
}

impl Val {
    /// A text.
    pub fn str(text: impl AsRef<str>) -> Self {
        Self::Str(text.as_ref().into())
    }

    /// A struct: a map whose missing fields are errors that name its type.
    pub fn object(type_name: &'static str, fields: Vec<(String, Self)>) -> Self {
        Self::Map(Rc::new(fields), Some(type_name))
    }

    /// The same map as a struct of this type.
    #[must_use]
    pub fn typed(self, type_name: &'static str) -> Self {
        match self {
            Self::Map(fields, _) => Self::Map(fields, Some(type_name)),
            other => other,
        }
    }

    /// Whether it counts as true.
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil | Self::Missing => false,
            Self::Bool(b) => *b,
            Self::Int(i) => *i != 0,
            Self::Float(f) => *f != 0.0,
            Self::Str(s) => !s.is_empty(),
            Self::List(l) => !l.is_empty(),
            // A struct is always true.
            Self::Map(m, type_name) => type_name.is_some() || !m.is_empty(),
            Self::Method(_) | Self::Struct(_) => true,
            Self::Typed(both) => both.0.truth(),
        }
    }

    /// A field or key.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(fields, _) => fields.iter().find(|(key, _)| key == name).map(|(_, v)| v),
            Self::Struct(fields) => {
                let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, v)| v);
                field(name).or_else(|| {
                    let (_, json) = GO_NAMES.iter().find(|(go, _)| *go == name)?;
                    field(json)
                })
            }
            Self::Typed(both) => both.0.get(name),
            _ => None,
        }
    }

    /// The value itself, without the JSON beside it.
    pub fn bare(&self) -> &Self {
        match self {
            Self::Typed(both) => both.0.bare(),
            other => other,
        }
    }

    /// How Go's `%v` prints it.
    pub fn print(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Missing => "<no value>".to_owned(),
            Self::Bool(b) => b.to_string(),
            Self::Int(i) => i.to_string(),
            Self::Float(f) => float(*f),
            Self::Str(s) => s.to_string(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::print).collect();
                format!("[{}]", items.join(" "))
            }
            Self::Map(fields, Some(_)) | Self::Struct(fields) => {
                let values: Vec<String> = fields.iter().map(|(_, v)| v.print()).collect();
                format!("{{{}}}", values.join(" "))
            }
            Self::Map(fields, None) => {
                let mut pairs: Vec<(&str, String)> = fields
                    .iter()
                    .map(|(k, v)| (k.as_str(), v.print()))
                    .collect();
                pairs.sort();
                let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect();
                format!("map[{}]", pairs.join(" "))
            }
            Self::Method(_) => "<method>".to_owned(),
            Self::Typed(both) => both.0.print(),
        }
    }

    /// Its JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Nil | Self::Missing | Self::Method(_) => Value::Null,
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(i) => Value::from(*i),
            Self::Float(f) => Value::from(*f),
            Self::Str(s) => Value::from(s.as_ref()),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(fields, _) | Self::Struct(fields) => Value::Object(
                fields
                    .iter()
                    .filter(|(_, v)| !matches!(v, Self::Method(_)))
                    .map(|(k, v)| (k.clone(), v.to_json()))
                    .collect(),
            ),
            Self::Typed(both) => both.1.clone(),
        }
    }

    /// The Go type that messages name.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil | Self::Missing => "interface {}",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_, name) => name.unwrap_or("map[string]interface {}"),
            Self::Struct(_) => "struct",
            Self::Method(_) => "func",
            Self::Typed(both) => both.0.type_name(),
        }
    }
}

impl From<&Value> for Val {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Bool(b) => Self::Bool(*b),
            Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(i), _) => Self::Int(i),
                (None, Some(f)) => Self::Float(f),
                (None, None) => Self::str(n.to_string()),
            },
            Value::String(s) => Self::str(s),
            Value::Array(items) => Self::List(Rc::new(items.iter().map(Self::from).collect())),
            Value::Object(map) => Self::Map(
                Rc::new(
                    map.iter()
                        .map(|(k, v)| (k.clone(), Self::from(v)))
                        .collect(),
                ),
                None,
            ),
        }
    }
}

impl From<&str> for Val {
    fn from(text: &str) -> Self {
        Self::str(text)
    }
}

impl From<String> for Val {
    fn from(text: String) -> Self {
        Self::str(text)
    }
}

/// Go prints the shortest digits, with an exponent from 1e21 on.
fn float(f: f64) -> String {
    if f != 0.0 && !(1e-4..1e21).contains(&f.abs()) {
        let text = format!("{f:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(e) => ('-', e),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    f.to_string()
}

/// JSON in one line.
pub fn json_text(value: &Value) -> String {
    value.to_string()
}
