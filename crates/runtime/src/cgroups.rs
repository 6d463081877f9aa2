//! Control groups of a container: limits and device rules from the specification, and the view of
//! the hierarchies inside.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use spec::runtime::{DeviceRule as SpecRule, Resources, Spec};
use sys::cgroup::{BlockRate, Cgroup, Cgroups, DeviceKind, DeviceRule, Limits, Version};
use sys::mount::{Attributes, Change, FsOption, Reach};
use sys::root::Root;

use crate::Error;
use crate::mounts::Plan;
use crate::rootfs::{ensure_dir, guest};
use crate::step::{Stage, Step};

/// The path of a container's group.
pub(crate) fn path(spec: &Spec, id: &str) -> Result<String, Error> {
    let asked = spec
        .linux
        .as_ref()
        .map_or("", |linux| linux.cgroups_path.as_str());
    if asked.is_empty() {
        return Ok(format!("/corten/{id}"));
    }
    if asked.contains(':') {
        return Err(Error::Unsupported {
            what: format!("the systemd cgroup path `{asked}`"),
        });
    }
    Ok(format!("/{}", asked.trim_matches('/')))
}

/// Converts the limits of a specification.
///
pub fn limits_of(resources: &Resources) -> Limits {
    let rates = |list: &[spec::runtime::ThrottleDevice]| {
        let convert = |d: &spec::runtime::ThrottleDevice| BlockRate {
            major: d.major,
            minor: d.minor,
            rate: d.rate,
        };
        list.iter().map(convert).collect()
    };
    let mut limits = Limits::default();
    if let Some(memory) = &resources.memory {
        // Docker writes zero for "not asked for".
        let asked = |value: Option<i64>| value.filter(|v| *v != 0);
        limits.memory = asked(memory.limit);
        limits.memory_swap = asked(memory.swap);
        limits.memory_reservation = asked(memory.reservation);
        limits.swappiness = memory.swappiness.filter(|s| *s <= 100);
        limits.oom_kill_disable = memory.disable_oom_killer.filter(|disable| *disable);
    }
    if let Some(cpu) = &resources.cpu {
        limits.cpu_shares = cpu.shares.filter(|v| *v != 0);
        limits.cpu_quota = cpu.quota.filter(|v| *v != 0);
        limits.cpu_period = cpu.period.filter(|v| *v != 0);
        limits.realtime_runtime = cpu.realtime_runtime.filter(|v| *v != 0);
        limits.realtime_period = cpu.realtime_period.filter(|v| *v != 0);
        limits.cpu_burst = cpu.burst.filter(|v| *v != 0);
        limits.cpuset_cpus = Some(cpu.cpus.clone()).filter(|c| !c.is_empty());
        limits.cpuset_mems = Some(cpu.mems.clone()).filter(|c| !c.is_empty());
    }
    limits.pids = resources.pids.map(|p| p.limit).filter(|v| *v != 0);
    if let Some(io) = &resources.block_io {
        limits.blkio_weight = io.weight.filter(|w| *w != 0);
        limits.read_bps = rates(&io.throttle_read_bps_device);
        limits.write_bps = rates(&io.throttle_write_bps_device);
        limits.read_iops = rates(&io.throttle_read_iops_device);
        limits.write_iops = rates(&io.throttle_write_iops_device);
    }
    limits.unified = resources.unified.clone().into_iter().collect();
    limits
}

/// Devices that every container may use, before the rules of its specification: making any node,
/// and using those of every /dev.
fn base_rules() -> Vec<DeviceRule> {
    let rule = |kind, major, minor, use_it| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        read: use_it,
        write: use_it,
        mknod: true,
    };
    let mut rules = vec![
        rule(DeviceKind::Char, None, None, false),
        rule(DeviceKind::Block, None, None, false),
    ];
    let nodes = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
    rules.extend(nodes.map(|(a, b)| rule(DeviceKind::Char, Some(a), Some(b), true)));
    rules.push(rule(DeviceKind::Char, Some(136), None, true));
    rules
}

/// Converts device rules, after those that every container has; `None` when everything is allowed.
pub(crate) fn device_rules(list: &[SpecRule]) -> Result<Option<Vec<DeviceRule>>, Error> {
    let mut rules = base_rules();
    let mut everything = false;
    for rule in list {
        let invalid = |what: &str| Error::Invalid {
            reason: format!("device rule: {what}"),
        };
        let kind = match rule.kind.as_str() {
            "" | "a" => DeviceKind::All,
            "c" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            other => return Err(invalid(&format!("unknown type `{other}`"))),
        };
        if let Some(odd) = rule.access.chars().find(|c| !"rwm".contains(*c)) {
            return Err(invalid(&format!("unknown access `{odd}`")));
        }
        let number = |n: Option<i64>| match n {
            None | Some(-1) => Ok(None),
            Some(n) => u32::try_from(n)
                .map(Some)
                .map_err(|_| invalid("number out of range")),
        };
        let has = |c| rule.access.is_empty() || rule.access.contains(c);
        if kind == DeviceKind::All {
            everything = rule.allow;
            // "Deny all" comes first in every specification; what every container has stays.
            rules = if rule.allow { Vec::new() } else { base_rules() };
            continue;
        }
        rules.push(DeviceRule {
            allow: rule.allow,
            kind,
            major: number(rule.major)?,
            minor: number(rule.minor)?,
            read: has('r'),
            write: has('w'),
            mknod: has('m'),
        });
    }
    Ok((!everything).then_some(rules))
}

