//! The image's settings below the user's.

use std::collections::BTreeSet;

use spec::image::{self, Empty, RunConfig};

use crate::container::{Config, Healthcheck};
use crate::{Error, Result};

/// The image's part as settings, as inspect of an image shows it.
pub(crate) fn of_image(image: &RunConfig) -> Config {
    Config {
        user: image.user.clone(),
        exposed_ports: image.exposed_ports.keys().cloned().collect(),
        env: image.env.clone(),
        cmd: image.cmd.clone(),
        entrypoint: image.entrypoint.clone(),
        healthcheck: image.healthcheck.as_ref().map(healthcheck),
        args_escaped: image.args_escaped,
        volumes: image.volumes.keys().cloned().collect(),
        working_dir: image.working_dir.clone(),
        on_build: (!image.on_build.is_empty()).then(|| image.on_build.clone()),
        labels: image.labels.clone(),
        stop_signal: (!image.stop_signal.is_empty()).then(|| image.stop_signal.clone()),
        stop_timeout: image.stop_timeout,
        shell: (!image.shell.is_empty()).then(|| image.shell.clone()),
        ..Config::default()
    }
}

/// Settings as an image's part: what only a container has is left out.
pub(crate) fn to_image(config: &Config) -> RunConfig {
    let set = |names: &BTreeSet<String>| names.iter().map(|n| (n.clone(), Empty {})).collect();
    RunConfig {
        user: config.user.clone(),
        exposed_ports: set(&config.exposed_ports),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        healthcheck: config.healthcheck.as_ref().map(|h| image::Healthcheck {
            test: h.test.clone(),
            interval: h.interval,
            timeout: h.timeout,
            start_period: h.start_period,
            start_interval: h.start_interval,
            retries: h.retries,
        }),
        args_escaped: config.args_escaped,
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        on_build: config.on_build.clone().unwrap_or_default(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout,
        shell: config.shell.clone().unwrap_or_default(),
    }
}

fn healthcheck(image: &spec::image::Healthcheck) -> Healthcheck {
    Healthcheck {
        test: image.test.clone(),
        interval: image.interval,
        timeout: image.timeout,
        start_period: image.start_period,
        start_interval: image.start_interval,
        retries: image.retries,
    }
}

/// Fills what the user left open with the image's settings.
///
/// # Errors
///
/// `no command specified`: neither says what to run.
pub(super) fn merge(user: &mut Config, image: &RunConfig) -> Result<()> {
    fill(user, of_image(image));
    if command(user).is_empty() {
        return Err(Error::invalid("no command specified"));
    }
    Ok(())
}

/// Fills what settings leave open with others.
pub(crate) fn fill(user: &mut Config, base: Config) {
    if user.user.is_empty() {
        user.user = base.user;
    }
    user.exposed_ports.extend(base.exposed_ports);
    merge_env(&mut user.env, base.env);
    for (key, value) in base.labels {
        user.labels.entry(key).or_insert(value);
    }
    merge_command(user, base.cmd, base.entrypoint);
    user.healthcheck = merge_health(user.healthcheck.take(), base.healthcheck);
    if user.working_dir.is_empty() {
        user.working_dir = base.working_dir;
    }
    user.volumes.extend(base.volumes);
    user.stop_signal = user
        .stop_signal
        .take()
        .filter(|s| !s.is_empty())
        .or(base.stop_signal);
    user.stop_timeout = user.stop_timeout.or(base.stop_timeout);
    user.shell = user.shell.take().or(base.shell);
    user.on_build = user.on_build.take().or(base.on_build);
}

fn merge_env(user: &mut Vec<String>, base: Vec<String>) {
    let name = |e: &str| e.split('=').next().unwrap_or(e).to_owned();
    let have: BTreeSet<String> = user.iter().map(|e| name(e)).collect();
    user.extend(base.into_iter().filter(|e| !have.contains(&name(e))));
}

fn merge_command(user: &mut Config, cmd: Option<Vec<String>>, entrypoint: Option<Vec<String>>) {
    let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if empty(&user.entrypoint) {
        if empty(&user.cmd) {
            user.cmd = cmd;
        }
        if user.entrypoint.is_none() {
            user.entrypoint = entrypoint;
        }
    }
    // `--entrypoint ""` arrives as one empty text: there is none.
    if user
        .entrypoint
        .as_ref()
        .is_some_and(|list| matches!(list.as_slice(), [e] if e.is_empty()))
    {
        user.entrypoint = None;
    }
}

fn merge_health(user: Option<Healthcheck>, base: Option<Healthcheck>) -> Option<Healthcheck> {
    let (Some(mut user), Some(base)) = (user.clone(), base.clone()) else {
        return user.or(base);
    };
    let pick = |own: i64, image: i64| if own == 0 { image } else { own };
    if user.test.is_empty() {
        user.test = base.test;
    }
    user.interval = pick(user.interval, base.interval);
    user.timeout = pick(user.timeout, base.timeout);
    user.start_period = pick(user.start_period, base.start_period);
    user.start_interval = pick(user.start_interval, base.start_interval);
    user.retries = pick(user.retries, base.retries);
    Some(user)
}

/// Program and arguments of merged settings.
pub(super) fn command(config: &Config) -> Vec<String> {
    let entrypoint = config.entrypoint.iter().flatten();
    entrypoint
        .chain(config.cmd.iter().flatten())
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|w| (*w).to_owned()).collect())
    }

    fn run(entrypoint: Option<Vec<String>>, cmd: Option<Vec<String>>) -> Result<Vec<String>> {
        let image = RunConfig {
            entrypoint: list(&["/entry"]),
            cmd: list(&["default"]),
            ..RunConfig::default()
        };
        let mut user = Config {
            entrypoint,
            cmd,
            ..Config::default()
        };
        merge(&mut user, &image).map(|()| command(&user))
    }

    #[test]
    fn entrypoint_and_command_follow_dockers_rules() {
        assert_eq!(run(None, None).unwrap(), ["/entry", "default"]);
        assert_eq!(run(None, list(&["own"])).unwrap(), ["/entry", "own"]);
        assert_eq!(run(list(&["/mine"]), None).unwrap(), ["/mine"]);
        assert_eq!(run(list(&[""]), list(&["own"])).unwrap(), ["own"]);
        assert_eq!(
            run(list(&[""]), None).unwrap_err().to_string(),
            "no command specified"
        );
        assert_eq!(run(list(&[]), None).unwrap(), ["default"]);
    }

    #[test]
    fn the_users_variables_win() {
        let mut env = vec!["A=1".to_owned()];
        merge_env(&mut env, vec!["PATH=/bin".to_owned(), "A=2".to_owned()]);
        assert_eq!(env, ["A=1", "PATH=/bin"]);
    }
}
