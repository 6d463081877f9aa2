//! CNI configurations: lists of programs, and what each is given to read.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::driver::DriverFailure;

/// Largest configuration.
const MAX_FILE: u64 = 1 << 20;
/// Files of a directory that are looked at.
const MAX_FILES: usize = 1000;
/// Programs of one list.
const MAX_PLUGINS: usize = 32;
/// Versions of the specification whose results are understood.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// What a document means that does not say its version.
const UNSAID: &str = "0.2.0";
/// Endings of files.
const ENDINGS: [&str; 3] = ["conflist", "conf", "json"];

type Result<T> = std::result::Result<T, DriverFailure>;

/// A list of programs that make a network together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List {
    /// Name of the network.
    pub name: String,
    version: String,
    disable_check: bool,
    pub plugins: Vec<Program>,
    /// The document it was read from, as a list.
    pub document: Value,
}

/// One program of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program {
    /// Name of the program.
    kind: String,
    config: Map<String, Value>,
}

fn wrong(place: &str, what: impl Into<String>) -> DriverFailure {
    DriverFailure::CniConfig {
        place: place.to_owned(),
        what: what.into(),
    }
}

impl List {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        if !path.is_absolute() {
            return Err(wrong(&place, "its path must be absolute"));
        }
        Self::parse(&document(path)?, &place)
    }

    /// Finds the network of a name in a directory: the first file by name, as everywhere with CNI.
    pub(super) fn find(dir: Option<&Path>, name: &str) -> Result<Self> {
        let no_dir = || wrong(name, "no directory of CNI configurations is set");
        let dir = dir.ok_or_else(no_dir)?;
        let place = format!("{name} in {}", dir.display());
        let entries = std::fs::read_dir(dir).map_err(|error| wrong(&place, error.to_string()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| {
            let ending = file.extension().and_then(|ending| ending.to_str());
            ending.is_some_and(|ending| ENDINGS.contains(&ending))
        });
        files.sort();
        for file in files.into_iter().take(MAX_FILES) {
            // Others may be broken: they are not what was asked for.
            let Ok(document) = document(&file) else {
                continue;
            };
            if document.get("name").and_then(Value::as_str) == Some(name) {
                return Self::parse(&document, &file.display().to_string());
            }
        }
        Err(wrong(&place, "there is no such network"))
    }

    /// Reads a document: a list, or a single program.
    pub(super) fn parse(document: &Value, place: &str) -> Result<Self> {
        let Some(fields) = document.as_object() else {
            return Err(wrong(place, "it is no JSON object"));
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let version = text("cniVersion").unwrap_or(UNSAID);
        if !VERSIONS.contains(&version) {
            return Err(wrong(
                place,
                format!("cniVersion {version:?} is not supported"),
            ));
        }
        let name = text("name").unwrap_or_default();
        if !is_name(name) {
            return Err(wrong(place, format!("{name:?} is no name of a network")));
        }
        let plugins = match fields.get("plugins") {
            Some(Value::Array(plugins)) => plugins
                .iter()
                .map(|plugin| Program::parse(plugin, place))
                .collect::<Result<Vec<_>>>()?,
            Some(_) => return Err(wrong(place, "plugins is no list")),
            None => vec![Program::parse(document, place)?],
        };
        if plugins.is_empty() || plugins.len() > MAX_PLUGINS {
            return Err(wrong(place, format!("it has {} plugins", plugins.len())));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            disable_check: fields.get("disableCheck") == Some(&Value::Bool(true)),
            plugins,
            document: document.clone(),
        })
    }

    /// Whether its programs are to be asked if everything is still there.
    pub(super) fn checks(&self) -> bool {
        !self.disable_check && !self.version.starts_with("0.3.")
    }

    /// What a program is given to read.
    pub(super) fn input(
        &self,
        plugin: &Program,
        previous: Option<&Value>,
        runtime: &Value,
    ) -> Value {
        let mut input = plugin.config.clone();
        input.insert("cniVersion".to_owned(), self.version.clone().into());
        input.insert("name".to_owned(), self.name.clone().into());
        let capable = input.remove("capabilities");
        let asked = runtime
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| {
                let able = capable.as_ref().and_then(|able| able.get(name.as_str()));
                able == Some(&Value::Bool(true))
            });
        let asked: Map<String, Value> = asked
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !asked.is_empty() {
            input.insert("runtimeConfig".to_owned(), asked.into());
        }
        if let Some(previous) = previous.filter(|previous| !previous.is_null()) {
            input.insert("prevResult".to_owned(), previous.clone());
        }
        input.into()
    }
}

