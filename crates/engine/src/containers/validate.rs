//! What a container's settings may say: everything is refused here, before anything exists.
//!
//! Texts are Docker's. Settings that are valid but not done yet are refused too, or lead to a
//! warning where ignoring them harms nobody.

use crate::config::EngineConfig;
use crate::container::{Config, HostConfig, LogConfig, Resources, RestartPolicy};
use crate::oci;
use crate::{Error, Result};

use super::log_options;

/// Docker's smallest memory limit: 6 MiB.
const MIN_MEMORY: i64 = 6 * 1024 * 1024;

/// Facts of the host that limits are compared with.
#[derive(Debug, Clone)]
pub(super) struct HostFacts {
    /// CPUs on line.
    pub(super) cpus: usize,
    /// The kernel can weigh block I/O.
    pub(super) blkio_weight: bool,
    /// Names of capabilities that exist.
    pub(super) capabilities: Vec<String>,
}

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
    warnings.extend(resources(&mut host.resources, facts)?);
    modes(config, host)?;
    restart(&host.restart_policy, host.auto_remove)?;
    log(&mut host.log, &engine.log)?;
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
        host.shm_size = if default > 0 { default } else { 64 * 1024 * 1024 };
    }
    oci::binds(host)?;
    warnings.extend(oci::Security::parse(&host.security_opt)?.warnings);
    oci::select_capabilities(&host.cap_add, &host.cap_drop, host.privileged, &facts.capabilities)?;
    names_and_hosts(host)?;
    runtime(host, engine)?;
    not_yet(config, host, &mut warnings)?;
    if !host.privileged {
        let defaults = |paths: &[&str]| Some(paths.iter().map(|p| (*p).to_owned()).collect());
        host.masked_paths = host.masked_paths.take().or_else(|| defaults(&oci::MASKED_PATHS));
        host.readonly_paths = host.readonly_paths.take().or_else(|| defaults(&oci::READONLY_PATHS));
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
    if let Some(bad) = config.env.iter().find(|e| e.is_empty() || e.starts_with('=')) {
        return Err(Error::invalid(format!("invalid environment variable: {bad}")));
    }
    let texts = config.env.iter().chain(config.cmd.iter().flatten());
    let mut texts = texts.chain(config.entrypoint.iter().flatten());
    if texts.any(|t| t.contains('\0')) {
        return Err(Error::invalid("arguments and environment must not contain a zero byte"));
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
    if let Some(port) = config.exposed_ports.iter().find(|p| !is_port(p)) {
        return Err(Error::invalid(format!("invalid exposed port: {port}")));
    }
    health(config, warnings)
}

/// Whether a text is `80`, `80/tcp` or `80-90/udp`.
fn is_port(text: &str) -> bool {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |t: &str| t.parse::<u16>().ok();
    matches!(protocol.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp")
        && matches!((number(first), number(last)), (Some(a), Some(b)) if a <= b)
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
            return Err(Error::invalid(format!("{what} in Healthcheck cannot be less than 1ms")));
        }
    }
    if health.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    if health.test.first().is_some_and(|word| word != "NONE") {
        warnings.push("health checks are not yet run: the health of this container stays unknown".into());
    }
    Ok(())
}

