//! Changes to an image's config in the words of a Dockerfile, as `import` and `commit` take them.
//!
//! The instructions that Docker allows there, read as its builder reads them: `CMD`, `ENTRYPOINT`,
//! `ENV`, `EXPOSE`, `HEALTHCHECK`, `LABEL`, `ONBUILD`, `STOPSIGNAL`, `USER`, `VOLUME`, `WORKDIR`,
//! and `SHELL`. Variables of the image's own environment are replaced where Docker does it.

mod health;
mod words;

use spec::Signal;
use spec::image::{Empty, RunConfig};

use words::{expand, list, pairs, split};

/// A change that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChange {
    /// The first word is no instruction, or one that only a build can carry out.
    #[error("{instruction} is not a valid change command")]
    Unknown {
        /// The word as it was written.
        instruction: String,
    },
    /// There are changes, and nothing is in them.
    #[error("file with no instructions")]
    Nothing,
    /// What follows the instruction is wrong.
    #[error("{instruction}: {what}")]
    Arguments {
        /// The instruction.
        instruction: String,
        /// What is wrong.
        what: String,
    },
}

/// Longest change that is read.
const MAX_CHANGE: usize = 64 * 1024;
/// Ports of one `EXPOSE` range and of all together.
const MAX_PORTS: usize = 65_536;

/// Applies changes in order; the config is untouched when one of them is wrong.
///
/// # Errors
///
/// [`InvalidChange`].
pub fn apply(config: &mut RunConfig, changes: &[String]) -> Result<(), InvalidChange> {
    let lines: Vec<String> = changes.iter().flat_map(|change| lines(change)).collect();
    if lines.is_empty() && !changes.is_empty() {
        return Err(InvalidChange::Nothing);
    }
    let mut changed = config.clone();
    let mut has_command = false;
    for line in &lines {
        match apply_line(&mut changed, line)? {
            Field::Command => has_command = true,
            // The arguments were those of another program.
            Field::Entrypoint if !has_command => changed.cmd = None,
            Field::Entrypoint | Field::Other => {}
        }
    }
    *config = changed;
    Ok(())
}

/// Lines of a change: comments and empty ones dropped, continued ones joined.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty() && current.is_empty()) {
            continue;
        }
        match line.trim_end().strip_suffix('\\') {
            Some(begun) => current.push_str(begun),
            None => {
                current.push_str(line);
                lines.push(std::mem::take(&mut current).trim().to_owned());
            }
        }
    }
    if !current.trim().is_empty() {
        lines.push(current.trim().to_owned());
    }
    lines
}

/// What an instruction has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Command,
    Entrypoint,
    Other,
}

