//! Use of resources: figures from the API's samples, and rows of them.

use serde_json::Value;

use super::{Kind, short_id, text};
use crate::template::Val;
use crate::units::{bytes_size, human_size3};

/// The columns of `stats`.
pub const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// Samples.
pub const KIND: Kind = Kind {
    titles: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    type_name: "*container.statsContext",
};

/// What one container uses; without figures while there are none.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// The name or id it was asked for by.
    pub asked: String,
    /// Its name, with a slash in front.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The figures.
    pub figures: Option<Figures>,
}

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    cpu: f64,
    memory: f64,
    limit: f64,
    received: f64,
    sent: f64,
    read: f64,
    written: f64,
    pids: u64,
}

fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_default()
}

impl Figures {
    /// Computes the figures of a sample, which carries the one before it.
    #[expect(clippy::cast_precision_loss, reason = "the number of CPUs is small")]
    pub fn of(sample: &Value) -> Self {
        let cpu = number(sample, "/cpu_stats/cpu_usage/total_usage")
            - number(sample, "/precpu_stats/cpu_usage/total_usage");
        let system = number(sample, "/cpu_stats/system_cpu_usage")
            - number(sample, "/precpu_stats/system_cpu_usage");
        let cpus = match number(sample, "/cpu_stats/online_cpus") {
            0.0 => sample
                .pointer("/cpu_stats/cpu_usage/percpu_usage")
                .and_then(Value::as_array)
                .map_or(0.0, |l| l.len() as f64),
            n => n,
        };
        let usage = number(sample, "/memory_stats/usage");
        // What the kernel can take back at once is not counted: v1 and v2 name it differently.
        let v1 = sample
            .pointer("/memory_stats/stats/total_inactive_file")
            .and_then(Value::as_f64);
        let idle = v1
            .filter(|v| *v < usage)
            .unwrap_or_else(|| number(sample, "/memory_stats/stats/inactive_file"));
        let sum = |key: &str| -> f64 {
            let networks = sample.get("networks").and_then(Value::as_object);
            networks
                .into_iter()
                .flatten()
                .map(|(_, n)| n.get(key).and_then(Value::as_f64).unwrap_or_default())
                .sum()
        };
        let blocks = |letter: char| -> f64 {
            let entries = sample
                .pointer("/blkio_stats/io_service_bytes_recursive")
                .and_then(Value::as_array);
            let same = entries
                .into_iter()
                .flatten()
                .filter(|e| text(e, "op").to_lowercase().starts_with(letter));
            same.map(|e| number(e, "/value")).sum()
        };
        Self {
            cpu: if cpu > 0.0 && system > 0.0 {
                cpu / system * cpus * 100.0
            } else {
                0.0
            },
            memory: if idle < usage { usage - idle } else { usage },
            limit: number(sample, "/memory_stats/limit"),
            received: sum("rx_bytes"),
            sent: sum("tx_bytes"),
            read: blocks('r'),
            written: blocks('w'),
            pids: sample
                .pointer("/pids_stats/current")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        }
    }
}

/// One container as a row.
pub fn row(usage: &Usage, trunc: bool) -> Val {
    let none = || "--".to_owned();
    let figure = |show: &dyn Fn(&Figures) -> String| usage.figures.as_ref().map_or_else(none, show);
    let memory = usage.figures.map_or_else(
        || "-- / --".to_owned(),
        |f| format!("{} / {}", bytes_size(f.memory), bytes_size(f.limit)),
    );
    let percent = |f: &Figures| {
        if f.limit == 0.0 {
            0.0
        } else {
            f.memory / f.limit * 100.0
        }
    };
    let name = usage
        .name
        .get(1..)
        .filter(|name| !name.is_empty())
        .unwrap_or("--");
    KIND.row(vec![
        ("Container", usage.asked.as_str().into()),
        ("Name", name.into()),
        (
            "ID",
            if trunc {
                short_id(&usage.id)
            } else {
                usage.id.as_str()
            }
            .into(),
        ),
        ("CPUPerc", figure(&|f| format!("{:.2}%", f.cpu)).into()),
        ("MemUsage", memory.into()),
        ("MemPerc", figure(&|f| format!("{:.2}%", percent(f))).into()),
        (
            "NetIO",
            figure(&|f| format!("{} / {}", human_size3(f.received), human_size3(f.sent))).into(),
        ),
        (
            "BlockIO",
            figure(&|f| format!("{} / {}", human_size3(f.read), human_size3(f.written))).into(),
        ),
        ("PIDs", figure(&|f| f.pids.to_string()).into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures() {
        let sample = json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
            "memory_stats": {"usage": 2048, "limit": 8192, "stats": {"total_inactive_file": 1024}},
            "networks": {"eth0": {"rx_bytes": 1500, "tx_bytes": 10}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 5}, {"op": "write", "value": 7}]},
            "pids_stats": {"current": 3},
        });
        let usage = Usage {
            asked: "c".into(),
            name: "/web".into(),
            id: "0123456789abcdef".into(),
            figures: Some(Figures::of(&sample)),
        };
        let row = row(&usage, true);
        let field = |name: &str| row.get(name).unwrap().print();
        assert_eq!(field("CPUPerc"), "40.00%");
        assert_eq!(field("MemUsage"), "1KiB / 8KiB");
        assert_eq!(field("MemPerc"), "12.50%");
        assert_eq!(field("NetIO"), "2kB / 10B");
        assert_eq!(field("BlockIO"), "5B / 7B");
        assert_eq!(
            (field("PIDs"), field("Name")),
            ("3".to_owned(), "web".to_owned())
        );
        let nothing = super::row(&Usage::default(), true);
        assert_eq!(nothing.get("MemUsage").unwrap().print(), "-- / --");
        assert_eq!(nothing.get("Name").unwrap().print(), "--");
    }
}
