//! Flags: what a command takes, and how an argument list is read.
//!
//! The grammar is that of pflag, which Docker's users know without knowing its name:
//! `--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-f=value`, `-abc`, `--` ends the flags.
//! A switch takes its value only after `=`. Pure: nothing here prints or exits.

use std::fmt;

use crate::options::csv;

/// Checks a value; the error is what Docker says about it.
pub type Check = fn(&str) -> Result<(), String>;

/// What a flag holds.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A switch.
    Bool,
    /// A text; the last one counts.
    String,
    /// A whole number; the last one counts.
    Int,
    /// Any text that passes the check; the last one counts. The name is what help shows.
    Checked(&'static str, Check),
    /// Texts in order. The name is what help shows.
    List(&'static str, Check),
    /// Texts in order, each a comma-separated list.
    Commas,
}

/// One flag of a command.
#[derive(Clone, Copy)]
pub struct Flag {
    /// The name after `--`.
    pub long: &'static str,
    /// The letter after `-`, or `\0`.
    pub short: char,
    /// What it holds.
    pub kind: Kind,
    /// What help says.
    pub usage: &'static str,
    /// The value when it is not given.
    pub default: &'static str,
    /// What help shows as the default; empty for nothing.
    pub shown_default: &'static str,
    /// Whether help leaves it out.
    pub hidden: bool,
    /// Whether Docker does not know it: help leaves it out under the name `docker`.
    pub own: bool,
}

/// Accepts any value.
pub fn any(_: &str) -> Result<(), String> {
    Ok(())
}

impl Flag {
    const fn new(long: &'static str, short: char, kind: Kind, usage: &'static str) -> Self {
        Self {
            long,
            short,
            kind,
            usage,
            default: "",
            shown_default: "",
            hidden: false,
            own: false,
        }
    }

    /// A switch.
    pub const fn bool(long: &'static str, short: char, usage: &'static str) -> Self {
        Self::new(long, short, Kind::Bool, usage)
    }

    /// A text.
    pub const fn string(long: &'static str, short: char, usage: &'static str) -> Self {
        Self::new(long, short, Kind::String, usage)
    }

    /// A whole number.
    pub const fn int(long: &'static str, short: char, usage: &'static str) -> Self {
        let mut flag = Self::new(long, short, Kind::Int, usage);
        flag.default = "0";
        flag
    }

    /// Texts.
    pub const fn list(long: &'static str, short: char, usage: &'static str) -> Self {
        Self::new(long, short, Kind::List("list", any), usage)
    }

    /// Texts that pass a check.
    pub const fn checked_list(
        long: &'static str,
        short: char,
        check: Check,
        usage: &'static str,
    ) -> Self {
        Self::new(long, short, Kind::List("list", check), usage)
    }

    /// A flag of another kind.
    pub const fn of(long: &'static str, short: char, kind: Kind, usage: &'static str) -> Self {
        Self::new(long, short, kind, usage)
    }

    /// With a default that help shows.
    #[must_use]
    pub const fn default(mut self, value: &'static str, shown: &'static str) -> Self {
        self.default = value;
        self.shown_default = shown;
        self
    }

    /// Left out of help.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Corten's own.
    #[must_use]
    pub const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// The word that help puts behind the name.
    pub fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "",
            Kind::String => "string",
            Kind::Int => "int",
            Kind::Checked(name, _) | Kind::List(name, _) => name,
            Kind::Commas => "strings",
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Bool => parse_bool(value).map(drop),
            Kind::Int => parse_int(value).map(drop),
            Kind::String => Ok(()),
            Kind::Commas => csv(value).map(drop),
            Kind::Checked(_, check) | Kind::List(_, check) => check(value),
        }
    }
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}", self.long)
    }
}

/// Reads a switch as Go's `strconv.ParseBool`.
pub fn parse_bool(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {value:?}: invalid syntax"
        )),
    }
}

/// Reads a number as Go's `strconv.ParseInt` with base 0.
pub fn parse_int(value: &str) -> Result<i64, String> {
    let syntax = || format!("strconv.ParseInt: parsing {value:?}: invalid syntax");
    let (negative, digits) = match value.as_bytes().first() {
        Some(b'-') => (true, &value[1..]),
        Some(b'+') => (false, &value[1..]),
        _ => (false, value),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some(two) if two.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(syntax());
    }
    let number = i128::from_str_radix(digits, radix).unwrap_or(i128::MAX);
    i64::try_from(if negative { -number } else { number })
        .map_err(|_| format!("strconv.ParseInt: parsing {value:?}: value out of range"))
}