fn apply_line(config: &mut RunConfig, line: &str) -> Result<Field, InvalidChange> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let instruction = word.to_uppercase();
    let wrong = |what: &str| InvalidChange::Arguments {
        instruction: instruction.clone(),
        what: what.to_owned(),
    };
    if line.len() > MAX_CHANGE {
        return Err(wrong("it is too long"));
    }
    let known = matches!(
        instruction.as_str(),
        "CMD"
            | "ENTRYPOINT"
            | "ENV"
            | "EXPOSE"
            | "HEALTHCHECK"
            | "LABEL"
            | "ONBUILD"
            | "SHELL"
            | "STOPSIGNAL"
            | "USER"
            | "VOLUME"
            | "WORKDIR"
    );
    if !known {
        let instruction = word.chars().take(80).collect();
        return Err(InvalidChange::Unknown { instruction });
    }
    if rest.is_empty() && !matches!(instruction.as_str(), "CMD" | "ENTRYPOINT") {
        return Err(wrong("requires at least one argument"));
    }
    match instruction.as_str() {
        "CMD" => {
            config.cmd = Some(command(config, rest));
            return Ok(Field::Command);
        }
        "ENTRYPOINT" => {
            // Nothing is none at all, not the shell.
            let entrypoint = Some(command(config, rest)).filter(|_| !rest.is_empty());
            config.entrypoint = entrypoint.filter(|words| !words.is_empty());
            return Ok(Field::Entrypoint);
        }
        "ENV" => {
            for (name, value) in pairs(rest, &config.env).map_err(wrong)? {
                set_env(&mut config.env, &name, &value);
            }
        }
        "LABEL" => config
            .labels
            .extend(pairs(rest, &config.env).map_err(wrong)?),
        "EXPOSE" => {
            for word in split(&expand(rest, &config.env).map_err(wrong)?) {
                expose(config, &word).map_err(wrong)?;
            }
        }
        "HEALTHCHECK" => {
            let shell = shell(config);
            config.healthcheck = Some(health::parse(rest, &shell).map_err(|what| wrong(&what))?);
        }
        "ONBUILD" => config.on_build.push(on_build(rest).map_err(wrong)?),
        "SHELL" => {
            config.shell = list(rest).ok_or_else(|| wrong("requires the arguments as JSON"))?;
        }
        "STOPSIGNAL" => {
            let signal = expand(rest, &config.env).map_err(wrong)?;
            signal
                .parse::<Signal>()
                .map_err(|error| wrong(&error.to_string()))?;
            config.stop_signal = signal;
        }
        "USER" => config.user = expand(rest, &config.env).map_err(wrong)?,
        "VOLUME" => {
            let volumes = match list(rest) {
                Some(volumes) => volumes,
                None => split(&expand(rest, &config.env).map_err(wrong)?),
            };
            for volume in volumes {
                if volume.trim().is_empty() {
                    return Err(wrong("VOLUME specified can not be an empty string"));
                }
                config.volumes.insert(volume, Empty {});
            }
        }
        _ => {
            let path = expand(rest, &config.env).map_err(wrong)?;
            config.working_dir = join(&config.working_dir, &path);
        }
    }
    Ok(Field::Other)
}

fn shell(config: &RunConfig) -> Vec<String> {
    if config.shell.is_empty() {
        return vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    config.shell.clone()
}

fn command(config: &RunConfig, text: &str) -> Vec<String> {
    list(text).unwrap_or_else(|| {
        let mut command = shell(config);
        command.extend(Some(text.to_owned()).filter(|text| !text.is_empty()));
        command
    })
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let is_it = |known: &&mut String| known.split('=').next() == Some(name);
    match env.iter_mut().find(is_it) {
        Some(known) => *known = entry,
        None => env.push(entry),
    }
}

fn on_build(text: &str) -> Result<String, &'static str> {
    match text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_uppercase()
        .as_str()
    {
        "ONBUILD" => Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        "MAINTAINER" | "FROM" => Err("this instruction isn't allowed as an ONBUILD trigger"),
        _ => Ok(text.to_owned()),
    }
}

fn expose(config: &mut RunConfig, text: &str) -> Result<(), &'static str> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err("invalid protocol of a port");
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| text.parse::<u16>().map_err(|_| "invalid port");
    let (first, last) = (port(first)?, port(last)?);
    if first > last || config.exposed_ports.len() > MAX_PORTS {
        return Err("invalid range of ports");
    }
    for port in first..=last {
        config
            .exposed_ports
            .insert(format!("{port}/{protocol}"), Empty {});
    }
    Ok(())
}

