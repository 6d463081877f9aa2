//! What is said to the relay alone; the rest is [`helper::protocol`].

use std::net::SocketAddr;

use helper::Helper;
use helper::protocol::{self, Request};
use serde::{Deserialize, Serialize};

/// The relay among the helpers.
#[derive(Debug)]
pub struct Relay;

impl Helper for Relay {
    const NAME: &'static str = "relay";
    const COMMAND: &'static str = "relay";
    const SOCKET: &'static str = "relay.sock";
    const VERSION: u32 = 1;
    const FAREWELL: Request<Order> = Request::Own(Order::Retire);
    type Order = Order;
    type Answer = Answer;
    type Load = Load;
}

/// Relay → daemon.
pub type Reply = protocol::Reply<Answer, Load>;

/// Most ports of one message that carries their sockets.
pub const MAX_SOCKETS: usize = sys::fdpass::MAX_FDS;

/// Most ports of one message without sockets.
pub const MAX_PLACES: usize = 500;

/// What can be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address and port.
    pub listen: SocketAddr,
}

/// A port of the host, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The port of the host.
    #[serde(flatten)]
    pub place: Place,
    /// The container's address and port.
    pub target: SocketAddr,
    /// The host's interface that leads there and is gone with the container.
    pub interface: String,
}

/// Daemon → relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Ports to be carried. Descriptors: a bound socket for each, in the same order.
    ///
    /// A port that leads to the same target already stays as it is.
    Open(Vec<Forward>),
    /// Ports that end, with their connections.
    Close(Vec<Place>),
    /// Which ports are there? Answered by [`Answer::Ports`].
    Ports {
        /// How many of them, in their order, are known already.
        known: usize,
    },
    /// Leave the ports to another relay, and end with the last connection.
    Retire,
}

/// What only a relay answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Some of its ports, none when there are no more. Descriptors: their sockets.
    Ports(Vec<Place>),
}

/// How much a relay carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Ports.
    pub ports: usize,
    /// TCP connections.
    pub connections: usize,
    /// UDP flows.
    pub flows: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(order: Order, json: &str) {
        let document = Request::Own(order);
        assert_eq!(serde_json::to_string(&document).unwrap(), json);
        let back: Request<Order> = serde_json::from_str(json).unwrap();
        assert_eq!(back, document);
    }

    /// Another build of the daemon may be at the other end: these bytes do not change.
    #[test]
    fn version_1_on_the_wire() {
        check(Order::Ports { known: 8 }, r#"{"ports":{"known":8}}"#);
        check(Order::Retire, r#""retire""#);
        let place = Place {
            protocol: Protocol::Udp,
            listen: "[::]:53".parse().unwrap(),
        };
        check(
            Order::Close(vec![place]),
            r#"{"close":[{"protocol":"udp","listen":"[::]:53"}]}"#,
        );
        check(
            Order::Open(vec![Forward {
                place,
                target: "172.17.0.2:5353".parse().unwrap(),
                interface: "cvac110002".to_owned(),
            }]),
            r#"{"open":[{"protocol":"udp","listen":"[::]:53","target":"172.17.0.2:5353","interface":"cvac110002"}]}"#,
        );
        let load = Load {
            ports: 1,
            connections: 2,
            flows: 3,
        };
        let json = r#"{"ports":1,"connections":2,"flows":3}"#;
        assert_eq!(serde_json::to_string(&load).unwrap(), json);
        let reply = Reply::Own(Answer::Ports(vec![place]));
        let json = r#"{"ports":[{"protocol":"udp","listen":"[::]:53"}]}"#;
        assert_eq!(serde_json::to_string(&reply).unwrap(), json);
        assert_eq!(serde_json::from_str::<Reply>(json).unwrap(), reply);
    }

    #[test]
    fn the_largest_messages_fit() {
        let listen = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
            .parse()
            .unwrap();
        let place = Place {
            protocol: Protocol::Tcp,
            listen,
        };
        let forward = Forward {
            place,
            target: listen,
            interface: "x".repeat(15),
        };
        for order in [
            Order::Close(vec![place; MAX_PLACES]),
            Order::Open(vec![forward; MAX_SOCKETS]),
        ] {
            assert!(serde_json::to_vec(&order).unwrap().len() <= protocol::MAX_MESSAGE);
        }
    }
}
