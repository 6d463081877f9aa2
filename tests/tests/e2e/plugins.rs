//! Volumes and networks of plugins, with a plugin of our own: it is asked as Docker asks, a daemon
//! that comes back goes on with it, and one that hangs holds up nobody else.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Daemon, IMAGE, image};

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

/// What the plugin got and has.
#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    volumes: BTreeSet<String>,
    hangs: bool,
}

/// A plugin for volumes and networks; its thread ends with the tests.
struct Plugin {
    dir: tempfile::TempDir,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Plugin {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("own.sock")).expect("a socket");
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let (place, state) = (dir.path().to_owned(), Arc::clone(&shared));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (place, state) = (place.clone(), Arc::clone(&state));
                std::thread::spawn(move || serve(stream, &place, &state));
            }
        });
        Self { dir, shared }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    fn hang(&self, hangs: bool) {
        self.shared.0.lock().expect("no panics").hangs = hangs;
        self.shared.1.notify_all();
    }

    /// Calls of a method, the bodies.
    fn calls(&self, method: &str) -> Vec<String> {
        self.calls_to(&format!("VolumeDriver.{method}"))
    }

    /// Calls of a method of any kind, the bodies.
    fn calls_to(&self, method: &str) -> Vec<String> {
        let state = self.shared.0.lock().expect("no panics");
        let begins = format!("/{method} ");
        state
            .calls
            .iter()
            .filter_map(|call| call.strip_prefix(&begins))
            .map(str::to_owned)
            .collect()
    }
}

fn serve(mut stream: UnixStream, place: &Path, shared: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        if let Some(text) = line.strip_prefix("Content-Length: ") {
            length = text.parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut state = shared.0.lock().expect("no panics");
    state.calls.push(format!("{path} {body}"));
    let mut state = shared.1.wait_while(state, |state| state.hangs).expect("no panics");
    let text = answer(&mut state, &path, &body, place).to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
    // Who asked may have gone.
    let _gone = stream.write_all((head + &text).as_bytes());
}

fn answer(state: &mut State, path: &str, body: &str, place: &Path) -> Value {
    let request: Value = serde_json::from_str(body).unwrap_or_default();
    let name = request["Name"].as_str().unwrap_or_default().to_owned();
    let data = place.join("data").join(&name);
    match path.rsplit('.').next().unwrap_or_default() {
        "Activate" => json!({"Implements": ["VolumeDriver", "NetworkDriver"]}),
        method if path.starts_with("/NetworkDriver.") => network(method, &request),
        "Capabilities" => json!({"Capabilities": {"Scope": "global"}}),
        "List" => {
            let all: Vec<Value> = state.volumes.iter().map(|name| json!({"Name": name})).collect();
            json!({"Volumes": all})
        }
        "Create" => {
            std::fs::create_dir_all(&data).expect("a directory");
            state.volumes.insert(name);
            json!({})
        }
        _ if !state.volumes.contains(&name) => json!({"Err": "no such volume"}),
        "Get" => json!({"Volume": {"Name": name, "Status": {"color": "red"}}}),
        "Remove" => {
            state.volumes.remove(&name);
            json!({})
        }
        "Mount" => json!({"Mountpoint": data}),
        _ => json!({}),
    }
}

/// What a driver of networks answers: the container's link is one end of a pair.
fn network(method: &str, request: &Value) -> Value {
    let endpoint = request["EndpointID"].as_str().unwrap_or_default();
    let near = format!("pl{}", endpoint.get(..8).unwrap_or_default());
    match method {
        "GetCapabilities" => json!({"Scope": "local", "ConnectivityScope": "local"}),
        "CreateEndpoint" => json!({"Interface": {}}),
        "Join" => {
            let far = near.replacen("pl", "pf", 1);
            let add = ["link", "add", &near, "type", "veth", "peer", "name", &far];
            let made = std::process::Command::new("ip").args(add).status();
            if !made.is_ok_and(|status| status.success()) {
                return json!({"Err": "no link"});
            }
            json!({"InterfaceName": {"SrcName": near, "DstPrefix": "eth"}})
        }
        _ => json!({}),
    }
}

/// A daemon that knows no other plugins; none where the tests run against another engine.
fn daemon(plugin: &Plugin) -> Option<Daemon> {
    if tests::target::reference_socket().is_some() {
        return None;
    }
    let dir = plugin.dir.path().display().to_string();
    let mut daemon = Daemon::start_with(&["--volume-plugin-dir", &dir])
        .unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket())
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log_tail()));
    daemon.warm_up();
    Some(daemon)
}

#[track_caller]
fn ask(daemon: &Daemon, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
    let answer = daemon.api(method, path, body);
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    serde_json::from_str(&answer.text()).unwrap_or_default()
}

