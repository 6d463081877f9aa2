//! Names from memory, over both transports, whatever else is sent.

use std::io::Write;

use crate::harness::*;

fn front(daemon: &mut Daemon) {
    daemon.network(
        "n1",
        "front",
        &[
            (&["web", "www", "0123456789ab"], "10.1.0.2", Some("fd00::2")),
            (&["two", "www"], "10.1.0.3", None),
        ],
    );
}

#[test]
fn names_addresses_and_their_absence() {
    let (host, container) = (Host::start(), namespace());
    let mut daemon = host.daemon();
    front(&mut daemon);
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let asker = Asker::new(&container);
    let data = |texts: &[&str]| Answer {
        code: 0,
        cut: false,
        data: texts.iter().map(|text| (*text).to_owned()).collect(),
    };
    for ask in [Asker::ask, Asker::ask_tcp] {
        assert_eq!(ask(&asker, "web", A), data(&["10.1.0.2"]));
        assert_eq!(ask(&asker, "WEB.Front", A), data(&["10.1.0.2"]));
        assert_eq!(ask(&asker, "0123456789ab", AAAA), data(&["fd00::2"]));
        assert_eq!(ask(&asker, "two", AAAA), data(&[]));
        let reverse = ask(&asker, "2.0.1.10.in-addr.arpa", PTR);
        assert_eq!(reverse, data(&["web.front"]));
        let mut both = ask(&asker, "www", A);
        both.data.sort();
        assert_eq!(both, data(&["10.1.0.2", "10.1.0.3"]));
        assert_eq!(ask(&asker, "nobody", A).code, 2, "there is nobody to ask");
    }
    daemon.network("n1", "front", &[(&["web"], "10.1.0.9", None)]);
    assert_eq!(asker.ask("web", A), data(&["10.1.0.9"]));
    assert_eq!(asker.ask("two", A).code, 2);
}

#[test]
fn a_container_may_serve_its_own_port_53() {
    let (host, container) = (Host::start(), namespace());
    let own = inside(&container, || {
        std::net::UdpSocket::bind("0.0.0.0:53").unwrap()
    });
    let mut daemon = host.daemon();
    front(&mut daemon);
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    assert_eq!(Asker::new(&container).ask("web", A).data, ["10.1.0.2"]);
    let client = inside(&container, || {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap()
    });
    client.send_to(b"mine", "127.0.0.1:53").unwrap();
    own.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(own.recv(&mut [0; 16]).unwrap(), 4);
}

#[test]
fn what_is_malformed_is_told_or_ignored_and_harms_nobody() {
    let (host, container) = (Host::start(), namespace());
    let mut daemon = host.daemon();
    front(&mut daemon);
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let asker = Asker::new(&container);
    // Ignored: too short, and an answer.
    asker.udp.send(b"short").unwrap();
    let mut reply = query(1, "web", A);
    reply[2] |= 0x80;
    asker.udp.send(&reply).unwrap();
    // Answered by a code: a pointer in the name, 64 KiB of anything.
    let mut looping = query(0x0101, "web", A);
    looping[12..14].copy_from_slice(&[0xc0, 12]);
    assert_eq!(asker.raw(&looping)[..4], [1, 1, 0x81, 1]);
    let mut long = query(0x0202, "web", A);
    long.resize(65_507, 0xc0);
    assert_eq!(asker.raw(&long)[..4], [2, 2, 0x81, 1]);
    // Over TCP the connection ends after that.
    let mut stream = asker.connect();
    long.resize(65_535, 0xc0);
    stream.write_all(&[0xff, 0xff]).unwrap();
    let _reset_before_all_was_taken = stream.write_all(&long);
    let mut half = asker.connect();
    half.write_all(&[0, 40, 1, 2]).unwrap();
    drop(half);
    let mut several = asker.connect();
    for id in 0..200 {
        write_frame(&mut several, &query(id, "web", A));
    }
    let mut seen: Vec<_> = (0..200)
        .map(|_| read_frame(&mut several).unwrap()[..2].to_vec())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 200);
    assert_eq!(asker.ask("web", A).data, ["10.1.0.2"]);
}

#[test]
fn a_long_answer_is_cut_for_who_takes_no_more() {
    let (host, container) = (Host::start(), namespace());
    let mut daemon = host.daemon();
    let addresses: Vec<_> = (1..=100).map(|last| format!("10.1.0.{last}")).collect();
    let names: Vec<_> = (1..=100)
        .map(|n| [format!("c{n}"), "all".to_owned()])
        .collect();
    let names: Vec<_> = names
        .iter()
        .map(|[a, b]| [a.as_str(), b.as_str()])
        .collect();
    let members: Vec<(&[&str], &str, Option<&str>)> = names
        .iter()
        .zip(&addresses)
        .map(|(names, address)| (&names[..], address.as_str(), None))
        .collect();
    daemon.network("n1", "front", &members);
    daemon.sandbox(sandbox("s", &["n1"]), &container);
    let asker = Asker::new(&container);
    let cut = asker.ask("all", A);
    assert!(cut.cut && cut.data.len() == 30, "{cut:?}");
    let mut large = query(1, "all", A);
    large[11] = 1;
    large.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    let whole = read(&asker.raw(&large));
    assert_eq!((whole.cut, whole.data.len()), (false, 100));
    assert_eq!(asker.ask_tcp("all", A).data.len(), 100);
}
