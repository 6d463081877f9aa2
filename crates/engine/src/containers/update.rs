//! Changing limits of a container, running or not.

use sys::cgroup::Limits;

use crate::container::{HostConfig, Resources, RestartPolicy};
use crate::{Error, Result};

/// Puts what was given over what was there; what was not given stays.
///
/// # Errors
///
/// Memory would grow beyond the limit of memory and swap, in Docker's words.
pub(super) fn merge(
    host: &mut HostConfig,
    new: Resources,
    policy: Option<RestartPolicy>,
) -> Result<()> {
    let old = &mut host.resources;
    let set = |slot: &mut i64, value: i64| {
        if value != 0 {
            *slot = value;
        }
    };
    if new.memory > 0 && new.memory_swap == 0 && old.memory_swap > 0 && new.memory > old.memory_swap
    {
        return Err(Error::invalid(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    if new.nano_cpus > 0 && (old.cpu_period > 0 || old.cpu_quota > 0) {
        return Err(Error::conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period or Quota has already been set",
        ));
    }
    for (given, name) in [(new.cpu_period, "Period"), (new.cpu_quota, "Quota")] {
        if given > 0 && old.nano_cpus > 0 {
            return Err(Error::conflict(format!(
                "Conflicting options: CPU {name} cannot be updated as NanoCPUs has already been set"
            )));
        }
    }
    set(&mut old.cpu_shares, new.cpu_shares);
    set(&mut old.nano_cpus, new.nano_cpus);
    set(&mut old.cpu_period, new.cpu_period);
    set(&mut old.cpu_quota, new.cpu_quota);
    set(&mut old.cpu_realtime_period, new.cpu_realtime_period);
    set(&mut old.cpu_realtime_runtime, new.cpu_realtime_runtime);
    set(&mut old.memory, new.memory);
    set(&mut old.memory_swap, new.memory_swap);
    set(&mut old.memory_reservation, new.memory_reservation);
    if new.blkio_weight != 0 {
        old.blkio_weight = new.blkio_weight;
    }
    if !new.cpuset_cpus.is_empty() {
        old.cpuset_cpus = new.cpuset_cpus;
    }
    if !new.cpuset_mems.is_empty() {
        old.cpuset_mems = new.cpuset_mems;
    }
    if new.pids_limit.is_some() {
        old.pids_limit = new.pids_limit;
    }
    if let Some(policy) = policy.filter(|p| !p.name.is_empty()) {
        if host.auto_remove && policy.name != "no" {
            return Err(Error::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        host.restart_policy = policy;
    }
    Ok(())
}

/// Limits as control groups take them.
pub(super) fn limits(r: &Resources) -> Limits {
    let some = |n: i64| (n != 0).then_some(n);
    let positive = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    let (quota, period) = if r.nano_cpus > 0 {
        (Some(r.nano_cpus / 10_000), Some(100_000))
    } else {
        (some(r.cpu_quota), positive(r.cpu_period))
    };
    Limits {
        memory: some(r.memory),
        memory_swap: some(r.memory_swap),
        memory_reservation: some(r.memory_reservation),
        cpu_shares: positive(r.cpu_shares),
        cpu_quota: quota,
        cpu_period: period,
        cpuset_cpus: text(&r.cpuset_cpus),
        cpuset_mems: text(&r.cpuset_mems),
        pids: r.pids_limit.filter(|n| *n != 0),
        blkio_weight: (r.blkio_weight != 0).then_some(r.blkio_weight),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let mut host = HostConfig::default();
        host.resources.memory = 64 << 20;
        host.resources.cpu_shares = 512;
        let new = Resources {
            memory: 32 << 20,
            pids_limit: Some(10),
            ..Resources::default()
        };
        merge(&mut host, new, None).unwrap();
        assert_eq!(
            (host.resources.memory, host.resources.cpu_shares),
            (32 << 20, 512)
        );
        let limits = limits(&host.resources);
        assert_eq!((limits.memory, limits.pids), (Some(32 << 20), Some(10)));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut host = HostConfig::default();
        host.resources.memory_swap = 64 << 20;
        let new = Resources {
            memory: 128 << 20,
            ..Resources::default()
        };
        assert!(merge(&mut host, new, None).is_err());
        host.auto_remove = true;
        let policy = RestartPolicy {
            name: "always".to_owned(),
            maximum_retry_count: 0,
        };
        assert!(merge(&mut host, Resources::default(), Some(policy)).is_err());
    }
}