/// A problem with an argument list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `--help` (or `-h`) was given.
    #[error("help requested")]
    Help {
        /// Whether the deprecated short form was used.
        short: bool,
    },
    /// Docker's text for a wrong argument.
    #[error("{0}")]
    Usage(String),
}

/// A read argument list.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    given: Vec<(Flag, String)>,
    known: Vec<Flag>,
    /// What is left: the positional arguments.
    pub args: Vec<String>,
}

/// Whether flags may follow positional arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixing {
    /// Flags anywhere before `--`.
    Anywhere,
    /// The first positional argument ends the flags.
    Before,
}

/// Reads an argument list.
pub fn parse(flags: &[Flag], mixing: Mixing, args: &[String]) -> Result<Parsed, FlagError> {
    let mut parsed = Parsed {
        known: flags.to_vec(),
        ..Parsed::default()
    };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            parsed.args.extend(rest.cloned());
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            parsed.long(arg, long, &mut rest)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            parsed.shorts(&arg[1..], &mut rest)?;
        } else {
            parsed.args.push(arg.clone());
            if mixing == Mixing::Before {
                parsed.args.extend(rest.cloned());
                break;
            }
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn long<'a>(
        &mut self,
        arg: &str,
        long: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), FlagError> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(FlagError::Usage(format!("bad flag syntax: {arg}")));
        }
        let Some(flag) = self.known.iter().find(|f| f.long == name).copied() else {
            return Err(match name {
                "help" => FlagError::Help { short: false },
                _ => FlagError::Usage(format!("unknown flag: --{name}")),
            });
        };
        let value = match (value, flag.kind) {
            (Some(value), _) => value.to_owned(),
            (None, Kind::Bool) => "true".to_owned(),
            (None, _) => rest
                .next()
                .cloned()
                .ok_or_else(|| FlagError::Usage(format!("flag needs an argument: --{name}")))?,
        };
        self.set(flag, value)
    }

    fn shorts<'a>(
        &mut self,
        letters: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), FlagError> {
        for (at, letter) in letters.char_indices() {
            let from_here = &letters[at..];
            let Some(flag) = self.known.iter().find(|f| f.short == letter).copied() else {
                return Err(match letter {
                    'h' => FlagError::Help { short: true },
                    _ => FlagError::Usage(format!(
                        "unknown shorthand flag: {letter:?} in -{from_here}"
                    )),
                });
            };
            let tail = &from_here[letter.len_utf8()..];
            // `-u=` alone is the value `=`, as pflag reads it.
            if let Some(value) = tail.strip_prefix('=').filter(|value| !value.is_empty()) {
                return self.set(flag, value.to_owned());
            }
            match flag.kind {
                Kind::Bool => self.set(flag, "true".to_owned())?,
                _ if !tail.is_empty() => return self.set(flag, tail.to_owned()),
                _ => {
                    let value = rest.next().cloned().ok_or_else(|| {
                        FlagError::Usage(format!(
                            "flag needs an argument: {letter:?} in -{from_here}"
                        ))
                    })?;
                    return self.set(flag, value);
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, flag: Flag, value: String) -> Result<(), FlagError> {
        if flag.long == "help" && value == "true" {
            return Err(FlagError::Help { short: false });
        }
        flag.check(&value).map_err(|reason| {
            let name = match flag.short {
                '\0' => format!("--{}", flag.long),
                short => format!("-{short}, --{}", flag.long),
            };
            FlagError::Usage(format!(
                "invalid argument {value:?} for \"{name}\" flag: {reason}"
            ))
        })?;
        self.given.push((flag, value));
        Ok(())
    }

    fn flag(&self, name: &str) -> Option<&Flag> {
        self.known.iter().find(|f| f.long == name)
    }

    fn last(&self, name: &str) -> &str {
        let given = self.given.iter().rev().find(|(flag, _)| flag.long == name);
        match given {
            Some((_, value)) => value,
            None => self.flag(name).map_or("", |flag| flag.default),
        }
    }

    /// Whether the flag was given.
    pub fn changed(&self, name: &str) -> bool {
        self.given.iter().any(|(flag, _)| flag.long == name)
    }

    /// A switch.
    pub fn bool(&self, name: &str) -> bool {
        parse_bool(self.last(name)).unwrap_or(false)
    }

    /// A text.
    pub fn str(&self, name: &str) -> &str {
        self.last(name)
    }

    /// A number.
    pub fn int(&self, name: &str) -> i64 {
        parse_int(self.last(name)).unwrap_or(0)
    }

    /// All texts of a list, in order.
    pub fn list(&self, name: &str) -> Vec<String> {
        let given = self.given.iter().filter(|(flag, _)| flag.long == name);
        match self.flag(name).map(|flag| flag.kind) {
            Some(Kind::Commas) => given
                .filter(|(_, value)| !value.is_empty())
                .flat_map(|(_, value)| csv(value).unwrap_or_default())
                .collect(),
            _ => given.map(|(_, value)| value.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::bool("detach", 'd', ""),
        Flag::bool("interactive", 'i', ""),
        Flag::bool("tty", 't', ""),
        Flag::bool("sig-proxy", '\0', "").default("true", "true"),
        Flag::list("env", 'e', ""),
        Flag::string("name", '\0', ""),
        Flag::int("last", 'n', "").default("-1", "-1"),
        Flag::of("platform", '\0', Kind::Commas, ""),
    ];

    fn read(args: &str) -> Result<Parsed, FlagError> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        parse(FLAGS, Mixing::Before, &args)
    }

    fn refuse(args: &str) -> String {
        read(args).unwrap_err().to_string()
    }

    #[test]
    fn forms() {
        let p = read("-dit -e A=1 -eB=2 -e=C --env=D --env E --name=x -n5 img -d --foo").unwrap();
        assert!(p.bool("detach") && p.bool("interactive") && p.bool("tty"));
        assert_eq!(p.list("env"), ["A=1", "B=2", "C", "D", "E"]);
        assert_eq!((p.str("name"), p.int("last")), ("x", 5));
        assert_eq!(p.args, ["img", "-d", "--foo"]);
        assert_eq!(read("-e=").unwrap().list("env"), ["="]);
    }

    #[test]
    fn switches_take_a_value_only_after_equals() {
        let p = read("--sig-proxy=false -d=0 img").unwrap();
        assert!(!p.bool("sig-proxy") && !p.bool("detach") && p.changed("detach"));
        let p = read("--sig-proxy false").unwrap();
        assert!(p.bool("sig-proxy"));
        assert_eq!(p.args, ["false"]);
    }

    #[test]
    fn defaults_and_lists() {
        let p = read("-- -d").unwrap();
        assert_eq!((p.int("last"), p.bool("sig-proxy")), (-1, true));
        assert_eq!(p.args, ["-d"]);
        assert_eq!(
            read("--platform a,b --platform c")
                .unwrap()
                .list("platform"),
            ["a", "b", "c"]
        );
        let quoted = read("--platform= --platform \"a,b\",c").unwrap();
        assert_eq!(quoted.list("platform"), ["a,b", "c"]);
        assert_eq!(read("- x").unwrap().args, ["-", "x"]);
    }

    #[test]
    fn anywhere_reads_flags_behind_arguments() {
        let args = ["a", "-d", "b", "--", "-t"].map(str::to_owned);
        let p = parse(FLAGS, Mixing::Anywhere, &args).unwrap();
        assert!(p.bool("detach") && !p.bool("tty"));
        assert_eq!(p.args, ["a", "b", "-t"]);
    }

    #[test]
    fn refusals() {
        assert_eq!(refuse("--foo"), "unknown flag: --foo");
        assert_eq!(refuse("--foo=1"), "unknown flag: --foo");
        assert_eq!(refuse("-dxy"), "unknown shorthand flag: 'x' in -xy");
        assert_eq!(refuse("--name"), "flag needs an argument: --name");
        assert_eq!(refuse("-de"), "flag needs an argument: 'e' in -e");
        assert_eq!(refuse("--=x"), "bad flag syntax: --=x");
        assert_eq!(
            refuse("-n x"),
            "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            refuse("--tty=maybe"),
            "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert_eq!(
            read("--help").unwrap_err(),
            FlagError::Help { short: false }
        );
        assert_eq!(read("-dh").unwrap_err(), FlagError::Help { short: true });
    }

    #[test]
    fn numbers_in_every_base() {
        assert_eq!(parse_int("0x1F"), Ok(31));
        assert_eq!(parse_int("-010"), Ok(-8));
        assert_eq!(parse_int("0"), Ok(0));
        assert!(
            parse_int("9223372036854775808")
                .unwrap_err()
                .contains("out of range")
        );
    }
}
