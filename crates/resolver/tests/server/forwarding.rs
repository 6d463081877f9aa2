//! Names that others know: relaying, other servers, limits, loops.

use std::collections::HashSet;
use std::sync::Arc;

use resolver::names::Upstreams;
use resolver::protocol::{Order, Reply};

use crate::harness::*;

fn knows(address: [u8; 4]) -> Arc<Behaviour> {
    Arc::new(move |query, _| Some(answer(query, 0, Some(&address))))
}

#[test]
fn a_question_is_relayed_with_an_identity_of_its_own() {
    let (host, container) = (Host::start(), namespace());
    let upstream = Upstream::start(&host.netns, "127.0.0.53:53", knows([1, 2, 3, 4]));
    host.resolv_conf(&["127.0.0.53"]);
    let mut daemon = host.daemon();
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let asker = Asker::new(&container);
    let mut question = query(0x0707, "Example.ORG", A);
    // Bytes that mean nothing to us go through as they are.
    question[11] = 1;
    question.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 4, 0xff, 1, 0, 0]);
    let relayed = asker.raw(&question);
    assert_eq!(relayed[..2], [7, 7]);
    assert_eq!(relayed[12..question.len()], question[12..]);
    assert_eq!(asker.ask_tcp("example.org", A).data, ["1.2.3.4"]);
    let seen = upstream.seen.lock().unwrap();
    assert_eq!(seen[0][2..], question[2..]);
    let ids: HashSet<_> = seen.iter().map(|message| &message[..2]).collect();
    assert!(ids.iter().any(|id| **id != [7, 7]));
}

#[test]
fn the_next_server_is_asked_when_one_cannot() {
    let (host, container) = (Host::start(), namespace());
    let failing: Arc<Behaviour> = Arc::new(|query, _| Some(answer(query, 2, None)));
    let failing = Upstream::start(&host.netns, "127.0.0.54:53", failing);
    let upstream = Upstream::start(&host.netns, "127.0.0.55:53", knows([1, 2, 3, 4]));
    // Nobody is at the first.
    host.resolv_conf(&["127.0.0.53", "127.0.0.54", "127.0.0.55"]);
    let mut daemon = host.daemon();
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let asker = Asker::new(&container);
    assert_eq!(asker.ask("example.org", A).data, ["1.2.3.4"]);
    assert_eq!(asker.ask_tcp("example.org", A).data, ["1.2.3.4"]);
    assert_eq!((failing.asked(), upstream.asked()), (2, 2));
    // An answer that there is no such name is an answer.
    let none: Arc<Behaviour> = Arc::new(|query, _| Some(answer(query, 3, None)));
    let none = Upstream::start(&host.netns, "127.0.0.56:53", none);
    host.resolv_conf(&["127.0.0.56", "127.0.0.55"]);
    let deadline = std::time::Instant::now() + DEADLINE;
    while asker.ask("example.org", A).code != 3 {
        assert!(
            std::time::Instant::now() < deadline,
            "the file is not read again"
        );
    }
    assert_eq!(none.asked(), 1);
}

#[test]
fn a_silent_server_costs_one_wait_and_then_comes_last() {
    let (host, container) = (Host::start(), namespace());
    let silent = Upstream::start(&host.netns, "127.0.0.53:53", Arc::new(|_, _| None));
    let upstream = Upstream::start(&host.netns, "127.0.0.54:53", knows([1, 2, 3, 4]));
    host.resolv_conf(&["127.0.0.53", "127.0.0.54"]);
    let mut daemon = host.daemon();
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let asker = Asker::new(&container);
    for _ in 0..20 {
        assert_eq!(asker.ask("example.org", A).data, ["1.2.3.4"]);
    }
    assert_eq!((silent.asked(), upstream.asked()), (1, 20));
}

