//! The name server as a process: it outlives its daemon, is found again, and is replaced.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use helper::Helper;
use resolver::client::Client;
use resolver::names::{Joined, Member, NetworkNames, SandboxNames, Upstreams};
use resolver::protocol::Resolver;

use crate::*;

const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";

fn client(dir: &Path, program: &Path) -> Client {
    Client::open(settings(dir, program)).unwrap()
}

fn network(last: u8) -> NetworkNames {
    NetworkNames {
        id: "n".to_owned(),
        name: "net".to_owned(),
        members: BTreeMap::from([(
            "a".to_owned(),
            Member {
                names: vec!["web".to_owned()],
                ipv4: Some([10, 0, 0, last].into()),
                ipv6: None,
            },
        )]),
    }
}

fn sandbox(id: &str) -> SandboxNames {
    SandboxNames {
        id: id.to_owned(),
        networks: vec![Joined {
            network: "n".to_owned(),
            links: BTreeMap::new(),
        }],
        upstreams: Upstreams::Own(Vec::new()),
        ndots_set: false,
        forward: false,
    }
}

/// A namespace, and a socket in it that asks.
fn container() -> (OwnedFd, UdpSocket) {
    sys::netns::create(|_| {
        sys::process::loopback_up()?;
        let asker = UdpSocket::bind("127.0.0.1:0").unwrap();
        asker.connect("127.0.0.11:53").unwrap();
        asker
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        Ok::<_, sys::Error>(asker)
    })
    .expect("this test needs root")
}

/// The last number of the address of `web`; asks again until somebody answers.
fn ask(asker: &UdpSocket) -> u8 {
    let deadline = Instant::now() + DEADLINE;
    let mut buffer = [0; 512];
    loop {
        // While nobody is there, the kernel says so.
        let asked = asker.send(QUERY).and_then(|_| asker.recv(&mut buffer));
        if let Ok(length) = asked {
            assert_eq!(buffer[3] & 15, 0);
            return buffer[length - 1];
        }
        assert!(Instant::now() < deadline, "nobody answers");
    }
}

#[test]
fn it_is_started_for_the_first_sandbox_and_ends_with_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let client = client(dir.path(), Path::new(PROGRAM));
    client.set_network(network(2));
    assert_eq!(about::<Resolver>(dir.path()), None, "nobody needs it yet");
    let (netns, asker) = container();
    client.set_sandbox(sandbox("s"), netns.as_fd()).unwrap();
    assert_eq!(ask(&asker), 2);
    client.set_network(network(3));
    assert_eq!(ask(&asker), 3);
    let pid = about::<Resolver>(dir.path()).unwrap().pid;
    client.drop_sandbox("s");
    drop(client);
    wait_until("it does not end", || is_gone(pid));
    assert!(!dir.path().join(Resolver::SOCKET).exists());
}

#[test]
fn it_outlives_its_daemon_and_is_found_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let first = client(dir.path(), Path::new(PROGRAM));
    let ((kept, asker), (lost, _)) = (container(), container());
    first.set_network(network(2));
    first.set_sandbox(sandbox("kept"), kept.as_fd()).unwrap();
    first.set_sandbox(sandbox("lost"), lost.as_fd()).unwrap();
    let before = about::<Resolver>(dir.path()).unwrap();
    drop(first);
    assert_eq!(ask(&asker), 2);
    let second = client(dir.path(), Path::new(PROGRAM));
    assert_eq!(ask(&asker), 2);
    second.set_network(network(3));
    second.set_sandbox(sandbox("kept"), kept.as_fd()).unwrap();
    second.settle();
    assert_eq!(ask(&asker), 3);
    let after = about::<Resolver>(dir.path()).unwrap();
    assert_eq!((after.pid, after.load.sandboxes), (before.pid, 1));
    second.drop_sandbox("kept");
}

#[test]
fn a_dead_one_is_replaced_and_told_everything() {
    let dir = tempfile::tempdir().unwrap();
    let client = client(dir.path(), Path::new(PROGRAM));
    let containers: Vec<_> = (0..5).map(|_| container()).collect();
    client.set_network(network(2));
    for (number, (netns, _)) in containers.iter().enumerate() {
        let id = format!("s{number}");
        client.set_sandbox(sandbox(&id), netns.as_fd()).unwrap();
    }
    let dead = about::<Resolver>(dir.path()).unwrap().pid;
    kill(dead);
    for (_, asker) in &containers {
        assert_eq!(ask(asker), 2);
    }
    wait_until("there is no other", || {
        about::<Resolver>(dir.path())
            .is_some_and(|about| about.pid != dead && about.load.sandboxes == 5)
    });
    // What is said at the moment of its death is not lost either.
    kill(about::<Resolver>(dir.path()).unwrap().pid);
    client.set_network(network(3));
    let (netns, asker) = container();
    client.set_sandbox(sandbox("new"), netns.as_fd()).unwrap();
    assert_eq!(ask(&asker), 3);
    assert_eq!(ask(&containers[0].1), 3);
    for number in 0..5 {
        client.drop_sandbox(&format!("s{number}"));
    }
    client.drop_sandbox("new");
}

#[test]
fn one_of_another_build_serves_until_the_new_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let first = client(dir.path(), Path::new(PROGRAM));
    let (netns, asker) = container();
    first.set_network(network(2));
    first.set_sandbox(sandbox("s"), netns.as_fd()).unwrap();
    let old = about::<Resolver>(dir.path()).unwrap().pid;
    drop(first);
    let upgraded = upgraded(dir.path());
    let second = client(dir.path(), &upgraded);
    assert_eq!(ask(&asker), 2, "the old one goes on");
    second.set_network(network(3));
    second.set_sandbox(sandbox("s"), netns.as_fd()).unwrap();
    assert_eq!(ask(&asker), 3);
    second.settle();
    wait_until("the old one does not end", || is_gone(old));
    assert_eq!(ask(&asker), 3);
    assert_ne!(about::<Resolver>(dir.path()).unwrap().pid, old);
    second.drop_sandbox("s");
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let client = client(dir.path(), &dir.path().join("nothing"));
    let (netns, _) = container();
    let error = client.set_sandbox(sandbox("s"), netns.as_fd()).unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
}