/// Checks limits and fills in what follows from others; returns warnings.
///
/// # Errors
///
/// The first limit that is out of range or contradicts another.
pub(super) fn resources(r: &mut Resources, facts: &HostFacts) -> Result<Vec<String>> {
    let refuse = |text: &str| Err(Error::invalid(text));
    if r.memory != 0 && r.memory < MIN_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if r.memory > 0 && r.memory_swap == 0 {
        r.memory_swap = r.memory.saturating_mul(2);
    }
    if r.memory > 0 && r.memory_swap > 0 && r.memory_swap < r.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if r.memory == 0 && r.memory_swap > 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if r.memory_swap < -1 {
        return refuse("invalid memory swap limit");
    }
    if let Some(n) = r.memory_swappiness.filter(|n| !(-1..=100).contains(n)) {
        return refuse(&format!("Invalid value: {n}, valid memory swappiness range is 0-100"));
    }
    if r.memory_reservation != 0 && r.memory_reservation < MIN_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if r.memory > 0 && r.memory_reservation > r.memory {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    cpus(r, facts)?;
    let mut warnings = Vec::new();
    if r.blkio_weight > 0 && !facts.blkio_weight {
        warnings.push(
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
                .to_owned(),
        );
        r.blkio_weight = 0;
    }
    if r.blkio_weight > 0 && !(10..=1000).contains(&r.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    for limit in &r.ulimits {
        ulimit(limit)?;
    }
    if let Some(rule) = r.device_cgroup_rules.iter().find(|t| oci::parse_device_rule(t).is_none()) {
        return refuse(&format!("invalid device cgroup rule format: '{rule}'"));
    }
    if r.cgroup_parent.split('/').any(|part| part == "..") || r.cgroup_parent.contains('\0') {
        return refuse(&format!("invalid cgroup parent: {}", r.cgroup_parent));
    }
    Ok(warnings)
}

fn ulimit(limit: &crate::container::Ulimit) -> Result<()> {
    const NAMES: [&str; 15] = [
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
        "rss", "rtprio", "rttime", "sigpending", "stack",
    ];
    let name = &limit.name;
    if !NAMES.contains(&name.as_str()) && name != "as" {
        return Err(Error::invalid(format!("invalid ulimit type: {name}")));
    }
    let (soft, hard) = (limit.soft, limit.hard);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(Error::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    Ok(())
}

fn cpus(r: &Resources, facts: &HostFacts) -> Result<()> {
    let refuse = |text: String| Err(Error::invalid(text));
    for (other, name) in [(r.cpu_period, "CPU Period"), (r.cpu_quota, "CPU Quota")] {
        if r.nano_cpus > 0 && other > 0 {
            return refuse(format!("Conflicting options: Nano CPUs and {name} cannot both be set"));
        }
    }
    let most = i64::try_from(facts.cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if r.nano_cpus < 0 || r.nano_cpus > most {
        let n = facts.cpus;
        return refuse(format!(
            "range of CPUs is from 0.01 to {n}.00, as there are only {n} CPUs available"
        ));
    }
    if r.cpu_period != 0 && !(1000..=1_000_000).contains(&r.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".into(),
        );
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)".into());
    }
    if r.cpu_shares < 0 {
        let n = r.cpu_shares;
        return refuse(format!("invalid CPU shares ({n}): value must be a positive integer"));
    }
    let last = facts.cpus.saturating_sub(1);
    let available = if last == 0 { "0".to_owned() } else { format!("0-{last}") };
    for (set, what, known, most) in [
        (&r.cpuset_cpus, "CPUs", &available, last),
        (&r.cpuset_mems, "memory nodes", &"0".to_owned(), 0),
    ] {
        let Some(highest) = highest_of_set(set) else {
            let field = if what == "CPUs" { "cpus" } else { "mems" };
            return refuse(format!("Invalid value {set} for cpuset {field}"));
        };
        if highest.is_some_and(|n| n > most) {
            return refuse(format!(
                "Requested {what} are not available - requested {set}, available: {known}"
            ));
        }
    }
    Ok(())
}

/// The highest number of `0-2,4`; `None` if the text is malformed, `Some(None)` if it is empty.
fn highest_of_set(text: &str) -> Option<Option<usize>> {
    if text.is_empty() {
        return Some(None);
    }
    let mut highest = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last {
            return None;
        }
        highest = highest.max(last);
    }
    Some(Some(highest))
}

fn modes(config: &mut Config, host: &mut HostConfig) -> Result<()> {
    if host.network_mode.is_empty() {
        host.network_mode = "default".to_owned();
    }
    let shared_network = host.network_mode.starts_with("container:");
    if shared_network && !config.hostname.is_empty() {
        return Err(Error::invalid("conflicting options: hostname and the network mode"));
    }
    if shared_network && !(host.dns.is_empty() && host.extra_hosts.is_empty()) {
        let what = if host.dns.is_empty() { "custom host-to-IP mapping" } else { "dns" };
        return Err(Error::invalid(format!("conflicting options: {what} and the network mode")));
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return Err(Error::invalid("conflicting options: hostname and the UTS mode"));
    }
    let refuse = |what: &str, mode: &str| Err(Error::invalid(format!("invalid {what} mode: {mode}")));
    let container = |mode: &str| mode.strip_prefix("container:").is_some_and(|c| !c.is_empty());
    if host.ipc_mode.is_empty() {
        host.ipc_mode = "private".to_owned();
    }
    if !matches!(host.ipc_mode.as_str(), "none" | "private" | "shareable" | "host")
        && !container(&host.ipc_mode)
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
        "" => host.cgroupns_mode = if host.privileged { "host" } else { "private" }.to_owned(),
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
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(())
}

fn log(own: &mut LogConfig, default: &LogConfig) -> Result<()> {
    if own.driver.is_empty() {
        own.driver = if default.driver.is_empty() { "json-file" } else { &default.driver }.to_owned();
        // Options given without a driver are for the default driver, on top of its own.
        for (key, value) in &default.options {
            own.options.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    log_options::parse(own).map(|_| ())
}

fn names_and_hosts(host: &HostConfig) -> Result<()> {
    for text in &host.dns {
        if text.parse::<std::net::IpAddr>().is_err() {
            return Err(Error::invalid(format!("bad format for dns: {text} is not an ip address")));
        }
    }
    for text in &host.extra_hosts {
        let good = text.split_once(':').is_some_and(|(name, address)| {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            let name_is_good = !name.is_empty() && !name.contains(char::is_whitespace);
            name_is_good && (address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok())
        });
        if !good {
            return Err(Error::invalid(format!("bad format for add-host: \"{text}\"")));
        }
    }
    let texts = host.dns_search.iter().chain(&host.dns_options);
    if let Some(bad) = texts.into_iter().find(|t| t.contains(['\n', '\0'])) {
        return Err(Error::invalid(format!("bad format for dns option: {bad:?}")));
    }
    Ok(())
}

fn runtime(host: &mut HostConfig, engine: &EngineConfig) -> Result<()> {
    if host.runtime.is_empty() {
        host.runtime.clone_from(&engine.default_runtime);
    }
    let name = host.runtime.as_str();
    if name == engine.default_runtime || matches!(name, "corten" | "runc" | "io.containerd.runc.v2") {
        return Ok(());
    }
    if engine.runtimes.contains_key(name) {
        return Err(Error::unsupported(format!("other runtimes are not yet supported: {name}")));
    }
    Err(Error::invalid(format!("unknown or invalid runtime name: {name}")))
}

/// What comes with a later issue: said, never silently ignored.
fn not_yet(config: &Config, host: &HostConfig, warnings: &mut Vec<String>) -> Result<()> {
    if host.publish_all_ports || host.port_bindings.values().any(|list| !list.is_empty()) {
        return Err(Error::unsupported("publishing ports is not yet supported"));
    }
    if !host.volumes_from.is_empty() {
        return Err(Error::unsupported("mounting volumes of other containers is not yet supported"));
    }
    if !host.links.is_empty() {
        return Err(Error::unsupported("links are not yet supported"));
    }
    if !host.storage_opt.is_empty() {
        return Err(Error::unsupported("storage options are not yet supported"));
    }
    for path in &config.volumes {
        warnings.push(format!(
            "volumes are not yet supported: {path} is kept in the container's own layer"
        ));
    }
    match host.network_mode.as_str() {
        "default" | "bridge" | "host" | "none" => Ok(()),
        mode if mode.starts_with("container:") => Ok(()),
        // Not the class "not found": clients would take the image to be what is missing, and pull.
        other => Err(Error::invalid(format!(
            "failed to set up container networking: network {other} not found"
        ))),
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