#[test]
fn own_servers_are_asked_from_the_containers_namespace() {
    let (host, container) = (Host::start(), namespace());
    let of_host = Upstream::start(&host.netns, "127.0.0.1:53", knows([9, 9, 9, 9]));
    let own = Upstream::start(&container, "127.0.0.1:53", knows([1, 2, 3, 4]));
    let mut daemon = host.daemon();
    let mut names = sandbox("s", &["n1"]);
    let ourselves = resolver::ADDRESS.into();
    names.upstreams = Upstreams::Own(vec![ourselves, [127, 0, 0, 1].into()]);
    // It may be asked even where nothing is to leave: it is not outside.
    names.forward = false;
    daemon.sandbox(names.clone(), &container);
    let asker = Asker::new(&container);
    for n in 0..40 {
        assert_eq!(asker.ask(&format!("n{n}.org"), A).data, ["1.2.3.4"]);
    }
    assert_eq!(asker.ask_tcp("example.org", A).data, ["1.2.3.4"]);
    assert_eq!((of_host.asked(), own.asked()), (0, 41));
    // Only ourselves: nobody is asked.
    names.upstreams = Upstreams::Own(vec![ourselves]);
    daemon.sandbox(names, &container);
    assert_eq!(asker.ask("example.org", A).code, 2);
}

#[test]
fn an_internal_sandbox_asks_nobody() {
    let (host, container) = (Host::start(), namespace());
    let upstream = Upstream::start(&host.netns, "127.0.0.53:53", knows([1, 2, 3, 4]));
    host.resolv_conf(&["127.0.0.53"]);
    let mut daemon = host.daemon();
    daemon.network("n1", "back", &[(&["db"], "10.1.0.2", None)]);
    let mut names = sandbox("s", &["n1"]);
    names.forward = false;
    daemon.sandbox(names.clone(), &container);
    let asker = Asker::new(&container);
    assert_eq!(asker.ask("db", A).data, ["10.1.0.2"]);
    assert_eq!(asker.ask("example.org", A).code, 2);
    assert_eq!(asker.ask_tcp("example.org", A).code, 2);
    assert_eq!(upstream.asked(), 0);
    names.forward = true;
    daemon.sandbox(names, &container);
    assert_eq!(asker.ask("example.org", A).data, ["1.2.3.4"]);
}

#[test]
fn whoever_asks_the_same_waits_for_the_same_answer() {
    let (host, container) = (Host::start(), namespace());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let slow: Arc<Behaviour> = Arc::new(move |query, _| {
        let _ = wait.lock().unwrap().recv();
        Some(answer(query, 0, Some(&[1, 2, 3, 4])))
    });
    let upstream = Upstream::start(&host.netns, "127.0.0.53:53", slow);
    host.resolv_conf(&["127.0.0.53"]);
    let mut daemon = host.daemon();
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let askers: Vec<_> = (0..10).map(|_| Asker::new(&container)).collect();
    let names = ["example.org", "EXAMPLE.org"];
    for (id, asker) in (0..).zip(&askers) {
        let name = names[usize::from(id) % 2];
        asker.udp.send(&query(id, name, A)).unwrap();
    }
    upstream.wait(1);
    // Answered in order by one thread: everything that was sent has been taken.
    let last = Asker::new(&container);
    daemon.network("n1", "front", &[(&["web"], "10.1.0.2", None)]);
    assert_eq!(last.ask("web", A).data, ["10.1.0.2"]);
    drop(go);
    for (id, asker) in (0_u16..).zip(&askers) {
        let message = asker.receive();
        assert_eq!(message[..2], id.to_be_bytes());
        let name = names[usize::from(id) % 2];
        assert_eq!(message[13..20], name.as_bytes()[..7]);
        assert_eq!(read(&message).data, ["1.2.3.4"]);
    }
    assert_eq!(upstream.asked(), 1);
}

