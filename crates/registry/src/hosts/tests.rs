//! Cases of hosts files and the endpoints that come of them.

use super::*;

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn hosts_keep_order_and_settings() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
server = "https://upstream.example:5000/base"
[header]
x-server = "s"
[host."https://z.example"]
capabilities = ["pull"]
skip_verify = true
[host."http://a.example/v2/prefix"]
capabilities = ["pull", "resolve"]
override_path = true
[host."http://a.example/v2/prefix".header]
Authorization = "Basic eA=="
x-two = ["1", "2"]
[host."m.example"]
"#;
    let hosts = read("reg.example", dir.path(), text).unwrap();
    let urls: Vec<&str> = hosts.hosts.iter().map(|host| host.url.as_str()).collect();
    assert_eq!(
        urls,
        [
            "https://z.example/",
            "http://a.example/v2/prefix",
            "https://m.example/"
        ]
    );
    assert_eq!(
        hosts.server.url.as_str(),
        "https://upstream.example:5000/base"
    );
    assert_eq!(hosts.server.headers["x-server"], "s");
    assert!(hosts.hosts[0].skip_verify && !hosts.hosts[0].capabilities.resolve);
    assert!(hosts.hosts[1].override_path && !hosts.hosts[1].capabilities.push);
    assert_eq!(hosts.hosts[1].headers.get_all("x-two").iter().count(), 2);
    assert!(!format!("{:?}", hosts.hosts[1].headers).contains("eA=="));
    assert_eq!(hosts.hosts[2].capabilities, Capabilities::ALL);
    let plain = read("docker.io", dir.path(), "").unwrap();
    assert_eq!(plain.server.url.as_str(), "https://registry-1.docker.io/");
}

#[test]
fn broken_files_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    for (text, want) in [
        ("server = 1", "`server` must be"),
        ("server = \"ftp://x\"", "`http://` or `https://`"),
        ("server = \"https://u:secret@x\"", "user names"),
        (
            "[host.\"https://x\"]\ncapabilities = [\"fly\"]",
            "unknown capability",
        ),
        ("[host.\"https://x\"]\nca = \"missing.pem\"", "missing.pem"),
        ("[host.\"https://x\"]\nclient = [[1]]", "`client` must be"),
        (
            "[host.\"https://x\"]\nskip_verify = \"yes\"",
            "`skip_verify`",
        ),
        ("[host.\"https://x\".header]\n\"a b\" = \"c\"", "header"),
        ("[host", "hosts.toml"),
    ] {
        let error = read("x", dir.path(), text).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn changes_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let directories = [dir.path().to_owned()];
    let known = Directory::default();
    let name = "reg.example:5000";
    assert!(known.of(&directories, name).unwrap().hosts.is_none());
    let path = dir.path().join(name).join("hosts.toml");
    write(&path, "server = \"https://one.example\"");
    let first = known.of(&directories, name).unwrap();
    assert!(Arc::ptr_eq(&first, &known.of(&directories, name).unwrap()));
    let server = |files: &Files| files.hosts.as_ref().unwrap().server.url.to_string();
    assert_eq!(server(&first), "https://one.example/");
    write(&path, "server = \"https://three.example\"");
    assert_eq!(
        server(&known.of(&directories, name).unwrap()),
        "https://three.example/"
    );
    for hostile in ["..", ".", "../x", "a/b", ""] {
        assert!(known.of(&directories, hostile).unwrap().hosts.is_none());
    }
}

#[test]
fn client_certificates_come_in_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let directories = [dir.path().to_owned()];
    write(&dir.path().join("one/client.cert"), "x");
    write(&dir.path().join("two/client.key"), "x");
    write(&dir.path().join("three/ca.crt"), "no certificate");
    let error = |name: &str| {
        let known = Directory::default();
        known.of(&directories, name).unwrap_err().to_string()
    };
    assert_eq!(
        error("one"),
        "missing key client.key for client certificate client.cert. CA certificates must use the \
         extension .crt"
    );
    assert_eq!(
        error("two"),
        "missing client certificate client.cert for key client.key"
    );
    assert!(error("three").contains("ca.crt"));
}
