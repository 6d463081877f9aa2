//! `network connect` and `network disconnect`

use std::collections::BTreeMap;

use api::client::{Request, escape};
use api::network::{ConnectRequest, DisconnectRequest, EndpointIpamConfig, EndpointSettings};
use serde_json::json;

use super::NO_NAME;
use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::tree::Run;

/// `network connect`
pub(super) fn connect(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let endpoint = endpoint(&flags)?;
        let (network, container) = names(&flags)?;
        let body = ConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(endpoint),
        };
        let path = format!("/networks/{}/connect", escape(network));
        let request = Request::post(path).json(&json!(body));
        Ok(app.client.send(request).await.map(drop)?)
    })
}

/// `network disconnect`
pub(super) fn disconnect(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let (network, container) = names(&flags)?;
        let body = DisconnectRequest {
            container: container.to_owned(),
            force: flags.bool("force"),
        };
        let path = format!("/networks/{}/disconnect", escape(network));
        let request = Request::post(path).json(&json!(body));
        Ok(app.client.send(request).await.map(drop)?)
    })
}

// The two arguments, without blanks around them.
fn names(flags: &Parsed) -> Result<(&str, &str), Failure> {
    let name = |at: usize| flags.args.get(at).map_or("", |name| name.trim());
    match (name(0), name(1)) {
        ("", _) => Err(Failure::new(NO_NAME)),
        (_, "") => Err(Failure::new("invalid container name or ID: value is empty")),
        both => Ok(both),
    }
}

fn endpoint(flags: &Parsed) -> Result<EndpointSettings, Failure> {
    let mut driver_opts = BTreeMap::new();
    for option in flags.list("driver-opt") {
        let pair = option.split_once('=').map(|(k, v)| (k.trim(), v.trim()));
        let (key, value) = pair
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Failure::new("invalid key/value pair format in driver options"))?;
        driver_opts.insert(key.to_owned(), value.to_owned());
    }
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    Ok(EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: flags.str("ip").to_owned(),
            ipv6_address: flags.str("ip6").to_owned(),
            link_local_ips: some(flags.list("link-local-ip")),
        }),
        links: some(flags.list("link")),
        aliases: Some(flags.list("alias")),
        driver_opts: Some(driver_opts),
        gw_priority: flags.int("gw-priority"),
        ..EndpointSettings::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Mixing, parse};

    fn read(args: &[&str]) -> Parsed {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        parse(super::super::CONNECT.flags, Mixing::Anywhere, &args).unwrap()
    }

    #[test]
    fn flags_reach_the_body() {
        let wanted = endpoint(&read(&[
            "n",
            "c",
            "--ip=10.0.0.2",
            "--alias=a,b",
            "--link",
            "db:x",
            "--driver-opt",
            "k = v=w",
            "--gw-priority=-3",
            "--link-local-ip=169.254.0.1",
        ]))
        .unwrap();
        assert_eq!(
            json!(wanted),
            json!({
                "IPAMConfig": {"IPv4Address": "10.0.0.2", "LinkLocalIPs": ["169.254.0.1"]},
                "Links": ["db:x"], "Aliases": ["a", "b"], "MacAddress": "", "DriverOpts": {"k": "v=w"}, "GwPriority": -3,
                "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
                "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null,
            })
        );
        let plain = json!(endpoint(&read(&["n", "c"])).unwrap());
        assert_eq!(
            (
                &plain["IPAMConfig"],
                &plain["Links"],
                &plain["Aliases"],
                &plain["DriverOpts"]
            ),
            (&json!({}), &json!(null), &json!([]), &json!({}))
        );
    }

    #[test]
    fn refusals() {
        let says = |args: &[&str]| {
            let flags = read(args);
            endpoint(&flags)
                .and_then(|_| names(&flags).map(drop))
                .unwrap_err()
                .message
        };
        for (args, want) in [
            (
                &["n", "c", "--driver-opt=x"][..],
                "invalid key/value pair format in driver options",
            ),
            (
                &["n", "c", "--driver-opt==x"],
                "invalid key/value pair format in driver options",
            ),
            (&["", "c"], "invalid network name or ID: value is empty"),
            (&["n", " "], "invalid container name or ID: value is empty"),
        ] {
            assert_eq!(says(args), want, "{args:?}");
        }
    }
}