/// Joins and cleans as Go's `path.Join`, from `/`.
fn join(current: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{current}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> RunConfig {
        let mut config = RunConfig::default();
        let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
        apply(&mut config, &changes).unwrap();
        config
    }

    #[test]
    fn every_instruction_changes_its_field() {
        let config = changed(&[
            r#"CMD ["sh", "-l"]"#,
            "entrypoint /start $X",
            "ENV A=1 B=\"two words\" C='$A'",
            "ENV D=$A/x A=3",
            "ENV E the rest",
            "ENV A=2",
            "EXPOSE 80 443/UDP 9000-9002",
            r#"LABEL a=b "c d"="e f""#,
            "USER 1000:1000",
            "WORKDIR /srv",
            "WORKDIR app/../web",
            r#"VOLUME ["/data", "/log"]"#,
            "VOLUME /x /y",
            "STOPSIGNAL SIGUSR1",
            "ONBUILD RUN make",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost",
            "# comment",
            "",
        ]);
        let text = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert_eq!(config.cmd, Some(text(&["sh", "-l"])));
        assert_eq!(
            config.entrypoint,
            Some(text(&["/bin/sh", "-c", "/start $X"]))
        );
        assert_eq!(
            config.env,
            text(&["A=2", "B=two words", "C=$A", "D=1/x", "E=the rest"])
        );
        let ports: Vec<_> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(
            ports,
            ["443/udp", "80/tcp", "9000/tcp", "9001/tcp", "9002/tcp"]
        );
        assert_eq!(config.labels["c d"], "e f");
        assert_eq!(config.user, "1000:1000");
        assert_eq!(config.working_dir, "/srv/web");
        assert_eq!(config.volumes.len(), 4);
        assert_eq!(config.stop_signal, "SIGUSR1");
        assert_eq!(config.on_build, text(&["RUN make"]));
        let health = config.healthcheck.unwrap();
        assert_eq!(health.test, text(&["CMD-SHELL", "curl -f localhost"]));
        assert_eq!((health.interval, health.retries), (90_000_000_000, 3));
    }

    #[test]
    fn an_entrypoint_does_not_get_the_arguments_of_another() {
        let of = |changes: &[&str]| {
            let mut config = RunConfig {
                cmd: Some(vec!["sh".to_owned()]),
                entrypoint: Some(vec!["/old".to_owned()]),
                ..RunConfig::default()
            };
            let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
            apply(&mut config, &changes).unwrap();
            let text = |words: Option<Vec<String>>| words.map(|words| words.join(" "));
            (text(config.entrypoint), text(config.cmd))
        };
        let both = |entrypoint: Option<&str>, cmd: Option<&str>| {
            (entrypoint.map(str::to_owned), cmd.map(str::to_owned))
        };
        let new = r#"ENTRYPOINT ["/new"]"#;
        assert_eq!(of(&[new]), both(Some("/new"), None));
        let cmd = r#"CMD ["a"]"#;
        assert_eq!(of(&[cmd, new]), both(Some("/new"), Some("a")));
        assert_eq!(of(&[new, cmd]), both(Some("/new"), Some("a")));
        assert_eq!(of(&["ENTRYPOINT []"]), both(None, None));
        assert_eq!(of(&["ENTRYPOINT"]), both(None, None));
        assert_eq!(of(&["CMD"]), both(Some("/old"), Some("/bin/sh -c")));
        assert_eq!(of(&["CMD []"]), both(Some("/old"), Some("")));
        assert_eq!(of(&["USER x"]), both(Some("/old"), Some("sh")));
    }

    #[test]
    fn wrong_changes_are_refused_and_change_nothing() {
        for bad in [
            "RUN rm -rf /",
            "FROM scratch",
            "nonsense",
            "ENV",
            "ENV =x",
            "ENV A=\"open",
            "EXPOSE 80/icmp",
            "EXPOSE 70000",
            "EXPOSE 9-8",
            "STOPSIGNAL SIGNOPE",
            "ONBUILD ONBUILD RUN x",
            "ONBUILD FROM x",
            "HEALTHCHECK --interval=x CMD true",
            "HEALTHCHECK FOO",
            "SHELL /bin/bash",
            "VOLUME [\"\"]",
        ] {
            let mut config = RunConfig::default();
            let changes = ["USER a".to_owned(), bad.to_owned()];
            assert!(apply(&mut config, &changes).is_err(), "{bad}");
            assert_eq!(config, RunConfig::default(), "{bad}");
        }
        let nothing = apply(&mut RunConfig::default(), &["# x\n".to_owned()]);
        assert_eq!(nothing, Err(InvalidChange::Nothing));
        let error = apply(&mut RunConfig::default(), &["RUN x".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "RUN is not a valid change command");
    }
}