#[test]
fn a_question_that_comes_back_to_us_ends() {
    let (host, container) = (Host::start(), namespace());
    let inner = container.try_clone().unwrap();
    // The container's own server asks the container's resolver.
    let back: Arc<Behaviour> = Arc::new(move |query, _| {
        let udp = inside(&inner, || std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        udp.send_to(query, "127.0.0.11:53").unwrap();
        None
    });
    let upstream = Upstream::start(&container, "127.0.0.1:53", back);
    let mut daemon = host.daemon();
    let mut names = sandbox("s", &["n1"]);
    names.upstreams = Upstreams::Own(vec![[127, 0, 0, 1].into()]);
    daemon.sandbox(names, &container);
    let asker = Asker::new(&container);
    assert_eq!(asker.ask("example.org", A).code, 2);
    assert_eq!(upstream.asked(), 1);
}

#[test]
fn too_many_questions_wait_and_then_are_refused() {
    const ASKERS: u16 = 26;
    const EACH: u16 = 100;
    let (host, container) = (Host::start(), namespace());
    let silent = Upstream::start(&host.netns, "127.0.0.53:53", Arc::new(|_, _| None));
    host.resolv_conf(&["127.0.0.53"]);
    let mut daemon = host.daemon();
    daemon.network("n1", "front", &[(&["web"], "10.1.0.2", None)]);
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let pause = Asker::new(&container);
    // Each socket holds no more answers than there is room for.
    let askers: Vec<_> = (0..ASKERS).map(|_| Asker::new(&container)).collect();
    for (number, asker) in askers.iter().enumerate() {
        for id in 0..EACH {
            let name = format!("n{id}.of{number}.org");
            asker.udp.send(&query(id, &name, A)).unwrap();
        }
        assert_eq!(pause.ask("web", A).data, ["10.1.0.2"]);
    }
    assert!(silent.asked() <= 1024);
    let (mut refused, mut failed) = (0, 0);
    for _ in 0..EACH {
        for asker in &askers {
            match asker.receive()[3] & 15 {
                5 => refused += 1,
                2 => failed += 1,
                code => panic!("{code}"),
            }
        }
    }
    assert!(
        refused >= ASKERS * EACH - 2048,
        "{refused} refused, {failed} failed"
    );
    assert!(failed >= 1024, "{refused} refused, {failed} failed");
    assert_eq!(pause.ask("web", A).data, ["10.1.0.2"]);
}

#[test]
fn a_large_answer_comes_over_tcp() {
    let (host, container) = (Host::start(), namespace());
    let large: Arc<Behaviour> = Arc::new(|query, is_tcp| {
        if is_tcp {
            return Some(answer(query, 0, Some(&[7; 60_000])));
        }
        let mut cut = answer(query, 0, None);
        cut[2] |= 2;
        Some(cut)
    });
    let _upstream = Upstream::start(&host.netns, "127.0.0.53:53", large);
    host.resolv_conf(&["127.0.0.53"]);
    let mut daemon = host.daemon();
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let asker = Asker::new(&container);
    assert!(asker.ask("example.org", TXT).cut);
    let whole = asker.ask_tcp("example.org", TXT);
    assert_eq!(whole.data, ["type 16, 60000 bytes"]);
    let dropped = Order::DropSandbox { id: "s".to_owned() };
    assert_eq!(daemon.order(dropped, None).unwrap(), Reply::Done);
}

#[test]
fn a_forged_answer_is_not_taken() {
    let (host, container) = (Host::start(), namespace());
    let forged: Arc<Behaviour> = Arc::new(|query, _| {
        let mut wrong = answer(query, 0, Some(&[6, 6, 6, 6]));
        wrong[0] ^= 1;
        Some(wrong)
    });
    let forger = Upstream::start(&host.netns, "127.0.0.53:53", forged);
    host.resolv_conf(&["127.0.0.53"]);
    let mut daemon = host.daemon();
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let asker = Asker::new(&container);
    assert_eq!(asker.ask("example.org", A).code, 2);
    assert_eq!(forger.asked(), 1);
}
