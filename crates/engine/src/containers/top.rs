//! Processes of a container, as `ps` would show them: read from /proc, nothing is executed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::request::Top;
use super::shared::Shared;
use crate::container::Container;
use crate::{Error, Result, clock};

/// Columns of `ps -ef`, which is what Docker asks for.
const FULL: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
/// Columns of `ps aux`.
const AUX: [&str; 11] = [
    "USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND",
];
/// Columns of `ps ax`.
const BSD: [&str; 5] = ["PID", "TTY", "STAT", "TIME", "COMMAND"];
/// Columns of `ps` without arguments of use.
const SHORT: [&str; 4] = ["PID", "TTY", "TIME", "CMD"];
/// The column of a program's short name, whose title is COMMAND.
const COMM: &str = "COMM";

/// Lists the processes of a running container.
pub(super) async fn top(shared: &Arc<Shared>, container: &Container, args: &str) -> Result<Top> {
    let titles = columns(args)?;
    let group = shared.cgroup(container)?;
    let job = move || {
        let pids = group.pids().map_err(|source| Error::System {
            what: "failed to list processes".to_owned(),
            source,
        })?;
        let host = Host::read();
        let processes = pids
            .into_iter()
            // One that ended in between is left out.
            .filter_map(Process::read)
            .map(|process| {
                titles
                    .iter()
                    .map(|title| process.column(title, &host))
                    .collect()
            })
            .collect();
        let titles = titles.into_iter().map(shown).collect();
        Ok(Top { titles, processes })
    };
    shared.blocking.quick(job).await
}

/// Two columns have the same title: the program's short name and its whole command.
fn shown(column: String) -> String {
    if column == COMM {
        "COMMAND".to_owned()
    } else {
        column
    }
}

/// Which columns the arguments of `ps` ask for.
fn columns(args: &str) -> Result<Vec<String>> {
    let owned = |titles: &[&str]| titles.iter().map(|t| (*t).to_owned()).collect();
    let words: Vec<&str> = args.split_ascii_whitespace().collect();
    if words.is_empty() {
        return Ok(owned(&FULL));
    }
    let mut chosen: Vec<String> = Vec::new();
    let mut rest = words.as_slice();
    while let [word, tail @ ..] = rest {
        rest = tail;
        let (list, used) = match (format_of(word), tail) {
            (Some(""), [next, ..]) => (Some(*next), true),
            (Some(list), _) if !list.is_empty() => (Some(list), false),
            _ => (None, false),
        };
        if used {
            rest = &tail[1..];
        }
        for name in list.into_iter().flat_map(|l| l.split(',')) {
            // A title of the user's own (`pid=`) is not given, as Docker looks for `PID`.
            let name = name.split('=').next().unwrap_or(name);
            let title = title_of(name)
                .ok_or_else(|| Error::invalid(format!("unknown ps column: {name}")))?;
            chosen.push(title.to_owned());
        }
    }
    if !chosen.is_empty() {
        if !chosen.iter().any(|t| t == "PID") {
            return Err(Error::invalid("Couldn't find PID field in ps output"));
        }
        return Ok(chosen);
    }
    let letters: String = words.concat();
    let has = |c: char| letters.contains(c);
    Ok(match (letters.starts_with('-'), has('u'), has('f')) {
        (_, true, _) => owned(&AUX),
        (_, false, true) => owned(&FULL),
        (false, ..) if has('a') || has('x') => owned(&BSD),
        _ => owned(&SHORT),
    })
}

/// What stands behind the letter `o` of a word: letters without a value may come before it (`-eo`).
fn format_of(word: &str) -> Option<&str> {
    const ALONE: &str = "AaHLNTcdefjlmwxy";
    let letters = word.strip_prefix('-').unwrap_or(word);
    let (before, list) = letters.split_once('o')?;
    before.chars().all(|c| ALONE.contains(c)).then_some(list)
}

fn title_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "pid" => "PID",
        "ppid" => "PPID",
        "uid" | "user" | "euser" | "uname" => "USER",
        "comm" | "ucomm" => COMM,
        "ucmd" => "CMD",
        "cmd" => "CMD",
        "args" | "command" => "COMMAND",
        "time" | "cputime" => "TIME",
        "tty" | "tt" | "tname" => "TTY",
        "stat" | "state" | "s" => "STAT",
        "vsz" | "vsize" => "VSZ",
        "rss" | "rssize" => "RSS",
        "stime" | "start" | "start_time" => "STIME",
        "pcpu" | "%cpu" | "c" => "%CPU",
        "pmem" | "%mem" => "%MEM",
        _ => return None,
    })
}

/// What columns need to know of the host.
struct Host {
    ticks: u64,
    page: u64,
    memory: u64,
    uptime: u64,
    users: BTreeMap<u32, String>,
}

