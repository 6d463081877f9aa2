//! Ports of this very host: the numbers are those the kernel gives out.

use std::net::{TcpListener, UdpSocket};

use super::*;

fn owner(number: u8) -> Owner {
    let container = ContainerId::from_bytes([number; 32]);
    let name = format!("c{number}");
    Owner { container, name }
}

fn request(protocol: Protocol, host_ip: &str, ports: Option<(u16, u16)>) -> PortRequest {
    PortRequest {
        container_port: 80,
        protocol,
        host_ip: Some(host_ip.parse().unwrap()),
        host_ports: ports,
    }
}

fn binding() -> Binding {
    Binding {
        default: None,
        ipv4: Some(Side {
            address: "172.17.0.2".parse().unwrap(),
            routed: false,
        }),
        ipv6: None,
        relayed: None,
        ipv4_only: true,
    }
}

/// A port that nobody has at the moment.
fn free() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn text(result: Result<Vec<PublishedPort>>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn conflicts_name_the_container_and_end_with_its_release() {
    let ports = Ports::new();
    let tcp = request(Protocol::Tcp, "127.0.0.1", Some((free(), 0)));
    let (number, _) = tcp.host_ports.unwrap();
    let tcp = PortRequest {
        host_ports: Some((number, number)),
        ..tcp
    };
    let got = ports
        .reserve(&owner(1), std::slice::from_ref(&tcp), &binding())
        .unwrap();
    assert_eq!((got.len(), got[0].host_port), (1, number));
    let again = ports.reserve(&owner(2), std::slice::from_ref(&tcp), &binding());
    assert_eq!(
        text(again),
        format!(
            "Bind for 127.0.0.1:{number} failed: port is already allocated (held by container c1)"
        )
    );
    assert!(
        TcpListener::bind(("127.0.0.1", number)).is_err(),
        "it is kept from others"
    );
    // Another protocol is another port.
    let udp = request(Protocol::Udp, "127.0.0.1", Some((number, number)));
    ports.reserve(&owner(2), &[udp], &binding()).unwrap();
    ports.release(&owner(1).container);
    TcpListener::bind(("127.0.0.1", number)).unwrap();
    ports.reserve(&owner(2), &[tcp], &binding()).unwrap();
}

#[test]
fn a_foreign_holder_is_named() {
    let ports = Ports::new();
    let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
    let number = theirs.local_addr().unwrap().port();
    let one = request(Protocol::Udp, "127.0.0.1", Some((number, number)));
    let got = text(ports.reserve(&owner(1), std::slice::from_ref(&one), &binding()));
    let begin = format!(
        "failed to bind host port for 127.0.0.1:{number}:172.17.0.2:80/udp: address already in use \
         (held by process "
    );
    let pid = format!(", pid {})", std::process::id());
    assert!(got.starts_with(&begin) && got.ends_with(&pid), "{got}");
    drop(theirs);
    ports.reserve(&owner(1), &[one], &binding()).unwrap();
}

#[test]
fn all_or_none() {
    let ports = Ports::new();
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, fine) = (theirs.local_addr().unwrap().port(), free());
    let one = |port| request(Protocol::Tcp, "127.0.0.1", Some((port, port)));
    let both = [one(fine), one(taken)];
    assert!(ports.reserve(&owner(1), &both, &binding()).is_err());
    TcpListener::bind(("127.0.0.1", fine)).unwrap();
    assert!(ports.lock().held.is_empty());
}

#[test]
fn ranges_and_any_pass_over_what_is_taken() {
    let ports = Ports::new();
    let any = request(Protocol::Tcp, "127.0.0.1", None);
    let got = ports
        .reserve(&owner(1), &[any.clone(), any], &binding())
        .unwrap();
    let (first, second) = (got[0].host_port, got[1].host_port);
    let (least, most) = ephemeral_range();
    assert!(first != second && (least..=most).contains(&first));
    let range = request(
        Protocol::Tcp,
        "127.0.0.1",
        Some((first, first.saturating_add(200))),
    );
    let got = ports.reserve(&owner(2), &[range], &binding()).unwrap();
    assert!(got[0].host_port > first);
    let full = request(Protocol::Tcp, "127.0.0.1", Some((first, first)));
    assert!(text(ports.reserve(&owner(2), &[full], &binding())).starts_with("Bind for"));
}