/// Sets limits and device rules of a new group.
pub(crate) fn configure(group: &Cgroup, spec: &Spec) -> Result<(), Error> {
    let kernel = |source| Error::Kernel {
        action: "set the limits of the container",
        source,
    };
    let none = Resources::default();
    let resources = spec
        .linux
        .as_ref()
        .and_then(|l| l.resources.as_ref())
        .unwrap_or(&none);
    group.set_limits(&limits_of(resources)).map_err(kernel)?;
    if let Some(rules) = device_rules(&resources.devices)? {
        group.set_devices(&rules).map_err(kernel)?;
    }
    Ok(())
}

/// Whose root of the hierarchies the container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Its own group, by a namespace.
    Own,
    /// The host's: its own group is bound in.
    Host,
}

/// Mounts the hierarchies.
pub(crate) fn mount(
    root: &Root,
    destination: &str,
    plan: &Plan,
    hierarchies: &Cgroups,
    group: &Cgroup,
    view: View,
) -> Step<()> {
    let target = ensure_dir(root, &guest(destination)?)?;
    if hierarchies.version() == Version::V2 {
        let only = &hierarchies.hierarchies()[0];
        let mount = match view {
            View::Own => sys::mount::create("cgroup2", &[], plan.set).stage(|| "cgroup2")?,
            View::Host => {
                let path = only.mountpoint.join(group.path().trim_start_matches('/'));
                let copy = sys::mount::copy_path(&path, Reach::Single).stage(|| "cgroup2")?;
                sys::mount::change(copy.as_fd(), Change::set(plan.set), Reach::Single)
                    .stage(|| "cgroup2")?;
                copy
            }
        };
        return sys::mount::attach(mount.as_fd(), target.as_fd()).stage(|| "cgroup2");
    }
    let options = [("source", "cgroup"), ("mode", "755")]
        .map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    let writable = plan.set & !Attributes::MOUNT_ATTR_RDONLY;
    let top = sys::mount::create("tmpfs", &options, writable).stage(|| "tmpfs")?;
    sys::mount::attach(top.as_fd(), target.as_fd()).stage(|| "tmpfs")?;
    for hierarchy in hierarchies
        .hierarchies()
        .iter()
        .filter(|h| h.version == Version::V1)
    {
        let name = hierarchy
            .mountpoint
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or("cgroup");
        let text = || format!("hierarchy `{name}`");
        rustix::fs::mkdirat(&top, name, Mode::from_raw_mode(0o755)).stage(text)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = rustix::fs::openat(&top, name, flags, Mode::empty()).stage(text)?;
        let mount = match view {
            View::Own => {
                let options = v1_options(&hierarchy.controllers);
                sys::mount::create("cgroup", &options, plan.set).stage(text)?
            }
            View::Host => {
                let path = hierarchy
                    .mountpoint
                    .join(group.path().trim_start_matches('/'));
                let copy = sys::mount::copy_path(&path, Reach::Single).stage(text)?;
                let change = Change::set(plan.set);
                sys::mount::change(copy.as_fd(), change, Reach::Single).stage(text)?;
                copy
            }
        };
        sys::mount::attach(mount.as_fd(), place.as_fd()).stage(text)?;
        // Programs look for each controller by its own name.
        for controller in hierarchy
            .controllers
            .iter()
            .filter(|c| *c != name && !c.contains('='))
        {
            rustix::fs::symlinkat(name, &top, controller.as_str()).stage(text)?;
        }
    }
    if plan.set.contains(Attributes::MOUNT_ATTR_RDONLY) {
        let change = Change::set(Attributes::MOUNT_ATTR_RDONLY);
        sys::mount::change(top.as_fd(), change, Reach::Single).stage(|| "tmpfs")?;
    }
    Ok(())
}

fn v1_options(controllers: &[String]) -> Vec<FsOption> {
    let option = |controller: &String| match controller.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (controller.clone(), None),
    };
    let source = ("source".to_owned(), Some("cgroup".to_owned()));
    std::iter::once(source)
        .chain(controllers.iter().map(option))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_rules_begin_with_what_every_container_has() {
        let deny_all = SpecRule {
            access: "rwm".to_owned(),
            ..SpecRule::default()
        };
        let tty = SpecRule {
            allow: true,
            kind: "c".to_owned(),
            major: Some(5),
            minor: Some(1),
            access: "rw".to_owned(),
        };
        let rules = device_rules(&[deny_all.clone(), tty.clone()])
            .unwrap()
            .unwrap();
        let text: Vec<String> = rules.iter().map(ToString::to_string).collect();
        assert_eq!(text.first().map(String::as_str), Some("c *:* m"));
        assert_eq!(text.last().map(String::as_str), Some("c 5:1 rw"));
        assert!(text.contains(&"c 1:3 rwm".to_owned()));
        let all = SpecRule {
            allow: true,
            ..SpecRule::default()
        };
        assert_eq!(device_rules(&[deny_all, all]).unwrap(), None);
        let odd = SpecRule {
            access: "x".to_owned(),
            ..tty
        };
        assert!(device_rules(&[odd]).is_err());
    }

    #[test]
    fn zero_means_not_asked_for() {
        let resources = Resources {
            memory: Some(spec::runtime::Memory {
                limit: Some(0),
                ..Default::default()
            }),
            cpu: Some(spec::runtime::Cpu {
                quota: Some(-1),
                ..Default::default()
            }),
            pids: Some(spec::runtime::Pids { limit: 0 }),
            ..Resources::default()
        };
        let limits = limits_of(&resources);
        assert_eq!(
            (limits.memory, limits.cpu_quota, limits.pids),
            (None, Some(-1), None)
        );
    }
}