impl Host {
    fn read() -> Self {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
        });
        Self {
            ticks: rustix::param::clock_ticks_per_second().max(1),
            page: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
            memory: crate::system::memory_total().max(1),
            uptime: uptime
                .split('.')
                .next()
                .and_then(|t| t.parse().ok())
                .unwrap_or(0),
            users: users.collect(),
        }
    }
}

/// One process.
#[derive(Debug)]
struct Process {
    pid: i32,
    uid: u32,
    comm: String,
    command: String,
    /// Fields of `stat` from the third on.
    stat: Vec<String>,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let dir = format!("/proc/{pid}");
        let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&dir).ok()?);
        let stat = std::fs::read_to_string(format!("{dir}/stat")).ok()?;
        let (open, close) = (stat.find('(')?, stat.rfind(')')?);
        let comm = stat.get(open + 1..close)?.to_owned();
        let stat = stat
            .get(close + 1..)?
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        let arguments = std::fs::read(format!("{dir}/cmdline")).unwrap_or_default();
        let words: Vec<String> = arguments
            .split(|b| *b == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let command = if words.is_empty() {
            format!("[{comm}]")
        } else {
            words.join(" ")
        };
        Some(Self {
            pid,
            uid,
            comm,
            command,
            stat,
        })
    }

    /// A field of `stat` by its number in proc(5).
    fn field(&self, number: usize) -> u64 {
        self.stat
            .get(number - 3)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    fn column(&self, title: &str, host: &Host) -> String {
        let cpu = (self.field(14) + self.field(15)) / host.ticks;
        let age = host.uptime.saturating_sub(self.field(22) / host.ticks);
        let percent = |part: u64, whole: u64| part.saturating_mul(1000) / whole.max(1);
        let tenths = |n: u64| format!("{}.{}", n / 10, n % 10);
        match title {
            "UID" | "USER" => host
                .users
                .get(&self.uid)
                .cloned()
                .unwrap_or_else(|| self.uid.to_string()),
            "PID" => self.pid.to_string(),
            "PPID" => self.field(4).to_string(),
            "C" => (percent(cpu, age) / 10).to_string(),
            "%CPU" => tenths(percent(cpu, age)),
            "%MEM" => tenths(percent(self.field(24) * host.page, host.memory)),
            "VSZ" => (self.field(23) / 1024).to_string(),
            "RSS" => (self.field(24) * host.page / 1024).to_string(),
            "STIME" | "START" => start(age),
            "TTY" => tty(self.field(7)),
            "STAT" => self.stat.first().cloned().unwrap_or_default(),
            "TIME" => format!("{:02}:{:02}:{:02}", cpu / 3600, cpu / 60 % 60, cpu % 60),
            COMM => self.comm.clone(),
            "COMMAND" if self.command.is_empty() => self.comm.clone(),
            _ => self.command.clone(),
        }
    }
}

/// Clock time of the start within a day, in UTC.
fn start(age: u64) -> String {
    let now = u64::try_from(clock::now().unix_seconds()).unwrap_or(0);
    let then = now.saturating_sub(age);
    format!("{:02}:{:02}", then / 3600 % 24, then / 60 % 60)
}

fn tty(device: u64) -> String {
    // A pseudo-terminal has major numbers 136 to 143; see proc(5) for the packing.
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    match major {
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_the_arguments() {
        assert_eq!(columns("").unwrap(), FULL);
        assert_eq!(columns("-ef").unwrap(), FULL);
        assert_eq!(columns("aux").unwrap(), AUX);
        assert_eq!(columns("ax").unwrap(), BSD);
        assert_eq!(columns("-o pid,cmd").unwrap(), ["PID", "CMD"]);
        assert_eq!(columns("-o pid,args").unwrap(), ["PID", "COMMAND"]);
        assert_eq!(shown(columns("-o comm,pid").unwrap().remove(0)), "COMMAND");
        assert_eq!(columns("-eo pid,comm").unwrap(), ["PID", COMM]);
        assert_eq!(columns("-eopid,cmd").unwrap(), ["PID", "CMD"]);
        assert_eq!(columns("-e -o pid").unwrap(), ["PID"]);
        assert_eq!(columns("-C ceo").unwrap(), SHORT);
        assert!(columns("-o cmd").is_err());
        assert!(columns("-o pid,nonsense").is_err());
    }

    #[test]
    fn reads_itself() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = Process::read(own).unwrap();
        let host = Host::read();
        assert_eq!(process.column("PID", &host), own.to_string());
        assert!(!process.column("CMD", &host).is_empty());
        assert_eq!(tty(0), "?");
        assert_eq!(tty(34816), "pts/0");
    }
}