impl Program {
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let config = value.as_object().cloned().unwrap_or_default();
        let kind = config
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !is_name(kind) {
            return Err(wrong(place, format!("{kind:?} is no name of a plugin")));
        }
        Ok(Self {
            kind: kind.to_owned(),
            config,
        })
    }

    /// Where the program is.
    pub(super) fn program(&self, dirs: &[PathBuf]) -> Result<PathBuf> {
        let mut files = dirs.iter().map(|dir| dir.join(&self.kind));
        files.find(|file| file.is_file()).ok_or_else(|| {
            let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            wrong(
                &self.kind,
                format!("failed to find the plugin in [{}]", dirs.join(" ")),
            )
        })
    }
}

/// Names become parts of paths and of environments, so their grammar is also a safety rule.
fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
    let starts = name
        .bytes()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    starts && name.len() <= 200 && name.bytes().all(plain)
}

fn document(path: &Path) -> Result<Value> {
    let place = path.display().to_string();
    let said = |error: std::io::Error| wrong(&place, error.to_string());
    let file = std::fs::File::open(path).map_err(said)?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(wrong(&place, "it is no file"));
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(said)?;
    if text.len() as u64 > MAX_FILE {
        return Err(wrong(&place, "it is too large"));
    }
    serde_json::from_str(&text).map_err(|error| wrong(&place, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(document: &Value) -> std::result::Result<List, String> {
        List::parse(document, "x").map_err(|error| error.to_string())
    }

    #[test]
    fn lists_and_single_programs_are_read_and_nonsense_refused() {
        let one = json!({"cniVersion": "1.0.0", "name": "n", "type": "bridge", "mtu": 9000});
        assert_eq!(list(&one).unwrap().plugins.len(), 1);
        let two = json!({"cniVersion": "0.4.0", "name": "n", "disableCheck": true,
            "plugins": [{"type": "a"}, {"type": "b"}]});
        let two = list(&two).unwrap();
        assert_eq!((two.plugins.len(), two.checks()), (2, false));
        for (bad, want) in [
            (json!([]), "no JSON object"),
            (json!({"name": "n", "type": "a"}), "cniVersion \"0.2.0\""),
            (
                json!({"cniVersion": "9", "name": "n", "type": "a"}),
                "cniVersion \"9\"",
            ),
            (
                json!({"cniVersion": "1.0.0", "type": "a"}),
                "name of a network",
            ),
            (
                json!({"cniVersion": "1.0.0", "name": "n"}),
                "name of a plugin",
            ),
            (
                json!({"cniVersion": "1.0.0", "name": "n", "plugins": []}),
                "0 plugins",
            ),
            (
                json!({"cniVersion": "1.0.0", "name": "n", "plugins": 1}),
                "no list",
            ),
            (
                json!({"cniVersion": "1.0.0", "name": "n", "type": "../../bin/sh"}),
                "name of a plugin",
            ),
        ] {
            let error = list(&bad).unwrap_err();
            assert!(error.contains(want), "{want}: {error}");
        }
    }

    #[test]
    fn a_program_is_given_its_part_and_only_what_it_can_do() {
        let list = list(&json!({"cniVersion": "1.0.0", "name": "n", "plugins": [
            {"type": "a", "capabilities": {"mac": true, "ips": false}, "x": 1},
            {"type": "b", "name": "other"},
        ]}))
        .unwrap();
        let runtime = json!({"mac": "02:00:00:00:00:01", "ips": ["10.0.0.1/24"]});
        let first = list.input(&list.plugins[0], Some(&Value::Null), &runtime);
        let want = json!({"type": "a", "x": 1, "cniVersion": "1.0.0", "name": "n",
            "runtimeConfig": {"mac": "02:00:00:00:00:01"}});
        assert_eq!(first, want);
        let result = json!({"ips": []});
        let second = list.input(&list.plugins[1], Some(&result), &runtime);
        let want =
            json!({"type": "b", "name": "n", "cniVersion": "1.0.0", "prevResult": {"ips": []}});
        assert_eq!(second, want);
    }

    #[test]
    fn networks_are_found_by_name_and_broken_neighbours_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write("10-broken.conflist", "{");
        write(
            "20-a.conf",
            r#"{"cniVersion":"1.0.0","name":"a","type":"first"}"#,
        );
        write(
            "30-a.conflist",
            r#"{"cniVersion":"1.0.0","name":"a","type":"second"}"#,
        );
        write(
            "40-b.txt",
            r#"{"cniVersion":"1.0.0","name":"b","type":"b"}"#,
        );
        let found = List::find(Some(dir.path()), "a").unwrap();
        assert_eq!(found.plugins[0].kind, "first");
        assert!(List::find(Some(dir.path()), "b").is_err());
        assert!(List::find(None, "a").is_err());
        assert!(List::read("relative.conf".as_ref()).is_err());
    }
}
