//! The daemon and its host.

use std::collections::BTreeMap;

use api::system::{
    AddressPool, Commit, Component, FirewallBackend, IndexConfig, Info as WireInfo, Platform,
    Plugins, RegistryConfig, Runtime, SwarmInfo, Version as WireVersion,
};
use engine::system::{Info, Version};

/// Name of the product.
pub const PRODUCT: &str = "Corten";

/// What `version` shows.
pub fn version(version: &Version, experimental: bool) -> WireVersion {
    let details = [
        ("ApiVersion", api::MAX_VERSION),
        ("Arch", &version.architecture),
        ("BuildTime", ""),
        ("Experimental", if experimental { "true" } else { "false" }),
        ("GitCommit", &version.commit),
        ("GoVersion", ""),
        ("KernelVersion", &version.kernel_version),
        ("MinAPIVersion", api::MIN_VERSION),
        ("Os", &version.os),
    ];
    let details: BTreeMap<_, _> = details
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    WireVersion {
        platform: Platform {
            name: PRODUCT.to_owned(),
        },
        components: vec![Component {
            name: "Engine".to_owned(),
            version: version.version.clone(),
            details,
        }],
        version: version.version.clone(),
        api_version: api::MAX_VERSION.to_owned(),
        min_api_version: api::MIN_VERSION.to_owned(),
        git_commit: version.commit.clone(),
        go_version: String::new(),
        os: version.os.clone(),
        arch: version.architecture.clone(),
        kernel_version: version.kernel_version.clone(),
        experimental,
        build_time: String::new(),
    }
}

/// What `info` shows.
pub fn info(info: &Info, debug: bool) -> WireInfo {
    let config = &*info.config;
    let limits = info.limits;
    WireInfo {
        id: info.id.clone(),
        containers: info.containers,
        containers_running: info.running,
        containers_paused: info.paused,
        containers_stopped: info.stopped,
        images: info.images,
        driver: info.driver.clone(),
        driver_status: info
            .driver_status
            .iter()
            .map(|(k, v)| [k.clone(), v.clone()])
            .collect(),
        plugins: Plugins {
            volume: info.volume_drivers.clone(),
            network: info.network_drivers.clone(),
            authorization: None,
            log: info.log_drivers.clone(),
        },
        memory_limit: limits.memory,
        swap_limit: limits.swap,
        cpu_cfs_period: limits.cpu_cfs,
        cpu_cfs_quota: limits.cpu_cfs,
        cpu_shares: limits.cpu_shares,
        cpu_set: limits.cpuset,
        pids_limit: limits.pids,
        ipv4_forwarding: info.ipv4_forwarding,
        debug,
        n_fd: info.open_files,
        oom_kill_disable: limits.oom_kill_disable,
        n_goroutines: info.tasks,
        system_time: info.system_time.to_string(),
        logging_driver: info.log_driver.clone(),
        cgroup_driver: info.cgroup_driver.clone(),
        cgroup_version: info.cgroup_version.to_string(),
        n_events_listener: info.event_listeners,
        kernel_version: info.kernel_version.clone(),
        operating_system: info.operating_system.clone(),
        os_version: info.os_version.clone(),
        os_type: info.os_type.clone(),
        architecture: info.architecture.clone(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: registries(&info.images_config),
        n_cpu: info.cpus,
        mem_total: info.memory,
        docker_root_dir: config.data_root.display().to_string(),
        http_proxy: info.images_config.http_proxy.clone(),
        https_proxy: info.images_config.https_proxy.clone(),
        no_proxy: info.images_config.no_proxy.clone(),
        name: info.host_name.clone(),
        labels: config.labels.clone(),
        experimental_build: config.experimental,
        server_version: config.version.clone(),
        runtimes: runtimes(info),
        default_runtime: config.default_runtime.clone(),
        swarm: SwarmInfo {
            local_node_state: "inactive".to_owned(),
            ..SwarmInfo::default()
        },
        // Containers always outlive the daemon here.
        live_restore_enabled: true,
        init_binary: "corten-init".to_owned(),
        containerd_commit: Commit::default(),
        runc_commit: Commit {
            id: config.commit.clone(),
        },
        init_commit: Commit {
            id: config.commit.clone(),
        },
        security_options: info.security_options.clone(),
        default_address_pools: config
            .address_pools
            .iter()
            .map(|pool| AddressPool {
                base: pool.base.clone(),
                size: pool.size,
            })
            .collect(),
        firewall_backend: FirewallBackend {
            driver: "nftables".to_owned(),
        },
        warnings: Some(info.warnings.clone()).filter(|w| !w.is_empty()),
        ..WireInfo::default()
    }
}

fn runtimes(info: &Info) -> BTreeMap<String, Runtime> {
    let path = |name: &String| info.config.runtimes.get(name).cloned().unwrap_or_default();
    let names = info.runtimes.iter();
    names
        .map(|name| (name.clone(), Runtime { path: path(name) }))
        .collect()
}

fn registries(config: &engine::config::ImagesConfig) -> RegistryConfig {
    let index = IndexConfig {
        mirrors: config.registry_mirrors.clone(),
        name: "docker.io".to_owned(),
        official: true,
        secure: true,
    };
    let mut index_configs = BTreeMap::from([("docker.io".to_owned(), index)]);
    let mut cidrs = vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()];
    for registry in &config.insecure_registries {
        if registry.contains('/') {
            cidrs.push(registry.clone());
        } else {
            let index = IndexConfig {
                name: registry.clone(),
                ..IndexConfig::default()
            };
            index_configs.insert(registry.clone(), index);
        }
    }
    RegistryConfig {
        index_configs,
        insecure_registry_cidrs: cidrs,
        mirrors: Some(config.registry_mirrors.clone()).filter(|m| !m.is_empty()),
    }
}
