//! CNI networks on the real kernel: a program of our own, and Debian's. Needs root.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use super::super::testing::{
    Box as Sandbox, in_host, join, join_with, links, network, settings, wait_for,
};
use super::*;

const NAME: &str = "cni";

/// Writes what it is told to a log, and makes an interface with an address.
const SCRIPT: &str = r#"#!/bin/sh
dir=$(dirname "$0")
input=$(cat)
printf '%s %s %s %s %s %s\n' "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_IFNAME" "$CNI_ARGS" \
    "${CNI_NETNS:+netns}" "$input" >> "$dir/log"
case "$CNI_COMMAND $(cat "$dir/mode" 2>/dev/null)" in
*hang) sleep 1000 ;;
*endless) yes ;;
*garbage) echo garbage; exit 0 ;;
"ADD refuse") echo '{"cniVersion":"1.0.0","code":11,"msg":"no room","details":"try later"}'; exit 1 ;;
"ADD silent") exit 3 ;;
"ADD lie-link") echo '{"cniVersion":"1.0.0","ips":[]}' ;;
"ADD lie-address"|"ADD ")
    nsenter --net="$CNI_NETNS" ip link add name "$CNI_IFNAME" type ifb
    nsenter --net="$CNI_NETNS" ip address add 10.44.0.5/24 dev "$CNI_IFNAME"
    nsenter --net="$CNI_NETNS" ip link set "$CNI_IFNAME" up
    host=5; [ -e "$dir/mode" ] && host=6
    printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","mac":"02:00:00:00:00:44","sandbox":"%s"}],' \
        "$CNI_IFNAME" "$CNI_NETNS"
    printf '"ips":[{"address":"10.44.0.%s/24","gateway":"10.44.0.1","interface":0}]}' "$host" ;;
"DEL refuse-del") echo '{"msg":"not yet"}'; exit 1 ;;
"DEL "*) [ -n "$CNI_NETNS" ] && nsenter --net="$CNI_NETNS" ip link del "$CNI_IFNAME" 2>/dev/null; exit 0 ;;
"CHECK refuse-check") echo '{"msg":"it is gone"}'; exit 1 ;;
esac
"#;

