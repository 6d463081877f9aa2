//! What a container's settings may say: everything is refused here, before anything exists.
//!
//! Texts are Docker's. Settings that are valid but not done yet are refused too, or lead to a
//! warning where ignoring them harms nobody.

use crate::config::EngineConfig;
use crate::container::{Config, HostConfig, LogConfig, RestartPolicy};
use crate::oci;
use crate::{Error, Result};

use super::limits::{self, HostFacts};
use super::log_options;
use super::networking::ports;

/// Checks merged settings; fills in what Docker fills in. Returns warnings.
///
/// # Errors
///
/// The first thing that is wrong.
pub(super) fn check(
    config: &mut Config,
    host: &mut HostConfig,
    engine: &EngineConfig,
    facts: &HostFacts,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    process(config, &mut warnings)?;
    warnings.extend(limits::check(&mut host.resources, facts)?);
    modes(host, facts)?;
    restart(&host.restart_policy, host.auto_remove)?;
    warnings.extend(log(&mut host.log, &engine.log)?);
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        let n = host.oom_score_adj;
        return Err(Error::invalid(format!(
            "Invalid value {n}, range for oom score adj is [-1000, 1000]"
        )));
    }
    if host.shm_size < 0 {
        return Err(Error::invalid("SHM size can not be less than 0"));
    }
    if host.shm_size == 0 {
        let default = engine.default_shm_size;
        host.shm_size = if default > 0 {
            default
        } else {
            64 * 1024 * 1024
        };
    }
    oci::check_tmpfs(host)?;
    storage(host)?;
    warnings.extend(oci::Security::parse(&host.security_opt)?.warnings);
    oci::select_capabilities(
        &host.cap_add,
        &host.cap_drop,
        host.privileged,
        &facts.capabilities,
    )?;
    names_and_hosts(host)?;
    without_meaning(host)?;
    runtime(host, engine)?;
    ports::requests(config, host)?;
    if host.network_mode == "host" && host.port_bindings.values().any(|list| !list.is_empty()) {
        warnings.push("Published ports are discarded when using host network mode".into());
    }
    if !host.privileged {
        let defaults = |paths: &[&str]| Some(paths.iter().map(|p| (*p).to_owned()).collect());
        host.masked_paths = host
            .masked_paths
            .take()
            .or_else(|| defaults(&oci::MASKED_PATHS));
        host.readonly_paths = host
            .readonly_paths
            .take()
            .or_else(|| defaults(&oci::READONLY_PATHS));
    }
    Ok(warnings)
}

fn process(config: &Config, warnings: &mut Vec<String>) -> Result<()> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        let dir = &config.working_dir;
        return Err(Error::invalid(format!(
            "the working directory '{dir}' is invalid, it needs to be an absolute path"
        )));
    }
    if let Some(bad) = config
        .env
        .iter()
        .find(|e| e.is_empty() || e.starts_with('='))
    {
        return Err(Error::invalid(format!(
            "invalid environment variable: {bad}"
        )));
    }
    let texts = config.env.iter().chain(config.cmd.iter().flatten());
    let mut texts = texts.chain(config.entrypoint.iter().flatten());
    if texts.any(|t| t.contains('\0')) {
        return Err(Error::invalid(
            "arguments and environment must not contain a zero byte",
        ));
    }
    if let Some(signal) = config.stop_signal.as_deref().filter(|s| !s.is_empty()) {
        super::signal(signal)?;
    }
    // The kernel takes 64 bytes. Docker takes any characters; those that end a line would forge
    // entries of /etc/hosts.
    for text in [&config.hostname, &config.domainname] {
        if text.len() > 64 || text.bytes().any(|c| c.is_ascii_control()) {
            return Err(Error::invalid(format!("invalid hostname: {text}")));
        }
    }
    if let Some(port) = config
        .exposed_ports
        .iter()
        .find(|p| ports::parse(p).is_none())
    {
        return Err(Error::invalid(format!("invalid exposed port: {port}")));
    }
    health(config, warnings)
}

