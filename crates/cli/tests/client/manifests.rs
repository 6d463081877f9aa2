//! `manifest`: lists put together from what a registry has, and put there.

use super::Home;
use super::played::{Answer, Asked, Daemon, Registry};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#;

fn digest(text: &str) -> String {
    spec::Digest::of(text.as_bytes()).to_string()
}

fn manifest() -> String {
    format!(
        "{{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"{DOCKER}\",\n   \"config\": {{\n      \"mediaType\": \"application/vnd.docker.container.image.v1+json\",\n      \"size\": {},\n      \"digest\": \"{}\"\n   }},\n   \"layers\": []\n}}",
        CONFIG.len(),
        digest(CONFIG)
    )
}

// A registry with one image, that takes whatever is put.
fn registry() -> Registry {
    Registry::play(
        |asked, _| match (asked.method.as_str(), asked.path.as_str()) {
            ("GET" | "HEAD", path) if path.ends_with("/team/x/manifests/1") => Answer {
                media_type: DOCKER.to_owned(),
                ..Answer::ok(&manifest())
            },
            ("GET", path) if path.ends_with(&format!("/blobs/{}", digest(CONFIG))) => {
                Answer::ok(CONFIG)
            }
            ("POST", path) if path.contains("mount=") => Answer::of(201, ""),
            ("PUT", _) => Answer {
                head: format!("Docker-Content-Digest: {}\r\n", digest(&asked.body)),
                ..Answer::of(201, "")
            },
            ("GET", "/v2/") => Answer::ok("{}"),
            _ => Answer::of(
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            ),
        },
    )
}

fn nobody() -> Daemon {
    Daemon::play(|_, _| Answer::refusal(500, "nobody has to ask the daemon"))
}

fn puts(registry: &Registry) -> Vec<Asked> {
    let asked = registry.asked().into_iter();
    asked.filter(|asked| asked.method == "PUT").collect()
}

#[test]
fn a_list_is_made_annotated_and_pushed() {
    let (registry, daemon, home) = (registry(), nobody(), Home::new(""));
    let run = |args: &[&str]| home.run(&daemon, args);
    let (image, list) = (
        format!("{}/team/x:1", registry.host),
        format!("{}/team/all:1", registry.host),
    );
    let made = run(&["manifest", "create", "--insecure", &list, &image]);
    assert_eq!(
        made.out,
        format!("Created manifest list {list}\n"),
        "{made:?}"
    );
    let again = run(&["manifest", "create", "--insecure", &list, &image]);
    assert_eq!(
        again.err,
        "refusing to amend an existing manifest list with no --amend flag\n"
    );
    let name = |text: &str| text.replace(':', "-").replace('/', "_");
    let file = home
        .config()
        .join("manifests")
        .join(name(&list))
        .join(name(&image));
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept.starts_with(&format!(
            "{{\"Ref\":\"{image}\",\"Descriptor\":{{\"mediaType\":\"{DOCKER}\""
        )),
        "{kept}"
    );
    let wrong = run(&["manifest", "annotate", "--arch", "toaster", &list, &image]);
    assert_eq!(
        wrong.err,
        "manifest entry for image has unsupported os/arch combination: /toaster\n"
    );
    assert_eq!(
        run(&[
            "manifest",
            "annotate",
            "--os-features",
            "sse4",
            &list,
            &image
        ])
        .code,
        0
    );
    let shown = run(&["manifest", "inspect", &list]).out;
    let pushed = run(&["manifest", "push", "--purge", &list]);
    let put = puts(&registry);
    assert_eq!(put.len(), 2, "{pushed:?}");
    let (member, whole) = (digest(&manifest()), digest(&put[1].body));
    assert_eq!(
        pushed.out,
        format!(
            "Pushed ref {}/team/all@{member} with digest: {member}\n{whole}\n",
            registry.host
        )
    );
    assert_eq!(
        put[0].body,
        manifest(),
        "the bytes are those of the registry"
    );
    assert_eq!(put[1].header("content-type"), LIST);
    assert_eq!(shown, format!("{}\n", put[1].body));
    assert!(shown.contains("\"os.features\": [\n               \"sse4\"\n            ],\n            \"variant\": \"v8\""), "{shown}");
    let from = registry
        .asked()
        .into_iter()
        .find(|asked| asked.method == "POST")
        .unwrap();
    assert!(from.path.contains("from=team%2Fx"), "{}", from.path);
    assert_eq!(
        run(&["manifest", "inspect", &list]).err,
        format!("no such manifest: {list}\n"),
        "it is purged, and the registry that is played has forgotten it"
    );
    assert!(daemon.asked().is_empty());
}

#[test]
fn what_is_not_there_is_told() {
    let (registry, daemon, home) = (registry(), nobody(), Home::new(""));
    let run = |args: &[&str]| home.run(&daemon, args).err;
    let name = format!("{}/team/nope:1", registry.host);
    assert_eq!(
        run(&["manifest", "inspect", &name]),
        format!("no such manifest: {name}\n")
    );
    assert_eq!(
        run(&["manifest", "push", &name]),
        format!("No such manifest: {name}\n")
    );
    assert_eq!(
        run(&["manifest", "rm", &name, "UPPER"]),
        format!(
            "No such manifest: {name}\ninvalid reference format: repository name (library/UPPER) must be lowercase\n"
        )
    );
    assert_eq!(
        run(&["manifest", "annotate", "l:1", "i:1"]),
        "manifest for image i:1 does not exist in l:1\n"
    );
}

#[test]
fn a_login_without_a_daemon_asks_the_registry_itself() {
    let registry = registry();
    let home = Home::new("");
    let nowhere = [("DOCKER_HOST", "unix:///nonexistent/s")];
    let args = [
        "login",
        "-u",
        "me",
        "--password-stdin",
        registry.host.as_str(),
    ];
    let ended = home.run_with(&nobody(), &args, "s3cret", &nowhere);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "Login Succeeded\n"),
        "{ended:?}"
    );
    assert!(home.config_text().contains(&registry.host));
}
