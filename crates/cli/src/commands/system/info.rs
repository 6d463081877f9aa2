//! `info`

use api::client::Request;
use serde_json::{Value, json};

use crate::app::App;
use crate::exit::{Failure, TEMPLATE};
use crate::flags::Parsed;
use crate::output::{int, list, text};
use crate::template::{Template, Val};
use crate::tree::Run;
use crate::units::bytes_size;

/// `info`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let format = flags.str("format");
        let template = match format {
            "" => None,
            "json" => Some(Template::parse("{{json .}}")),
            text => Some(Template::parse(text)),
        };
        let template = template.transpose().map_err(|error| {
            Failure::with_code(format!("template parsing error: {error}"), TEMPLATE)
        })?;
        let info = app.client.json(Request::get("/info")).await;
        let (info, errors) = match info {
            Ok(info) => (info, Vec::new()),
            Err(error) => (Value::Null, vec![error.to_string()]),
        };
        let Some(template) = template else {
            return pretty(app, &info, &errors);
        };
        if let Some(error) = errors.into_iter().next() {
            // Nothing to fill in; Docker ends the line in any case.
            app.put("\n")?;
            return Err(Failure::new(error));
        }
        let mut whole = info;
        whole["ClientInfo"] = json!({
            "Debug": app.debug,
            "Version": env!("CARGO_PKG_VERSION"),
            "GitCommit": super::version::build(),
            "Os": std::env::consts::OS,
            "Arch": super::version::arch(),
            "Context": app.context,
            "Plugins": [],
            "Warnings": null,
        });
        // Fields that the daemon leaves out where there is nothing are known to templates all the same.
        let mut seen = whole.clone();
        for (name, nothing) in [
            ("Containerd", Value::Null),
            ("DefaultAddressPools", Value::Null),
            ("DiscoveredDevices", Value::Null),
            ("FirewallBackend", Value::Null),
            ("KernelMemory", json!(false)),
            ("KernelMemoryTCP", json!(false)),
            ("ProductLicense", json!("")),
        ] {
            if seen.get(name).is_none() {
                seen[name] = nothing;
            }
        }
        let data = Val::Typed(std::rc::Rc::new((
            Val::from(&seen).typed("system.dockerInfo"),
            whole,
        )));
        let filled = template.render(&data);
        // Docker ends the line in any case.
        app.put(filled.as_deref().unwrap_or_default())?;
        app.put("\n")?;
        filled
            .map(drop)
            .map_err(|error| Failure::new(error.to_string()))
    })
}

fn pretty(app: &App, info: &Value, errors: &[String]) -> Result<(), Failure> {
    app.put(format!(
        "Client:\n Version:    {}\n Context:    {}\n Debug Mode: {}\n\nServer:\n",
        env!("CARGO_PKG_VERSION"),
        app.context,
        app.debug
    ))?;
    if info.is_object() {
        app.put(server(info, app.debug))?;
    }
    app.flush()?;
    for warning in list(info, "Warnings").iter().filter_map(Value::as_str) {
        app.warn(warning);
    }
    for error in errors {
        app.warn(format!("ERROR: {error}"));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::new("errors pretty printing info"))
}

/// Lines of `key: value`.
struct Page(String);

impl Page {
    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!("{key}: {value}\n"));
    }

    fn some(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.line(key, value);
        }
    }

    fn lines<'t>(&mut self, key: &str, values: impl Iterator<Item = &'t str>) {
        let values: Vec<&str> = values.collect();
        if values.is_empty() {
            return;
        }
        self.0.push_str(&format!("{key}:\n"));
        for value in values {
            self.0.push_str(&format!("  {value}\n"));
        }
    }
}

fn texts<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v str> {
    list(value, key).iter().filter_map(Value::as_str)
}

