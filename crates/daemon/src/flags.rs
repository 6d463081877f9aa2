//! The command line, in the grammar of dockerd's flags (pflag).
//!
//! `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, several one-letter booleans
//! together, `--bool=false`, and `--` ends the flags. What a flag means is in [`table`].

mod flag;
mod help;
pub mod images;
mod kind;
pub mod networks;
mod table;

use std::collections::BTreeMap;

pub use flag::{Effect, Flag};
pub use help::help;
pub use kind::{Kind, parse_duration, parse_floor, parse_pool};
pub use table::{TABLE, by_key, by_name};

/// Values by flag name, in the order in which they were given. A boolean has one of two words.
pub type Values = BTreeMap<&'static str, Vec<String>>;

/// A command line that makes no sense; the texts are pflag's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `--foo`
    #[error("unknown flag: --{0}")]
    Unknown(String),
    /// `-x`
    #[error("unknown shorthand flag: '{letter}' in -{cluster}")]
    UnknownShort {
        /// The letter.
        letter: char,
        /// All letters of the word.
        cluster: String,
    },
    /// Nothing follows a flag that takes a value.
    #[error("flag needs an argument: {0}")]
    Missing(String),
    /// A value of the wrong form.
    #[error("invalid argument \"{value}\" for \"{flag}\" flag: {why}")]
    Invalid {
        /// The value.
        value: String,
        /// The flag as help shows it.
        flag: String,
        /// Go's words.
        why: String,
    },
    /// Something that is no flag.
    #[error("\"{program}\" accepts no arguments")]
    Argument {
        /// Name of the program.
        program: String,
    },
}

/// Reads a command line without the program's name.
pub fn parse(program: &str, args: &[String]) -> Result<Values, FlagError> {
    let mut values = Values::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let stray = || FlagError::Argument {
            program: program.to_owned(),
        };
        if arg == "--" {
            return if args.next().is_some() {
                Err(stray())
            } else {
                Ok(values)
            };
        }
        if let Some(long) = arg.strip_prefix("--") {
            let (name, given) = split_value(long);
            let flag = by_name(name).ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
            let value = match given {
                Some(value) => value.to_owned(),
                None if flag.kind == Kind::Bool => "true".to_owned(),
                None => args
                    .next()
                    .cloned()
                    .ok_or_else(|| FlagError::Missing(arg.clone()))?,
            };
            add(&mut values, flag, &value)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            short(&mut values, &arg[1..], &mut args)?;
        } else {
            return Err(stray());
        }
    }
    Ok(values)
}

fn split_value(text: &str) -> (&str, Option<&str>) {
    text.split_once('=')
        .map_or((text, None), |(name, value)| (name, Some(value)))
}

fn short(
    values: &mut Values,
    cluster: &str,
    args: &mut std::slice::Iter<'_, String>,
) -> Result<(), FlagError> {
    for (at, letter) in cluster.char_indices() {
        let flag = TABLE.iter().find(|f| f.letter == Some(letter));
        let flag = flag.ok_or_else(|| FlagError::UnknownShort {
            letter,
            cluster: cluster.to_owned(),
        })?;
        let rest = &cluster[at + letter.len_utf8()..];
        if let Some(value) = rest.strip_prefix('=') {
            return add(values, flag, value);
        }
        if flag.kind == Kind::Bool {
            add(values, flag, "true")?;
            continue;
        }
        if !rest.is_empty() {
            return add(values, flag, rest);
        }
        let missing = || FlagError::Missing(format!("'{letter}' in -{cluster}"));
        let value = args.next().ok_or_else(missing)?;
        return add(values, flag, value);
    }
    Ok(())
}

