//! Limits of resources: what is out of range or contradicts itself, in Docker's words.

use super::block_rates;
use crate::container::{Resources, Ulimit};
use crate::{Error, Result, oci};

/// Docker's smallest memory limit: 6 MiB.
const MIN_MEMORY: i64 = 6 * 1024 * 1024;

/// Facts of the host that limits are compared with.
#[derive(Debug, Clone)]
pub(super) struct HostFacts {
    /// CPUs on line.
    pub(super) cpus: usize,
    /// The kernel can weigh block I/O.
    pub(super) blkio_weight: bool,
    /// Control groups are of version 2 alone.
    pub(super) cgroup_v2: bool,
    /// Version and patch level of the kernel.
    pub(super) kernel: (u32, u32),
    /// Names of capabilities that exist.
    pub(super) capabilities: Vec<String>,
}

/// Checks limits and fills in what follows from others; returns warnings.
///
/// # Errors
///
/// The first limit that is out of range or contradicts another.
pub(super) fn check(r: &mut Resources, facts: &HostFacts) -> Result<Vec<String>> {
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
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if r.memory_swap < -1 {
        return refuse("invalid memory swap limit");
    }
    if let Some(n) = r.memory_swappiness.filter(|n| !(-1..=100).contains(n)) {
        return refuse(&format!(
            "Invalid value: {n}, valid memory swappiness range is 0-100"
        ));
    }
    if r.memory_reservation != 0 && r.memory_reservation < MIN_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if r.memory > 0 && r.memory_reservation > r.memory {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
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
    if let Some(list) = r
        .rest
        .get_mut("BlkioWeightDevice")
        .and_then(|v| v.as_array_mut())
        && !list.is_empty()
    {
        list.clear();
        warnings.push(
            "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."
                .to_owned(),
        );
    }
    block_rates::parse(r)?;
    if facts.cgroup_v2 {
        if r.cpu_realtime_runtime != 0 || r.cpu_realtime_period != 0 {
            return refuse("Your kernel does not support CPU real-time scheduler");
        }
        warnings.extend(only_on_v1(r));
    }
    if r.oom_kill_disable == Some(true) && r.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
                .to_owned(),
        );
    }
    for limit in &r.ulimits {
        ulimit(limit)?;
    }
    if let Some(rule) = r
        .device_cgroup_rules
        .iter()
        .find(|t| oci::parse_device_rule(t).is_none())
    {
        return refuse(&format!("invalid device cgroup rule format: '{rule}'"));
    }
    // Docker shows no limit as none at all.
    r.pids_limit = r.pids_limit.filter(|n| *n != 0);
    if r.cgroup_parent.split('/').any(|part| part == "..") || r.cgroup_parent.contains('\0') {
        return refuse(&format!("invalid cgroup parent: {}", r.cgroup_parent));
    }
    Ok(warnings)
}

/// Takes away the limits that version 2 of control groups does not have; returns warnings.
fn only_on_v1(r: &mut Resources) -> Vec<String> {
    let mut warnings = Vec::new();
    if r.memory_swappiness.take().is_some_and(|n| n != -1) {
        warnings.push(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded."
                .to_owned(),
        );
    }
    if r.oom_kill_disable.take() == Some(true) {
        warnings.push(
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
        );
    }
    warnings
}

fn ulimit(limit: &Ulimit) -> Result<()> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
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
            return refuse(format!(
                "Conflicting options: Nano CPUs and {name} cannot both be set"
            ));
        }
    }
    let most = i64::try_from(facts.cpus)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000);
    if r.nano_cpus < 0 || r.nano_cpus > most {
        let n = facts.cpus;
        return refuse(format!(
            "range of CPUs is from 0.01 to {n}.00, as there are only {n} CPUs available"
        ));
    }
    if r.cpu_period != 0 && !(1000..=1_000_000).contains(&r.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .into(),
        );
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)".into());
    }
    if r.cpu_shares < 0 {
        let n = r.cpu_shares;
        return refuse(format!(
            "invalid CPU shares ({n}): value must be a positive integer"
        ));
    }
    let last = facts.cpus.saturating_sub(1);
    let available = if last == 0 {
        "0".to_owned()
    } else {
        format!("0-{last}")
    };
    for (set, what, known, most) in [
        (&r.cpuset_cpus, "CPUs", &available, last),
        (&r.cpuset_mems, "memory nodes", &"0".to_owned(), 0),
    ] {
        let Some(highest) = highest_of_set(set) else {
            let field = if what == "CPUs" { "cpus" } else { "mems" };
            return refuse(format!(
                "Invalid value {set} for cpuset {field}: invalid format: {set}"
            ));
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
