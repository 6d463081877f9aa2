//! `update`

use api::client::{Request, escape};
use serde_json::{Value, json};

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::options::limits;
use crate::output::list;
use crate::tree::Run;
use crate::units::{nano_cpus, ram_in_bytes};

const NUMBERS: [(&str, &str); 7] = [
    ("blkio-weight", "BlkioWeight"),
    ("cpu-period", "CpuPeriod"),
    ("cpu-quota", "CpuQuota"),
    ("cpu-rt-period", "CpuRealtimePeriod"),
    ("cpu-rt-runtime", "CpuRealtimeRuntime"),
    ("cpu-shares", "CpuShares"),
    ("pids-limit", "PidsLimit"),
];
const SIZES: [(&str, &str); 3] = [
    ("memory", "Memory"),
    ("memory-reservation", "MemoryReservation"),
    ("memory-swap", "MemorySwap"),
];

/// `update`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let body = changes(&flags)?;
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        for name in &flags.args {
            let path = format!("/containers/{}/update", escape(name));
            match app.client.json(Request::post(path).json(&body)).await {
                Ok(answer) => {
                    app.line(name)?;
                    let texts = list(&answer, "Warnings").iter().filter_map(Value::as_str);
                    warnings.extend(texts.map(str::to_owned));
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        if !warnings.is_empty() {
            app.line(warnings.join("\n"))?;
        }
        Failure::join(errors)
    })
}

fn changes(flags: &Parsed) -> Result<Value, Failure> {
    let mut body = json!({"RestartPolicy": {"Name": "", "MaximumRetryCount": 0}});
    let mut any = false;
    let mut put = |flag: &str, key: &str, value: Value| {
        if flags.changed(flag) {
            body[key] = value;
            any = true;
        }
    };
    for (flag, key) in NUMBERS {
        put(flag, key, flags.int(flag).into());
    }
    for (flag, key) in SIZES {
        let size = match flags.str(flag) {
            "-1" => -1,
            text => ram_in_bytes(text).unwrap_or(0),
        };
        put(flag, key, size.into());
    }
    put(
        "cpus",
        "NanoCpus",
        nano_cpus(flags.str("cpus")).unwrap_or(0).into(),
    );
    put("cpuset-cpus", "CpusetCpus", flags.str("cpuset-cpus").into());
    put("cpuset-mems", "CpusetMems", flags.str("cpuset-mems").into());
    put(
        "restart",
        "RestartPolicy",
        limits::restart_policy(flags.str("restart"))?,
    );
    if !any {
        return Err(Failure::new(
            "you must provide one or more flags when using this command",
        ));
    }
    Ok(body)
}