/// Checks a value and keeps it; a scalar given again replaces the earlier one.
fn add(values: &mut Values, flag: &'static Flag, value: &str) -> Result<(), FlagError> {
    let checked = flag.kind.check(value).map_err(|why| FlagError::Invalid {
        value: value.to_owned(),
        flag: flag.shown(),
        why,
    })?;
    let list = values.entry(flag.name).or_default();
    if !flag.kind.repeats() {
        list.clear();
    }
    list.push(checked);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Values, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse("cortend", &args).map_err(|e| e.to_string())
    }

    #[test]
    fn pflag_grammar() {
        let got = read(
            "-D --tls=false -H unix:///a -Hunix:///b --host=tcp://:1 -l debug --mtu 1400 -l=warn",
        )
        .unwrap();
        assert_eq!(got["debug"], ["true"]);
        assert_eq!(got["tls"], ["false"]);
        assert_eq!(got["host"], ["unix:///a", "unix:///b", "tcp://:1"]);
        assert_eq!(got["log-level"], ["warn"]);
        assert_eq!(got["mtu"], ["1400"]);
        let got = read("-Dv").unwrap();
        assert_eq!(
            (got["debug"][0].as_str(), got["version"][0].as_str()),
            ("true", "true")
        );
    }

    #[test]
    fn mistakes_are_told_as_dockerd_tells_them() {
        for (line, want) in [
            ("--foo", "unknown flag: --foo"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("--data-root", "flag needs an argument: --data-root"),
            ("-H", "flag needs an argument: 'H' in -H"),
            (
                "--mtu=abc",
                "invalid argument \"abc\" for \"--mtu\" flag: strconv.ParseInt: parsing \"abc\": invalid syntax",
            ),
            (
                "--debug=maybe",
                "invalid argument \"maybe\" for \"-D, --debug\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "-H foo://x",
                "invalid argument \"foo://x\" for \"-H, --host\" flag: invalid bind address (foo://x): unsupported proto 'foo'",
            ),
            (
                "--label foo",
                "invalid argument \"foo\" for \"--label\" flag: bad attribute format: foo",
            ),
            (
                "--default-ulimit nofile=a",
                "invalid argument \"nofile=a\" for \"--default-ulimit\" flag: strconv.ParseInt: parsing \"a\": invalid syntax",
            ),
            ("extra", "\"cortend\" accepts no arguments"),
        ] {
            assert_eq!(read(line).unwrap_err(), want, "{line}");
        }
    }

    #[test]
    fn every_flag_of_dockerd_28_is_known() {
        for name in [
            "add-runtime",
            "allow-direct-routing",
            "allow-nondistributable-artifacts",
            "authorization-plugin",
            "bip",
            "bip6",
            "bridge",
            "cdi-spec-dir",
            "cgroup-parent",
            "config-file",
            "containerd",
            "containerd-namespace",
            "containerd-plugins-namespace",
            "cpu-rt-period",
            "cpu-rt-runtime",
            "cri-containerd",
            "data-root",
            "debug",
            "default-address-pool",
            "default-cgroupns-mode",
            "default-gateway",
            "default-gateway-v6",
            "default-ipc-mode",
            "default-network-opt",
            "default-runtime",
            "default-shm-size",
            "default-ulimit",
            "dns",
            "dns-opt",
            "dns-search",
            "exec-opt",
            "exec-root",
            "experimental",
            "feature",
            "fixed-cidr",
            "fixed-cidr-v6",
            "group",
            "help",
            "host",
            "host-gateway-ip",
            "http-proxy",
            "https-proxy",
            "icc",
            "init",
            "init-path",
            "insecure-registry",
            "ip",
            "ip-forward",
            "ip-forward-no-drop",
            "ip-masq",
            "ip6tables",
            "iptables",
            "ipv6",
            "label",
            "live-restore",
            "log-driver",
            "log-format",
            "log-level",
            "log-opt",
            "max-concurrent-downloads",
            "max-concurrent-uploads",
            "max-download-attempts",
            "metrics-addr",
            "mtu",
            "network-control-plane-mtu",
            "no-new-privileges",
            "no-proxy",
            "node-generic-resource",
            "pidfile",
            "raw-logs",
            "registry-mirror",
            "rootless",
            "seccomp-profile",
            "selinux-enabled",
            "shutdown-timeout",
            "storage-driver",
            "storage-opt",
            "swarm-default-advertise-addr",
            "tls",
            "tlscacert",
            "tlscert",
            "tlskey",
            "tlsverify",
            "userland-proxy",
            "userland-proxy-path",
            "userns-remap",
            "validate",
            "version",
            "firewall-backend",
        ] {
            assert!(by_name(name).is_some(), "{name}");
        }
    }
}