#[test]
fn a_port_that_only_ended_connections_have_is_taken_and_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    let client = std::net::TcpStream::connect(host).unwrap();
    let (server, _) = listener.accept().unwrap();
    // The side that closes first keeps the port in TIME_WAIT.
    drop(server);
    drop(client);
    drop(listener);
    let held = socket::bind(Protocol::Tcp, host).unwrap();
    // The standard library allows reuse, as servers do.
    assert!(TcpListener::bind(host).is_err());
    drop(held);
    TcpListener::bind(host).unwrap();
}

#[test]
fn an_address_that_is_not_the_hosts_is_refused_at_once() {
    let ports = Ports::new();
    let far = request(Protocol::Tcp, "192.0.2.77", Some((8000, 9000)));
    assert_eq!(
        text(ports.reserve(&owner(1), &[far], &binding())),
        "failed to bind host port for 192.0.2.77:8000:172.17.0.2:80/tcp: cannot assign requested \
         address"
    );
}

#[test]
fn a_routed_side_uses_no_port_of_the_host() {
    let ports = Ports::new();
    let mut routed = binding();
    routed.ipv4.as_mut().unwrap().routed = true;
    let one = PortRequest {
        host_ip: None,
        ..request(Protocol::Tcp, "0.0.0.0", Some((1, 1)))
    };
    let got = ports.reserve(&owner(1), &[one], &routed).unwrap();
    assert_eq!((got.len(), got[0].host_port), (1, 0));
    assert!(ports.lock().held.is_empty());
}

#[test]
fn a_side_of_one_family_is_relayed_from_the_other() {
    let ports = Ports::new();
    let relaying = Binding {
        relayed: binding().ipv4,
        ipv4_only: false,
        ..binding()
    };
    let any = PortRequest {
        host_ip: None,
        ..request(Protocol::Tcp, "0.0.0.0", None)
    };
    let got = ports
        .reserve(&owner(1), std::slice::from_ref(&any), &relaying)
        .unwrap();
    let addresses: Vec<_> = got.iter().map(|port| port.host_ip.to_string()).collect();
    assert_eq!(addresses, ["0.0.0.0", "::"]);
    assert_eq!(got[0].host_port, got[1].host_port);
    assert!(ports.socket(&owner(1).container, &got[1]).is_some());
    assert!(ports.socket(&owner(2).container, &got[1]).is_none());
    // SCTP is not relayed, nor anything from a host without IPv6 unless it is asked for.
    let four = [
        (
            PortRequest {
                protocol: Protocol::Sctp,
                ..any.clone()
            },
            relaying,
        ),
        (
            any,
            Binding {
                ipv4_only: true,
                ..relaying
            },
        ),
    ];
    for (wish, binding) in four {
        let got = ports.reserve(&owner(2), &[wish], &binding).unwrap();
        assert_eq!(got.len(), 1, "{got:?}");
    }
    let one = request(Protocol::Tcp, "::1", None);
    let got = ports
        .reserve(&owner(3), std::slice::from_ref(&one), &relaying)
        .unwrap();
    assert_eq!((got.len(), got[0].host_ip), (1, one.host_ip.unwrap()));
    // Without a relay it leads nowhere.
    assert_eq!(ports.reserve(&owner(3), &[one], &binding()).unwrap(), []);
}

#[test]
fn what_somebody_kept_is_taken_back() {
    let ports = Ports::new();
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = PublishedPort {
        container_port: 80,
        protocol: Protocol::Tcp,
        host_ip: "127.0.0.1".parse().unwrap(),
        host_port: kept.local_addr().unwrap().port(),
    };
    assert_eq!(ports.adopt(&owner(1), &[port], |_| None).len(), 1);
    ports.release(&owner(1).container);
    let give = |_: &PublishedPort| Some(kept.try_clone().unwrap().into());
    assert_eq!(ports.adopt(&owner(1), &[port], give), Vec::<String>::new());
    assert!(ports.socket(&owner(1).container, &port).is_some());
}
