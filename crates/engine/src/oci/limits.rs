//! Limits of resources as the runtime wants them.

use spec::runtime::{BlockIo, Cpu, Memory, Pids, Resources};

use super::{Input, devices};
use crate::Result;
use crate::container;

/// Period over which a number of CPUs is counted, in microseconds.
const PERIOD: u64 = 100_000;

/// Limits and device rules of a container.
pub(super) fn resources(input: &Input<'_>) -> Result<Resources> {
    let mut resources = of_settings(&input.host.resources);
    resources.devices = devices::rules(input);
    if input.facts.rates != BlockIo::default() {
        resources.block_io = Some(BlockIo {
            weight: resources.block_io.and_then(|io| io.weight),
            ..input.facts.rates.clone()
        });
    }
    Ok(resources)
}

/// Limits without device rules, as an update changes them too.
pub(crate) fn of_settings(settings: &container::Resources) -> Resources {
    Resources {
        memory: memory(settings),
        cpu: cpu(settings),
        pids: settings
            .pids_limit
            .filter(|n| *n > 0)
            .map(|limit| Pids { limit }),
        block_io: (settings.blkio_weight != 0).then(|| BlockIo {
            weight: Some(settings.blkio_weight),
            ..BlockIo::default()
        }),
        ..Resources::default()
    }
}

fn memory(settings: &container::Resources) -> Option<Memory> {
    let positive = |n: i64| (n > 0).then_some(n);
    let memory = Memory {
        limit: positive(settings.memory),
        reservation: positive(settings.memory_reservation),
        swap: (settings.memory_swap != 0).then_some(settings.memory_swap),
        swappiness: settings
            .memory_swappiness
            .and_then(|n| u64::try_from(n).ok()),
        disable_oom_killer: settings.oom_kill_disable.filter(|on| *on),
        kernel_tcp: positive(settings.kernel_memory_tcp),
        kernel: None,
    };
    (memory != Memory::default()).then_some(memory)
}

fn cpu(settings: &container::Resources) -> Option<Cpu> {
    let positive = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    let mut cpu = Cpu {
        shares: positive(settings.cpu_shares),
        quota: (settings.cpu_quota != 0).then_some(settings.cpu_quota),
        period: positive(settings.cpu_period),
        realtime_runtime: (settings.cpu_realtime_runtime != 0)
            .then_some(settings.cpu_realtime_runtime),
        realtime_period: positive(settings.cpu_realtime_period),
        cpus: settings.cpuset_cpus.clone(),
        mems: settings.cpuset_mems.clone(),
        ..Cpu::default()
    };
    if settings.nano_cpus > 0 {
        cpu.period = Some(PERIOD);
        cpu.quota = Some(settings.nano_cpus / 10_000);
    }
    (cpu != Cpu::default()).then_some(cpu)
}