fn health(config: &Config, warnings: &mut Vec<String>) -> Result<()> {
    let Some(health) = &config.healthcheck else {
        return Ok(());
    };
    for (value, what) in [
        (health.interval, "Interval"),
        (health.timeout, "Timeout"),
        (health.start_period, "StartPeriod"),
        (health.start_interval, "StartInterval"),
    ] {
        if value != 0 && value < 1_000_000 {
            return Err(Error::invalid(format!(
                "{what} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if health.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    if health.test.first().is_some_and(|word| word != "NONE") {
        warnings.push(
            "health checks are not yet run: the health of this container stays unknown".into(),
        );
    }
    Ok(())
}

fn modes(host: &mut HostConfig, facts: &HostFacts) -> Result<()> {
    if host.network_mode.is_empty() {
        host.network_mode = "default".to_owned();
    }
    let refuse =
        |what: &str, mode: &str| Err(Error::invalid(format!("invalid {what} mode: {mode}")));
    let container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|c| !c.is_empty())
    };
    if host.ipc_mode.is_empty() {
        host.ipc_mode = "private".to_owned();
    }
    if !matches!(
        host.ipc_mode.as_str(),
        "none" | "private" | "shareable" | "host"
    ) && !container(&host.ipc_mode)
    {
        return refuse("IPC", &host.ipc_mode);
    }
    if !matches!(host.pid_mode.as_str(), "" | "host") && !container(&host.pid_mode) {
        return refuse("PID", &host.pid_mode);
    }
    if !matches!(host.uts_mode.as_str(), "" | "host") {
        return refuse("UTS", &host.uts_mode);
    }
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return refuse("USER", &host.userns_mode);
    }
    match host.cgroupns_mode.as_str() {
        "" => {
            // On version 1 a privileged container sees the host's groups, as in Docker.
            let host_view = host.privileged && !facts.cgroup_v2;
            host.cgroupns_mode = if host_view { "host" } else { "private" }.to_owned();
        }
        "private" | "host" => {}
        other => return refuse("cgroup namespace", other),
    }
    Ok(())
}

/// Checks a restart policy.
///
/// # Errors
///
/// Unknown, or at odds with `--rm`.
pub(super) fn restart(policy: &RestartPolicy, auto_remove: bool) -> Result<()> {
    let name = policy.name.as_str();
    let refuse = |text: String| Err(Error::invalid(format!("invalid restart policy: {text}")));
    if !matches!(name, "" | "no" | "always" | "on-failure" | "unless-stopped") {
        return refuse(format!(
            "unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ));
    }
    if name != "on-failure" && policy.maximum_retry_count != 0 {
        return refuse("maximum retry count can only be used with 'on-failure'".into());
    }
    if policy.maximum_retry_count < 0 {
        return refuse("maximum retry count cannot be negative".into());
    }
    if auto_remove && !matches!(name, "" | "no") {
        return Err(Error::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(())
}

fn log(own: &mut LogConfig, default: &LogConfig) -> Result<Vec<String>> {
    if own.driver.is_empty() {
        own.driver = if default.driver.is_empty() {
            "json-file"
        } else {
            &default.driver
        }
        .to_owned();
        // Options given without a driver are for the default driver, on top of its own.
        for (key, value) in &default.options {
            own.options
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
    }
    Ok(log_options::parse(own)?.warnings)
}

fn names_and_hosts(host: &HostConfig) -> Result<()> {
    for text in &host.dns {
        if text.parse::<std::net::IpAddr>().is_err() {
            return Err(Error::invalid(format!(
                "bad format for dns: {text} is not an ip address"
            )));
        }
    }
    for text in &host.extra_hosts {
        let named = text
            .split_once(':')
            .filter(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace));
        let Some((_, address)) = named else {
            return Err(Error::invalid(format!(
                "bad format for add-host: \"{text}\""
            )));
        };
        let plain = address.trim_start_matches('[').trim_end_matches(']');
        if address != "host-gateway" && plain.parse::<std::net::IpAddr>().is_err() {
            return Err(Error::invalid(format!(
                "invalid IP address in add-host: \"{address}\""
            )));
        }
    }
    let texts = host.dns_search.iter().chain(&host.dns_options);
    if let Some(bad) = texts.into_iter().find(|t| t.contains(['\n', '\0'])) {
        return Err(Error::invalid(format!(
            "bad format for dns option: {bad:?}"
        )));
    }
    Ok(())
}

/// What no container of this system can have.
fn without_meaning(host: &HostConfig) -> Result<()> {
    if !matches!(host.isolation.to_ascii_lowercase().as_str(), "" | "default") {
        return Err(Error::invalid(format!(
            "invalid isolation ({}): linux only supports 'default'",
            host.isolation
        )));
    }
    if host.annotations.contains_key("") {
        return Err(Error::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    Ok(())
}

fn runtime(host: &mut HostConfig, engine: &EngineConfig) -> Result<()> {
    if host.runtime.is_empty() {
        host.runtime.clone_from(&engine.default_runtime);
    }
    let name = host.runtime.as_str();
    if name == engine.default_runtime || matches!(name, "corten" | "runc" | "io.containerd.runc.v2")
    {
        return Ok(());
    }
    if engine.runtimes.contains_key(name) {
        return Err(Error::unsupported(format!(
            "other runtimes are not yet supported: {name}"
        )));
    }
    Err(Error::invalid(format!(
        "unknown or invalid runtime name: {name}"
    )))
}

/// What the options of the storage driver say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Storage {
    /// Most bytes that the container's own layer may hold: `size=`.
    pub(super) size: Option<u64>,
    /// That layer is in memory: `tmpfs=true`.
    pub(super) memory: bool,
}

/// Reads the options of the storage driver.
///
/// # Errors
///
/// An unknown option, or a value that is none.
pub(super) fn storage(host: &HostConfig) -> Result<Storage> {
    let mut storage = Storage::default();
    for (key, value) in &host.storage_opt {
        if key.eq_ignore_ascii_case("tmpfs") {
            storage.memory = value.parse().map_err(|_| {
                Error::invalid(format!("invalid tmpfs: '{value}': want true or false"))
            })?;
            continue;
        }
        if !key.eq_ignore_ascii_case("size") {
            return Err(Error::invalid(format!("Unknown option {key}")));
        }
        let bytes = volume::size_in_bytes(value)
            .ok_or_else(|| Error::invalid(format!("invalid size: '{value}'")))?;
        if bytes < bound::LEAST {
            return Err(Error::invalid(bound::Error::TooSmall { bytes }.to_string()));
        }
        storage.size = Some(bytes);
    }
    Ok(storage)
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
