//! What daemons say, and when the name server ends.

use std::fs::File;
use std::os::fd::AsFd;

use helper::Helper;
use helper::client::Error;
use helper::protocol::Request;
use resolver::protocol::{Order, Reply, Resolver};

use crate::harness::*;

#[test]
fn names_outlive_the_daemon_and_settle_with_the_next() {
    let (host, kept, lost) = (Host::start(), namespace(), namespace());
    let mut first = host.daemon();
    first.network("n1", "front", &[(&["web"], "10.1.0.2", None)]);
    first.network("n2", "back", &[(&["db"], "10.2.0.2", None)]);
    first.sandbox(sandbox("kept", &["n1", "n2"]), &kept);
    first.sandbox(sandbox("lost", &["n1"]), &lost);
    let known = first.link.about().unwrap();
    assert_eq!(
        (known.version, known.load.sandboxes),
        (Resolver::VERSION, 2)
    );
    drop(first);
    let asker = Asker::new(&kept);
    assert_eq!(asker.ask("web", A).data, ["10.1.0.2"]);
    let mut second = host.daemon();
    second.network("n1", "front", &[(&["web"], "10.1.0.3", None)]);
    second.sandbox(sandbox("kept", &["n1", "n2"]), &kept);
    assert_eq!(asker.ask("db", A).data, ["10.2.0.2"], "not yet forgotten");
    second.link.call(&Request::Settle, &[]).unwrap();
    assert_eq!(second.link.about().unwrap().load.sandboxes, 1);
    assert_eq!(asker.ask("web", A).data, ["10.1.0.3"]);
    assert_eq!(asker.ask("db", A).code, 2);
}

#[test]
fn it_ends_when_no_daemon_and_no_sandbox_is_left() {
    let (mut host, container) = (Host::start(), namespace());
    let mut daemon = host.daemon();
    daemon.sandbox(sandbox("s", &[]), &container);
    let id = "s".to_owned();
    let dropped = daemon.order(Order::DropSandbox { id }, None);
    assert_eq!(dropped.unwrap(), Reply::Done);
    // A sandbox that is gone does not hold its namespace: nothing is bound in it any more.
    inside(&container, || {
        let table = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap();
        assert_eq!(table.lines().count(), 1, "{table}");
    });
    drop(daemon);
    host.wait_for_end();
}

#[test]
fn a_sandbox_in_another_namespace_is_another_one() {
    let (host, one, two) = (Host::start(), namespace(), namespace());
    let mut daemon = host.daemon();
    daemon.network("n1", "front", &[(&["web"], "10.1.0.2", None)]);
    daemon.sandbox(sandbox("s", &["n1"]), &one);
    daemon.sandbox(sandbox("s", &["n1"]), &two);
    assert_eq!(Asker::new(&two).ask("web", A).data, ["10.1.0.2"]);
    assert_eq!(daemon.link.about().unwrap().load.sandboxes, 1);
}

#[test]
fn nonsense_is_refused_and_the_connection_stays() {
    let (host, container) = (Host::start(), namespace());
    let mut daemon = host.daemon();
    let refused = daemon.order(Order::Sandbox(sandbox("s", &[])), None);
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    let file = File::open(host.dir.path()).unwrap().into();
    let refused = daemon.order(Order::Sandbox(sandbox("s", &[])), Some(&file));
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    let other = sys::fdpass::connect(host.dir.path(), Resolver::SOCKET).unwrap();
    sys::fdpass::send(other.as_fd(), b"{\"dance\":1}", &[]).unwrap();
    sys::process::wait_readable(other.as_fd()).unwrap();
    let mut buffer = [0; 256];
    let answer = sys::fdpass::recv(other.as_fd(), &mut buffer).unwrap();
    assert!(buffer[..answer.len].starts_with(b"{\"error\""));
    daemon.sandbox(sandbox("s", &[]), &container);
    assert_eq!(daemon.link.about().unwrap().load.sandboxes, 1);
}
