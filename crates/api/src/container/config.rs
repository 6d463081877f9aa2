//! The portable part of a container's settings.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::gojson::named;

/// A list that may be written as a single string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StringOrList(pub Vec<String>);

impl<'de> Deserialize<'de> for StringOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        // Go's type first tries a list, then a string, and reports what the second try saw.
        fn wrong<E: de::Error>(found: &str) -> E {
            E::custom(format!(
                "json: cannot unmarshal {found} into Go value of type string"
            ))
        }
        impl<'de> Visitor<'de> for Either {
            type Value = StringOrList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<StringOrList, E> {
                Ok(StringOrList(vec![text.to_owned()]))
            }
            fn visit_unit<E: de::Error>(self) -> Result<StringOrList, E> {
                Ok(StringOrList::default())
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<StringOrList, E> {
                Err(wrong("number"))
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<StringOrList, E> {
                Err(wrong("number"))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<StringOrList, E> {
                Err(wrong("number"))
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<StringOrList, E> {
                Err(wrong("bool"))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<StringOrList, A::Error> {
                Err(wrong("object"))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StringOrList, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element().map_err(|_| wrong("array"))? {
                    list.push(item);
                }
                Ok(StringOrList(list))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The value of a set written as a map: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "struct {}")]
pub struct EmptyObject {}

/// The process and its surroundings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "container.CreateRequest", rename_all = "PascalCase")]
pub struct Config {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "is_empty_map", deserialize_with = "port_set")]
    pub exposed_ports: Option<BTreeMap<String, EmptyObject>>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Option<Vec<String>>,
    pub cmd: Option<StringOrList>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    pub image: String,
    pub volumes: Option<BTreeMap<String, EmptyObject>>,
    pub working_dir: String,
    pub entrypoint: Option<StringOrList>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network_disabled: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    pub on_build: Option<Vec<String>>,
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "is_empty_list")]
    pub shell: Option<StringOrList>,
}

fn port_set<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    named("nat.PortSet", d)
}

fn is_empty_map<V>(map: &Option<BTreeMap<String, V>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

fn is_empty_list(list: &Option<StringOrList>) -> bool {
    list.as_ref().is_none_or(|l| l.0.is_empty())
}

/// How health is tested; times in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "container.HealthConfig", rename_all = "PascalCase")]
pub struct HealthConfig {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

pub(super) fn is_zero(n: &i64) -> bool {
    *n == 0
}
