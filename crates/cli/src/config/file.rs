//! Reading and replacing `config.json`.
//!
//! The file may hold secrets: it is written with mode 0600 beside its target and renamed over it,
//! so that a reader sees the old one or the new one. Changes of several programs at a time are
//! made one after another: each holds a lock on the directory and reads the file anew.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value};

use super::{complaint, go_text, kind, shape};

/// What is in a file, and Docker's complaint about the rest of it.
pub(super) fn read(file: &Path) -> Result<Map<String, Value>, (Map<String, Value>, String)> {
    let text = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => {
            let why = format!(
                "loading config file: open {}: {}",
                file.display(),
                go_text(&error)
            );
            return Err((Map::new(), why));
        }
        Ok(mut opened) => {
            let mut text = Vec::new();
            match io::Read::read_to_end(&mut opened, &mut text) {
                Ok(_) => text,
                Err(error) => {
                    let why = format!("read {}: {}", file.display(), go_text(&error));
                    return Err((Map::new(), parsing(file, &why)));
                }
            }
        }
    };
    let (values, why) = parse(&text);
    match why {
        None => Ok(values),
        Some(why) => Err((values, parsing(file, &why))),
    }
}

fn parsing(file: &Path, why: &str) -> String {
    format!("parsing config file ({}): {why}", file.display())
}

// Go reads the first value and does not look at what follows it.
fn parse(text: &[u8]) -> (Map<String, Value>, Option<String>) {
    if text.iter().all(u8::is_ascii_whitespace) {
        return (Map::new(), None);
    }
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(Value::Object(values))) => {
            let values = shape::normalise(values);
            let why = shape::complaint(&values);
            (values, why)
        }
        None | Some(Ok(Value::Null)) => (Map::new(), None),
        Some(Ok(other)) => {
            let why = format!(
                "json: cannot unmarshal {} into Go value of type configfile.ConfigFile",
                kind(&other)
            );
            (Map::new(), Some(why))
        }
        Some(Err(error)) => (Map::new(), Some(complaint(text, &error))),
    }
}

/// Makes a change to the file in a directory, which is made where it is missing.
pub(super) fn update(
    directory: &Path,
    name: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<(), String> {
    let told = |what: &str, path: &Path, error: &io::Error| {
        format!("{what} {}: {}", path.display(), go_text(error))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| told("mkdir", directory, &error))?;
    let lock = File::open(directory).map_err(|error| told("open", directory, &error))?;
    // File systems without locks have one user at a time, as with Docker.
    let _ = flock(&lock, FlockOperation::LockExclusive);
    let file = directory.join(name);
    let mut values = read(&file).map_err(|(_, why)| {
        format!("{why}; correct the file or move it away, nothing was written to it")
    })?;
    change(&mut values);
    tidy(&mut values);
    let target = target(&file);
    replace(&target, encode(&Value::Object(values)).as_bytes())
        .map_err(|error| told("write", &target, &error))
}

// The entries are always there, and the program's own name is no header of the user's.
fn tidy(values: &mut Map<String, Value>) {
    let auths = values.shift_remove("auths");
    let auths = auths
        .filter(Value::is_object)
        .unwrap_or_else(|| Map::new().into());
    values.shift_insert(0, "auths".to_owned(), auths);
    if let Some(Value::Object(headers)) = values.get_mut("HttpHeaders") {
        headers.retain(|name, _| !name.eq_ignore_ascii_case("User-Agent"));
    }
    *values = shape::normalise(std::mem::take(values));
    shape::drop_empty(values);
}

// Where a link leads, be there something or not.
fn target(file: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(file) {
        return real;
    }
    match (fs::read_link(file), file.parent()) {
        (Ok(to), Some(parent)) => parent.join(to),
        _ => file.to_owned(),
    }
}

fn replace(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = target.parent().unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    let written = write_beside(target, &temporary, bytes);
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_beside(target: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left by a program that died and had our number.
    let _ = fs::remove_file(temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    file.write_all(bytes)?;
    if let Ok(before) = fs::metadata(target) {
        // `sudo corten login` leaves the file to whom it belonged.
        let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.sync_all()?;
    fs::rename(temporary, target)
}

/// Writes JSON indented by tabs, as Go's `MarshalIndent` does.
fn encode(value: &Value) -> String {
    let mut out = String::new();
    put(value, 0, &mut out);
    out
}

fn put(value: &Value, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"\t".repeat(depth));
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                scalar(&Value::from(key.as_str()), out);
                out.push_str(": ");
                put(value, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                put(value, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        other => scalar(other, out),
    }
}

fn scalar(value: &Value, out: &mut String) {
    out.push_str(&String::from_utf8_lossy(&api::gojson::encode(value)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("corten-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_as_dockers_and_for_its_owner_alone() {
        let dir = directory("new").join("deep");
        update(&dir, "config.json", |values| {
            values.insert(
                "auths".to_owned(),
                json!({"localhost:5000": {"auth": "dXNlcjpwYXNz"}}),
            );
        })
        .unwrap();
        let file = dir.join("config.json");
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(
            text,
            "{\n\t\"auths\": {\n\t\t\"localhost:5000\": {\n\t\t\t\"auth\": \"dXNlcjpwYXNz\"\n\t\t}\n\t}\n}"
        );
        assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            1,
            "nothing else is left"
        );
        fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    }

    #[test]
    fn unknown_keys_and_links_stay() {
        let dir = directory("keep");
        fs::create_dir_all(dir.join("real")).unwrap();
        let real = dir.join("real/file.json");
        fs::write(&real, r#"{"mine":{"a":[1,2]},"psFormat":"<x>"}"#).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink("real/file.json", dir.join("config.json")).unwrap();
        update(&dir, "config.json", |_| {}).unwrap();
        assert!(dir.join("config.json").is_symlink());
        assert_eq!(mode(&real), 0o600);
        assert_eq!(
            fs::read_to_string(&real).unwrap(),
            "{\n\t\"auths\": {},\n\t\"psFormat\": \"\\u003cx\\u003e\",\n\t\"mine\": {\n\t\t\"a\": [\n\t\t\t1,\n\t\t\t2\n\t\t]\n\t}\n}"
        );
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_damaged_file_is_not_written_over() {
        let dir = directory("damaged");
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("config.json");
        fs::write(&file, "{\"auths\": {\"x\"").unwrap();
        let error = update(&dir, "config.json", |_| {}).unwrap_err();
        assert!(
            error.contains("unexpected EOF; correct the file"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "{\"auths\": {\"x\"");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let dir = directory("many");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let dir = &dir;
                scope.spawn(move || {
                    update(dir, "config.json", |values| {
                        values.insert(format!("key{number}"), number.into());
                    })
                    .unwrap();
                });
            }
        });
        let values = read(&dir.join("config.json")).unwrap();
        assert_eq!(
            values.keys().filter(|key| key.starts_with("key")).count(),
            8
        );
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_follows_the_first_value_is_passed_over() {
        assert_eq!(parse(b"{} trailing"), (Map::new(), None));
        assert_eq!(parse(b" \n"), (Map::new(), None));
        assert_eq!(parse(b"null"), (Map::new(), None));
        assert_eq!(
            parse(b"[]").1.unwrap(),
            "json: cannot unmarshal array into Go value of type configfile.ConfigFile"
        );
        assert_eq!(
            parse(b"{a}").1.unwrap(),
            "invalid character 'a' looking for beginning of object key string"
        );
    }
}
