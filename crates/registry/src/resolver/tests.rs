//! Cases of the resolver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::files::Servers;
use super::message::{Kind, Reply, question, reply};
use super::*;

/// An answer to a question: its head and question, then records of (name pointer, type, data).
fn answer(asked: &[u8], flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
    let end = 12 + asked[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let mut out = asked[..end].to_vec();
    out[2..4].copy_from_slice(&(0x8000 | flags).to_be_bytes());
    out[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    out[10..12].copy_from_slice(&[0, 0]);
    for (of, data) in records {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&of.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}

fn kind_of(asked: &[u8]) -> u16 {
    let end = 12 + asked[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    u16::from_be_bytes([asked[end], asked[end + 1]])
}

/// A server on both protocols; the handler makes the answer to a question.
async fn server(
    handler: impl Fn(&[u8], bool) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> SocketAddr {
    let handler = Arc::new(handler);
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = tokio::net::UdpSocket::bind(address).await.unwrap();
    let over_udp = Arc::clone(&handler);
    tokio::spawn(async move {
        let mut bytes = [0; 2000];
        loop {
            let (length, from) = udp.recv_from(&mut bytes).await.unwrap();
            if let Some(answer) = over_udp(&bytes[..length], false) {
                udp.send_to(&answer, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = tcp.accept().await.unwrap();
            let length = socket.read_u16().await.unwrap();
            let mut bytes = vec![0; usize::from(length)];
            socket.read_exact(&mut bytes).await.unwrap();
            let answer = handler(&bytes, true).unwrap();
            socket.write_u16(answer.len() as u16).await.unwrap();
            socket.write_all(&answer).await.unwrap();
        }
    });
    address
}

fn settings(server: SocketAddr) -> Servers {
    Servers {
        servers: vec![server],
        timeout: Duration::from_millis(300),
        ..Servers::parse("")
    }
}

#[test]
fn files_are_read_as_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let (hosts, resolv) = (dir.path().join("hosts"), dir.path().join("resolv.conf"));
    let files = Files::new(hosts.clone(), resolv.clone());
    assert!(files.hosts("a").is_empty());
    std::fs::write(&hosts, "# x\n10.0.0.1 a A.Example # b\n::1 a\nnonsense b\n").unwrap();
    let v4: IpAddr = [10, 0, 0, 1].into();
    assert_eq!(files.hosts("a"), [v4, "::1".parse().unwrap()]);
    assert_eq!(files.hosts("a.example"), [v4]);
    assert!(files.hosts("b").is_empty());
    assert_eq!(files.servers().servers, ["127.0.0.1:53".parse().unwrap()]);
    std::fs::write(
        &resolv,
        "nameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver fd00::53\nsearch A.example. b\n\
         options ndots:2 timeout:1 attempts:99\n",
    )
    .unwrap();
    let servers = files.servers();
    assert_eq!(
        servers.servers,
        [
            "10.0.0.53:53".parse().unwrap(),
            "[fd00::53]:53".parse().unwrap()
        ]
    );
    assert_eq!((servers.ndots, servers.attempts), (2, 5));
    assert_eq!(
        servers.candidates("x.y", false),
        ["x.y.a.example", "x.y.b", "x.y"]
    );
    assert_eq!(servers.candidates("x.y.z", false)[0], "x.y.z");
    assert_eq!(servers.candidates("x", true), ["x"]);
}

#[test]
fn foreign_and_broken_answers_are_nothing() {
    let asked = question(7, "a.example", Kind::V4).unwrap();
    let good = answer(&asked, 0, &[(1, &[10, 0, 0, 1])]);
    let read = |bytes: &[u8]| reply(bytes, 7, "a.example", Kind::V4);
    assert_eq!(
        read(&good),
        Some(Reply::Addresses(vec![[10, 0, 0, 1].into()]))
    );
    assert_eq!(reply(&good, 8, "a.example", Kind::V4), None);
    assert_eq!(reply(&good, 7, "b.example", Kind::V4), None);
    assert_eq!(reply(&good, 7, "a.example", Kind::V6), None);
    assert_eq!(read(&asked), None, "a question is no answer");
    for cut in 0..good.len() {
        let _ = read(&good[..cut]);
    }
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] = 0xff;
        let _ = read(&bytes);
    }
    // A name that points to itself.
    let mut circle = good.clone();
    let at = circle.len() - 16;
    circle[at..at + 2].copy_from_slice(&[0xc0, at as u8]);
    assert_eq!(read(&circle), None);
    for bad in ["", "a..b", &"a".repeat(64), &"a.".repeat(200), "a b", "ä"] {
        assert!(question(1, bad, Kind::V4).is_none(), "{bad}");
    }
}

#[test]
fn only_what_the_question_leads_to_counts() {
    let asked = question(7, "a.example", Kind::V4).unwrap();
    let target = b"\x01c\x07example\x00";
    let mut bytes = answer(&asked, 0, &[(5, target), (1, &[10, 0, 0, 1])]);
    // The second record belongs to the target of the alias instead.
    let at = bytes.len() - 16;
    let points_to = at - target.len();
    bytes[at..at + 2].copy_from_slice(&[0xc0, points_to as u8]);
    let read = |bytes: &[u8]| reply(bytes, 7, "a.example", Kind::V4);
    assert_eq!(
        read(&bytes),
        Some(Reply::Addresses(vec![[10, 0, 0, 1].into()]))
    );
    // Now it belongs to `example`, which nobody asked for.
    bytes[at + 1] = points_to as u8 + 2;
    assert_eq!(read(&bytes), Some(Reply::Addresses(Vec::new())));
}

#[tokio::test]
async fn servers_are_asked_for_both_kinds() {
    let address = server(|asked, _| {
        Some(match kind_of(asked) {
            1 => answer(asked, 0, &[(1, &[192, 0, 2, 1]), (1, &[192, 0, 2, 2])]),
            _ => answer(asked, 0, &[]),
        })
    })
    .await;
    let found = lookup_at(&settings(address), "a.example").await.unwrap();
    let want: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    assert_eq!(found, want);
}

#[tokio::test]
async fn long_answers_come_over_tcp_and_guesses_are_passed_over() {
    let address = server(|asked, is_tcp| {
        Some(match (is_tcp, kind_of(asked)) {
            (false, 1) => answer(asked, 0x0200, &[]),
            (true, 1) => answer(asked, 0, &[(1, &[192, 0, 2, 1])]),
            _ => answer(asked, 0, &[]),
        })
    })
    .await;
    let found = lookup_at(&settings(address), "a.example").await.unwrap();
    assert_eq!(found, [IpAddr::from([192, 0, 2, 1])]);
    let guesser = server(|asked, _| {
        let mut other = answer(asked, 0, &[(1, &[6, 6, 6, 6])]);
        other[0] ^= 1;
        Some(other)
    })
    .await;
    let failure = lookup_at(&settings(guesser), "a.example")
        .await
        .unwrap_err();
    assert_eq!(
        failure.text("a.example"),
        format!("lookup a.example on {guesser}: i/o timeout")
    );
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let none = server(|asked, _| Some(answer(asked, 3, &[]))).await;
    let failure = lookup_at(&settings(none), "a.example").await.unwrap_err();
    assert_eq!(
        failure.text("a.example"),
        format!("lookup a.example on {none}: no such host")
    );
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let broken = server(move |asked, _| {
        count.fetch_add(1, Ordering::SeqCst);
        Some(answer(asked, 2, &[]))
    })
    .await;
    let failure = lookup_at(&settings(broken), "a.example").await.unwrap_err();
    assert!(failure.text("a").ends_with("server misbehaving"));
    assert_eq!(asked.load(Ordering::SeqCst), 4, "two kinds, two attempts");
}

#[tokio::test]
async fn this_machine_is_never_asked_for() {
    let resolver = Resolver::with_files("/nonexistent".into(), "/nonexistent".into());
    let found = resolver.lookup("LOCALHOST.").await.unwrap();
    assert!(found.iter().all(|address| address.is_loopback()));
    assert_eq!(resolver.last("localhost"), Some([127, 0, 0, 1].into()));
    let literal: IpAddr = "192.0.2.7".parse().unwrap();
    assert_eq!(resolver.lookup("192.0.2.7").await.unwrap(), [literal]);
}