#[test]
fn volumes_of_a_plugin_survive_daemons_and_end_with_their_containers() {
    let plugin = Plugin::start();
    let Some(mut daemon) = daemon(&plugin) else {
        return;
    };
    let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", "echo one >> /v/f; sleep 1000"],
        "HostConfig": {"Binds": ["mine:/v"], "VolumeDriver": "own"}});
    let made = ask(&daemon, "POST", "/containers/create", Some(&body), 201);
    let id = made["Id"].as_str().expect("an id").to_owned();
    ask(&daemon, "POST", &format!("/containers/{id}/start"), None, 204);
    let seen = ask(&daemon, "GET", "/volumes/mine", None, 200);
    assert_eq!((&seen["Driver"], &seen["Scope"]), (&json!("own"), &json!("global")));
    assert_eq!(seen["Status"]["color"], "red");
    let call = json!({"Name": "mine", "ID": id}).to_string();
    assert_eq!(plugin.calls("Mount"), [call.as_str()]);

    daemon.crash().unwrap_or_else(|error| panic!("{error:#}"));
    // Still mounted: nobody mounts it twice.
    assert_eq!(plugin.calls("Mount").len(), 1);
    let container = ask(&daemon, "GET", &format!("/containers/{id}/json"), None, 200);
    assert_eq!(container["Mounts"][0]["Driver"], "own");
    ask(&daemon, "POST", &format!("/containers/{id}/restart?t=0"), None, 204);
    assert_eq!(plugin.calls("Unmount"), [call.as_str()]);
    assert_eq!(plugin.calls("Mount"), [call.as_str(), call.as_str()]);
    tests::wait_for("the container has written again", SOON, || {
        std::fs::read(plugin.data("mine").join("f")).is_ok_and(|bytes| bytes == b"one\none\n")
    });

    let used = ask(&daemon, "DELETE", "/volumes/mine", None, 409);
    let text = used["message"].as_str().unwrap_or_default();
    assert_eq!(text, format!("remove mine: volume is in use - [{id}]"));
    ask(&daemon, "DELETE", &format!("/containers/{id}?force=1"), None, 204);
    assert_eq!(plugin.calls("Unmount").len(), 2);
    ask(
        &daemon, "POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D", None, 200,
    );
    ask(&daemon, "DELETE", "/volumes/mine", None, 204);
    assert_eq!(plugin.calls("Remove").len(), 1);
    let kept = daemon.data_root().join("volumes/mine");
    assert!(!kept.exists());
    assert_eq!(daemon.retire(), Vec::<String>::new());
}

#[test]
fn a_plugin_that_hangs_holds_up_nobody_else() {
    let plugin = Plugin::start();
    let Some(mut daemon) = daemon(&plugin) else {
        return;
    };
    let body = json!({"Name": "mine", "Driver": "own"});
    ask(&daemon, "POST", "/volumes/create", Some(&body), 201);
    plugin.hang(true);
    let asked = plugin.calls("Get").len();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| daemon.api("GET", "/volumes/mine", None));
        tests::wait_for("the plugin is asked", SOON, || plugin.calls("Get").len() > asked);
        ask(
            &daemon,
            "POST",
            "/volumes/create",
            Some(&json!({"Name": "local", "Driver": "local"})),
            201,
        );
        ask(&daemon, "GET", "/volumes/local", None, 200);
        ask(&daemon, "DELETE", "/volumes/local", None, 204);
        assert!(!waits.is_finished());
        plugin.hang(false);
        assert_eq!(waits.join().expect("no panics").status, 200);
    });
    ask(&daemon, "DELETE", "/volumes/mine", None, 204);
    assert_eq!(daemon.retire(), Vec::<String>::new());
}

#[test]
fn a_network_of_a_plugin_outlives_the_daemon() {
    let plugin = Plugin::start();
    let Some(mut daemon) = daemon(&plugin) else {
        return;
    };
    let body = json!({
        "Name": "net", "Driver": "own", "Options": {"colour": "red"},
        "IPAM": {"Config": [{"Subnet": "10.93.7.0/24"}]},
    });
    ask(&daemon, "POST", "/networks/create", Some(&body), 201);
    let created = plugin.calls_to("NetworkDriver.CreateNetwork");
    assert_eq!(created.len(), 1);
    assert!(
        created[0].contains(r#""colour":"red""#) && created[0].contains("10.93.7.0/24"),
        "{created:?}"
    );

    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "net"},
    });
    let made = ask(&daemon, "POST", "/containers/create", Some(&body), 201);
    let id = made["Id"].as_str().expect("an id").to_owned();
    ask(&daemon, "POST", &format!("/containers/{id}/start"), None, 204);
    let container = ask(&daemon, "GET", &format!("/containers/{id}/json"), None, 200);
    assert_eq!(container["NetworkSettings"]["Networks"]["net"]["IPAddress"], "10.93.7.2");
    let pid = container["State"]["Pid"].as_i64().expect("a process");
    let inside = tests::Host::of_process(i32::try_from(pid).expect("a process id"));
    assert!(inside.sh(&["ip", "-o", "addr", "show", "eth0"]).contains("10.93.7.2/24"));

    daemon.crash().unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(plugin.calls_to("NetworkDriver.Join").len(), 1, "nobody joins twice");
    let again = ask(&daemon, "GET", &format!("/containers/{id}/json"), None, 200);
    assert_eq!(again["NetworkSettings"]["Networks"], container["NetworkSettings"]["Networks"]);
    let used = ask(&daemon, "DELETE", "/networks/net", None, 403);
    assert!(
        used["message"].as_str().is_some_and(|text| text.contains("active endpoints")),
        "{used}"
    );
    ask(&daemon, "DELETE", &format!("/containers/{id}?force=1"), None, 204);
    assert_eq!(plugin.calls_to("NetworkDriver.Leave").len(), 1);
    assert_eq!(plugin.calls_to("NetworkDriver.DeleteEndpoint").len(), 1);
    ask(&daemon, "DELETE", "/networks/net", None, 204);
    assert_eq!(plugin.calls_to("NetworkDriver.DeleteNetwork").len(), 1);
    assert_eq!(daemon.retire(), Vec::<String>::new());
}
