//! What is said to the name server alone; the rest is [`helper::protocol`].

use std::collections::BTreeMap;

use helper::Helper;
use helper::protocol::{self, Request};
use serde::{Deserialize, Serialize};

use crate::names::{Member, SandboxNames};

/// The name server among the helpers.
#[derive(Debug)]
pub struct Resolver;

impl Helper for Resolver {
    const NAME: &'static str = "name server";
    const COMMAND: &'static str = "resolver";
    const SOCKET: &'static str = "resolver.sock";
    const VERSION: u32 = 1;
    const FAREWELL: Request<Order> = Request::Leave;
    type Order = Order;
    type Answer = Answer;
    type Load = Load;
}

/// Name server → daemon.
pub type Reply = protocol::Reply<Answer, Load>;

/// Daemon → name server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Members of a network.
    Network {
        /// Identity of the network.
        id: String,
        /// Its name.
        name: String,
        /// Members that are new or changed; `None` for those that are gone.
        members: BTreeMap<String, Option<Member>>,
        /// Which part of the whole this is; absent: a change of what is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part: Option<Part>,
    },
    /// A network is gone.
    DropNetwork {
        /// Identity of the network.
        id: String,
    },
    /// A sandbox is there or has changed. Descriptor: its network namespace.
    Sandbox(SandboxNames),
    /// A sandbox is gone.
    DropSandbox {
        /// Identity of the sandbox.
        id: String,
    },
}

/// A part of a network that is told as a whole; it takes effect with the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Nothing came before.
    pub first: bool,
    /// Nothing comes after.
    pub last: bool,
}

/// What only a name server answers: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {}

/// How much a name server has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Sandboxes that it serves.
    pub sandboxes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Joined, Upstreams};

    fn check(order: Order, json: &str) {
        let document = Request::Own(order);
        assert_eq!(serde_json::to_string(&document).unwrap(), json);
        let back: Request<Order> = serde_json::from_str(json).unwrap();
        assert_eq!(back, document);
    }

    /// Another build of the daemon may be at the other end: these bytes do not change.
    #[test]
    fn version_1_on_the_wire() {
        let member = Member {
            names: vec!["web".to_owned()],
            ipv4: Some([10, 0, 0, 1].into()),
            ipv6: None,
        };
        check(
            Order::Network {
                id: "n".to_owned(),
                name: "net".to_owned(),
                members: [("a".to_owned(), Some(member)), ("b".to_owned(), None)].into(),
                part: None,
            },
            r#"{"network":{"id":"n","name":"net","members":{"a":{"names":["web"],"ipv4":"10.0.0.1"},"b":null}}}"#,
        );
        check(
            Order::Sandbox(SandboxNames {
                id: "s".to_owned(),
                networks: vec![Joined {
                    network: "n".to_owned(),
                    links: [("a".to_owned(), "web".to_owned())].into(),
                }],
                upstreams: Upstreams::Own(vec![[9, 9, 9, 9].into()]),
                ndots_set: false,
                forward: true,
            }),
            r#"{"sandbox":{"id":"s","networks":[{"network":"n","links":{"a":"web"}}],"upstreams":{"own":["9.9.9.9"]},"ndots_set":false,"forward":true}}"#,
        );
        let id = "n".to_owned();
        check(
            Order::DropNetwork { id: id.clone() },
            r#"{"drop_network":{"id":"n"}}"#,
        );
        check(Order::DropSandbox { id }, r#"{"drop_sandbox":{"id":"n"}}"#);
        let load = Load { sandboxes: 2 };
        let json = r#"{"sandboxes":2}"#;
        assert_eq!(serde_json::to_string(&load).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<Reply>(r#""done""#).unwrap(),
            Reply::Done
        );
    }
}