/// Directories with the script as `first` and `second`, and a list of both.
fn driver(dir: &Path) -> Cni {
    let bin = dir.join("bin");
    let config = dir.join("net.d");
    for made in [&bin, &config] {
        std::fs::create_dir_all(made).unwrap();
    }
    for name in ["first", "second"] {
        let path = bin.join(name);
        std::fs::write(&path, SCRIPT).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let list = json!({"cniVersion": "1.0.0", "name": "ours", "plugins": [
        {"type": "first", "capabilities": {"mac": true}}]});
    std::fs::write(config.join("10-ours.conflist"), list.to_string()).unwrap();
    let mut settings = settings(dir);
    settings.cni_config_dir = Some(config);
    settings.cni_bin_dirs = vec![dir.join("none"), bin];
    let mut driver = Cni::open(&settings);
    driver.patience = Duration::from_secs(2);
    driver
}

fn mode(dir: &Path, mode: &str) {
    let path = dir.join("bin/mode");
    match mode {
        "" => std::fs::remove_file(path).unwrap(),
        mode => std::fs::write(path, mode).unwrap(),
    }
}

fn log(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("bin/log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn kept(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir.join("state/cni"));
    entries.map_or(0, Iterator::count)
}

fn ours() -> DriverNetwork {
    let mut net = network(7, NAME, &[(NETWORK, "ours")]);
    net.spec.ipam.pools.clear();
    net
}

fn leave(driver: &Cni, net: &DriverNetwork, one: &Sandbox) -> Result<()> {
    driver.leave(net, Some(one.netns.as_fd()), &one.endpoint)
}

#[test]
fn an_endpoint_is_added_checked_and_deleted() {
    in_host(|dir| {
        let driver = driver(dir);
        let mut net = ours();
        driver.check(&mut net.spec).unwrap();
        driver.create(&net).unwrap();
        let args = BTreeMap::from([(ARGS.to_owned(), "K=V".to_owned())]);
        let one = join_with(&driver, &net, 2, &args).unwrap();
        assert_eq!(one.address().to_string(), "10.44.0.5");
        assert_eq!(one.endpoint.mac.unwrap().to_string(), "02:00:00:00:00:44");
        assert_eq!(one.joined.gateway4, Some([10, 44, 0, 1].into()));
        assert!(one.joined.configured);
        assert_eq!((one.links(), kept(dir)), (vec!["eth0".to_owned()], 1));
        // Another daemon finds what this one added, and has it checked.
        let endpoint = one.endpoint.endpoint_id;
        driver.settle(&net, &[(endpoint, Some(one.netns.as_fd()))]);
        leave(&driver, &net, &one).unwrap();
        assert_eq!((one.links(), kept(dir)), (vec![], 0));
        leave(&driver, &net, &one).unwrap();

        let log = log(dir);
        let container = "02".repeat(32);
        let begins = |line: &String, what: &str| {
            let want = format!("{what} {container} eth0 K=V netns {{");
            assert!(line.starts_with(&want), "{line}");
        };
        assert_eq!(log.len(), 3, "{log:?}");
        for (line, what) in log.iter().zip(["ADD", "CHECK", "DEL"]) {
            begins(line, what);
        }
        assert!(!log[0].contains("prevResult"), "{}", log[0]);
        assert!(
            log[2].contains(r#""prevResult":{"cniVersion":"1.0.0""#),
            "{}",
            log[2]
        );
    });
}

#[test]
fn a_chain_goes_forth_and_back() {
    in_host(|dir| {
        let driver = driver(dir);
        let path = dir.join("chain.conflist");
        let list = json!({"cniVersion": "1.0.0", "name": "chain", "plugins": [
            {"type": "first", "step": 1}, {"type": "second", "step": 2}]});
        std::fs::write(&path, list.to_string()).unwrap();
        let mut net = network(7, NAME, &[(CONFLIST, path.to_str().unwrap())]);
        net.spec.ipam.pools.clear();
        driver.check(&mut net.spec).unwrap();
        join(&driver, &net, 2).unwrap();
        let log = log(dir);
        assert!(
            log[1].contains(r#""step":2"#) && log[1].contains("prevResult"),
            "{log:?}"
        );
        // The list is gone; what was added is deleted all the same.
        std::fs::remove_file(&path).unwrap();
        driver.settle(&net, &[]);
        let steps: Vec<bool> = super::tests::log(dir)[2..]
            .iter()
            .map(|line| line.starts_with("DEL") && line.contains(r#""step":2"#))
            .collect();
        assert_eq!(steps, [true, false]);
        assert_eq!(kept(dir), 0);
    });
}

#[test]
fn programs_that_fail_lie_or_hang_leave_nothing_behind() {
    in_host(|dir| {
        let driver = driver(dir);
        for (how, want) in [
            ("refuse", "no room; try later (code 11)"),
            ("silent", "no reason given: exit status: 3"),
            ("garbage", "its answer is no JSON"),
            ("endless", "its answer is too large"),
            ("hang", "it took longer than"),
            ("lie-link", "there is no interface eth0"),
            ("lie-address", "interface eth0 does not have 10.44.0.6"),
        ] {
            mode(dir, how);
            let begun = Instant::now();
            let error = join(&driver, &ours(), 2).map(drop).unwrap_err();
            let text = spec::error::chain(&error);
            assert!(text.contains(want), "{want}: {text}");
            assert!(begun.elapsed() < Duration::from_secs(30));
            mode(dir, "");
            // What could not be deleted is, when it can be.
            driver.settle(&ours(), &[]);
            assert_eq!((links(), kept(dir)), (vec![], 0), "{how}");
        }
        let hung = std::process::Command::new("pgrep")
            .args(["-f", dir.join("bin/first").to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&hung.stdout), "");
    });
}

#[test]
fn what_cannot_be_deleted_is_kept_until_it_can() {
    in_host(|dir| {
        let driver = driver(dir);
        let one = join(&driver, &ours(), 2).unwrap();
        mode(dir, "refuse-del");
        let error = leave(&driver, &ours(), &one).unwrap_err().to_string();
        assert!(error.contains("not yet"), "{error}");
        // The container is rid of the interface all the same.
        assert_eq!((one.links(), kept(dir)), (vec![], 1));
        driver.settle(&ours(), &[]);
        assert_eq!(kept(dir), 1);
        mode(dir, "");
        driver.remove(&ours()).unwrap();
        assert_eq!(kept(dir), 0);
    });
}

#[test]
fn bad_configurations_are_refused() {
    in_host(|dir| {
        let driver = driver(dir);
        let told = |options: &[(&str, &str)], change: fn(&mut NetworkSpec)| {
            let mut net = network(7, NAME, options);
            net.spec.ipam.pools.clear();
            change(&mut net.spec);
            driver.check(&mut net.spec).unwrap_err().to_string()
        };
        let same = |_: &mut NetworkSpec| {};
        assert!(told(&[], same).contains("no such network"));
        assert!(told(&[(CONFLIST, "x.conf")], same).contains("absolute"));
        assert!(told(&[(CONFLIST, "/nowhere")], same).contains("No such file"));
        let both = [(CONFLIST, "/x"), (NETWORK, "ours")];
        assert!(told(&both, same).contains("too"));
        let ours = [(NETWORK, "ours")];
        assert!(told(&ours, |spec| spec.internal = true).contains("internal"));
        let subnet = |spec: &mut NetworkSpec| {
            spec.ipam.pools = network(9, NAME, &[]).spec.ipam.pools;
        };
        assert!(told(&ours, subnet).contains("subnets"));
        std::fs::remove_file(dir.join("bin/first")).unwrap();
        assert!(told(&ours, same).contains("failed to find the plugin"));
    });
}

/// Where Debian and others keep the programs of the CNI project.
const REAL: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

#[test]
fn the_project_s_bridge_and_host_local_work() {
    let Some(bin) = REAL
        .iter()
        .find(|dir| Path::new(dir).join("bridge").exists())
    else {
        eprintln!("skipped: the CNI project's programs are not installed");
        return;
    };
    in_host(|dir| {
        let path = dir.join("real.conflist");
        let list = json!({"cniVersion": "1.0.0", "name": "real", "plugins": [{
            "type": "bridge", "bridge": "cni7", "isGateway": true, "capabilities": {"mac": true},
            "ipam": {"type": "host-local", "dataDir": dir.join("leases"),
                "ranges": [[{"subnet": "10.45.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]});
        std::fs::write(&path, list.to_string()).unwrap();
        let mut settings = settings(dir);
        settings.cni_bin_dirs = vec![bin.into()];
        let driver = Cni::open(&settings);
        let mut net = network(7, NAME, &[(CONFLIST, path.to_str().unwrap())]);
        net.spec.ipam.pools.clear();
        driver.check(&mut net.spec).unwrap();
        let one = join(&driver, &net, 2).unwrap();
        let two = join(&driver, &net, 3).unwrap();
        assert_eq!(one.address().to_string(), "10.45.0.2");
        assert_eq!(one.joined.gateway4, Some([10, 45, 0, 1].into()));
        assert!(one.reaches(&two.netns, two.address()));
        let host = sys::netns::current().unwrap();
        assert!(one.reaches(&host, [10, 45, 0, 1].into()));
        let endpoint = one.endpoint.endpoint_id;
        let added = driver.state.read(&key(&net, endpoint)).unwrap().unwrap();
        driver.check_added(&added, one.netns.as_fd()).unwrap();
        let leases = || {
            let all = std::fs::read_dir(dir.join("leases/real"))
                .unwrap()
                .flatten();
            let names = all.map(|entry| entry.file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("10.")).count()
        };
        assert_eq!(leases(), 2);
        leave(&driver, &net, &one).unwrap();
        // The second one's container is killed: its namespace is gone when it is deleted.
        drop(two);
        driver.settle(&net, &[]);
        assert_eq!((leases(), kept(dir)), (0, 0));
        wait_for("the pairs to go", || links() == ["cni7"]);
    });
}