fn joined(value: &Value, key: &str) -> String {
    texts(value, key).collect::<Vec<_>>().join(" ")
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn server(info: &Value, debug: bool) -> String {
    let mut page = Page(String::new());
    for (title, key) in [
        (" Containers", "Containers"),
        ("  Running", "ContainersRunning"),
        ("  Paused", "ContainersPaused"),
        ("  Stopped", "ContainersStopped"),
        (" Images", "Images"),
    ] {
        page.line(title, int(info, key));
    }
    page.some(" Server Version", text(info, "ServerVersion"));
    page.some(" Storage Driver", text(info, "Driver"));
    for pair in list(info, "DriverStatus")
        .iter()
        .filter_map(Value::as_array)
    {
        if let [key, value] = pair.as_slice() {
            page.line(
                &format!("  {}", key.as_str().unwrap_or_default()),
                value.as_str().unwrap_or_default(),
            );
        }
    }
    page.some(" Logging Driver", text(info, "LoggingDriver"));
    page.some(" Cgroup Driver", text(info, "CgroupDriver"));
    page.some(" Cgroup Version", text(info, "CgroupVersion"));
    page.0.push_str(" Plugins:\n");
    let plugins = info.get("Plugins").unwrap_or(&Value::Null);
    page.line("  Volume", joined(plugins, "Volume"));
    page.line("  Network", joined(plugins, "Network"));
    if !list(plugins, "Authorization").is_empty() {
        page.line("  Authorization", joined(plugins, "Authorization"));
    }
    page.line("  Log", joined(plugins, "Log"));
    page.lines(" CDI spec directories", texts(info, "CDISpecDirs"));
    page.line(
        " Swarm",
        info.pointer("/Swarm/LocalNodeState")
            .and_then(Value::as_str)
            .unwrap_or("inactive"),
    );
    let runtimes = info.get("Runtimes").and_then(Value::as_object);
    let names: Vec<&str> = runtimes
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    if !names.is_empty() {
        page.line(" Runtimes", names.join(" "));
        page.line(" Default Runtime", text(info, "DefaultRuntime"));
    }
    linux(&mut page, info);
    machine(&mut page, info, debug);
    registries(&mut page, info);
    page.line(" Live Restore Enabled", flag(info, "LiveRestoreEnabled"));
    page.some(" Product License", text(info, "ProductLicense"));
    let pools = list(info, "DefaultAddressPools");
    if !pools.is_empty() {
        page.0.push_str(" Default Address Pools:\n");
        for pool in pools {
            page.0.push_str(&format!(
                "   Base: {}, Size: {}\n",
                text(pool, "Base"),
                int(pool, "Size")
            ));
        }
    }
    page.0 + "\n"
}

fn linux(page: &mut Page, info: &Value) {
    if text(info, "OSType") != "linux" {
        return;
    }
    let commit = |key: &str| info.get(key).map_or("", |c| text(c, "ID"));
    page.line(" Init Binary", text(info, "InitBinary"));
    page.line(" containerd version", commit("ContainerdCommit"));
    page.line(" runc version", commit("RuncCommit"));
    page.line(" init version", commit("InitCommit"));
    if list(info, "SecurityOptions").is_empty() {
        return;
    }
    page.0.push_str(" Security Options:\n");
    for option in texts(info, "SecurityOptions") {
        // `name=seccomp,profile=builtin`
        for pair in option.split(',') {
            match pair.split_once('=') {
                Some(("name", name)) => page.0.push_str(&format!("  {name}\n")),
                Some(("profile", profile)) => page.line("   Profile", profile),
                _ => {}
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn machine(page: &mut Page, info: &Value, debug: bool) {
    page.some(" Kernel Version", text(info, "KernelVersion"));
    page.some(" Operating System", text(info, "OperatingSystem"));
    page.some(" OSType", text(info, "OSType"));
    page.some(" Architecture", text(info, "Architecture"));
    page.line(" CPUs", int(info, "NCPU"));
    page.line(" Total Memory", bytes_size(int(info, "MemTotal") as f64));
    page.some(" Name", text(info, "Name"));
    page.some(" ID", text(info, "ID"));
    page.line(" Docker Root Dir", text(info, "DockerRootDir"));
    page.line(" Debug Mode", flag(info, "Debug"));
    if flag(info, "Debug") || debug {
        page.line("  File Descriptors", int(info, "NFd"));
        page.line("  Goroutines", int(info, "NGoroutines"));
        page.line("  System Time", text(info, "SystemTime"));
        page.line("  EventsListeners", int(info, "NEventsListener"));
    }
    page.some(" HTTP Proxy", text(info, "HttpProxy"));
    page.some(" HTTPS Proxy", text(info, "HttpsProxy"));
    page.some(" No Proxy", text(info, "NoProxy"));
    page.lines(" Labels", texts(info, "Labels"));
    page.line(" Experimental", flag(info, "ExperimentalBuild"));
}

fn registries(page: &mut Page, info: &Value) {
    let Some(config) = info.get("RegistryConfig") else {
        return;
    };
    let indexes = config.get("IndexConfigs").and_then(Value::as_object);
    let indexes: Vec<&Value> = indexes
        .into_iter()
        .flatten()
        .map(|(_, index)| index)
        .collect();
    let networks: Vec<&str> = texts(config, "InsecureRegistryCIDRs").collect();
    if !indexes.is_empty() || !networks.is_empty() {
        page.0.push_str(" Insecure Registries:\n");
        let open = indexes
            .iter()
            .filter(|index| !flag(index, "Secure"))
            .map(|index| text(index, "Name"));
        for name in open.chain(networks) {
            page.0.push_str(&format!("  {name}\n"));
        }
    }
    page.lines(" Registry Mirrors", texts(config, "Mirrors"));
}
