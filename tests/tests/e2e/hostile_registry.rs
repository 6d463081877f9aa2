//! Registries that lie: nothing of it is kept, the error names the digest, memory and time are
//! bounded, and the next pull from a good registry works.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::content::{self, Blob, Builder, Compression, Family, Image, digest, media};
use tests::hostile::Tokens;
use tests::registry::{IDENTITY, PASSWORD, USER};
use tests::{Case, Hostile, IMAGE, Output, Reply, base64, clients};

/// A lie in a document.
type Change<'a> = &'a dyn Fn(&mut Value);

/// How long anything that is refused may take.
const BOUND: Duration = Duration::from_secs(45);

/// An image of three layers and a base, so that there is something to lie about.
fn image(marker: &str) -> Image {
    static COUNTER: AtomicUsize = AtomicUsize::new(1);
    // Layers of its own: what another test has pulled already would not be asked for.
    let own = COUNTER.fetch_add(1, Ordering::Relaxed) + std::process::id() as usize * 1000;
    let how = Compression::Gzip(6);
    Builder::new(Family::Oci)
        .file("etc/marker", format!("{marker} {own}").as_bytes(), how)
        .file("etc/noise", &content::noise(own, 200_000), how)
        .file("etc/prose", &content::prose(own, 200_000), how)
        .build()
}

/// Pulls what must be refused: soon, with these words, and without anything kept.
#[track_caller]
fn refused(case: &Case, reference: &str, words: &[&str]) -> Output {
    let begin = Instant::now();
    let output = case.cmd(&["pull", reference]).exits(1);
    assert!(begin.elapsed() < BOUND, "{:?}: {output:?}", begin.elapsed());
    for word in words {
        assert!(output.stderr.contains(word), "no `{word}`: {output:?}");
    }
    assert!(!output.stderr.contains("panic"), "{output:?}");
    case.cmd(&["image", "inspect", reference]).exits(1);
    output
}

/// A reference on a registry that behaves, with what must still be had from it.
#[track_caller]
fn heals(case: &Case, hostile: &Hostile, reference: &str, image: &Image) {
    hostile.behave();
    case.cmd(&["pull", reference]).ok().shows(&image.manifest.digest());
    case.cmd(&["inspect", "-f", "{{.Id}}", reference]).ok().prints(&image.id());
}

clients! {
    fn bytes_that_are_not_those_of_the_digest(case) {
        let hostile = case.hostile();
        let image = image("digest");
        hostile.serve("e2e/lies", "one", &image.content());
        let reference = hostile.reference("e2e/lies:one");
        for blob in [&image.layers[1].blob, &image.config] {
            let mut wrong = blob.bytes.clone();
            let middle = wrong.len() / 2;
            wrong[middle] ^= 1;
            hostile.on(&format!("/blobs/{}", blob.digest()), Reply::real().body(wrong));
            refused(case, &reference, &[]);
            // Which digest it was is our promise: a dockerd does not always say.
            if !case.is_reference() {
                refused(case, &reference, &[&blob.digest()]);
            }
            hostile.behave();
        }
        // A dockerd may still have the document from the attempts before.
        if case.is_reference() {
            return heals(case, &hostile, &reference, &image);
        }
        let exact = format!("{}@{}", hostile.reference("e2e/lies"), image.manifest.digest());
        let mut wrong = image.manifest.bytes.clone();
        wrong.push(b' ');
        let line = format!("/manifests/{}", image.manifest.digest());
        hostile.on(&line, Reply::real().body(wrong));
        refused(case, &exact, &[&image.manifest.digest()]);
        heals(case, &hostile, &reference, &image);
    }

    fn sizes_that_are_not_those_of_the_descriptor(case) {
        let hostile = case.hostile();
        let image = image("size");
        for (number, delta) in [-1i64, 1, 1_000_000].into_iter().enumerate() {
            let lie = image.clone().with_manifest(|manifest| {
                let size = manifest["layers"][1]["size"].as_i64().expect("a number");
                manifest["layers"][1]["size"] = (size + delta).into();
            });
            let tag = format!("t{number}");
            hostile.serve("e2e/sizes", &tag, &lie.content());
            let reference = hostile.reference(&format!("e2e/sizes:{tag}"));
            // A dockerd takes what is smaller than it was said to be.
            if case.is_reference() {
                continue;
            }
            refused(case, &reference, &[&image.layers[1].blob.digest()]);
        }
        hostile.serve("e2e/sizes", "good", &image.content());
        heals(case, &hostile, &hostile.reference("e2e/sizes:good"), &image);
    }

    fn lengths_that_are_claimed_and_bodies_without_end(case) {
        let hostile = case.hostile();
        let image = image("length");
        hostile.serve("e2e/length", "one", &image.content());
        let reference = hostile.reference("e2e/length:one");
        let blob = &image.layers[1].blob;
        let (part, size) = (format!("/blobs/{}", blob.digest()), blob.bytes.len() as u64);
        if !case.is_reference() {
            for reply in [
                Reply::real().claim(size + 1000).cut_after(size),
                Reply::real().claim(size - 1000),
                Reply::real().endless(),
                Reply::real().chunked().body(vec![0; 100]),
            ] {
                hostile.on(&part, reply);
                refused(case, &reference, &[&blob.digest()]);
                hostile.behave();
                assert!(hostile.sent() < 64 << 20, "{} bytes were taken", hostile.sent());
                hostile.forget();
            }
        }
        // Without a length, but right, is right.
        hostile.on(&part, Reply::real().chunked());
        case.cmd(&["pull", &reference]).ok().shows(&image.manifest.digest());
    }

    fn diff_ids_that_are_not_those_of_the_layers(case) {
        let hostile = case.hostile();
        let image = image("diff");
        let lie = digest(b"another layer");
        let changes: [(&str, Change<'_>); 4] = [
            ("wrong", &|config| config["rootfs"]["diff_ids"][1] = lie.clone().into()),
            ("swapped", &|config| {
                let ids = config["rootfs"]["diff_ids"].clone();
                config["rootfs"]["diff_ids"] = json!([ids[1], ids[0], ids[2]]);
            }),
            ("fewer", &|config| {
                let ids = config["rootfs"]["diff_ids"].clone();
                config["rootfs"]["diff_ids"] = json!([ids[0], ids[1]]);
            }),
            ("more", &|config| {
                let ids = config["rootfs"]["diff_ids"].as_array_mut().expect("a list");
                ids.push(lie.clone().into());
            }),
        ];
        for (tag, change) in changes {
            let lying = image.clone().with_config(change);
            hostile.serve("e2e/diff", tag, &lying.content());
            refused(case, &hostile.reference(&format!("e2e/diff:{tag}")), &[]);
        }
        hostile.serve("e2e/diff", "good", &image.content());
        heals(case, &hostile, &hostile.reference("e2e/diff:good"), &image);
    }

    fn documents_with_two_meanings(case) {
        let hostile = case.hostile();
        let image = image("ambiguous");
        let good = image.manifest.value();
        let text = good.to_string();
        let mut both = good.clone();
        both["manifests"] = json!([image.manifest.descriptor()]);
        let mut other_type = good.clone();
        other_type["mediaType"] = media::OCI_INDEX.into();
        let twice = text.replacen("\"layers\":", "\"layers\":[],\"layers\":", 1);
        let schema1 = json!({
            "schemaVersion": 1, "name": "e2e/x", "tag": "one", "architecture": "amd64",
            "fsLayers": [{"blobSum": image.layers[0].blob.digest()}],
            "history": [{"v1Compatibility": "{}"}], "signatures": [],
        });
        let cases = [
            ("both", Blob::json(media::OCI_MANIFEST, &both)),
            ("type", Blob::json(media::OCI_MANIFEST, &other_type)),
            ("header", Blob::new(media::OCI_INDEX, text.clone())),
            ("twice", Blob::new(media::OCI_MANIFEST, twice)),
            (
                "schema1",
                Blob::json("application/vnd.docker.distribution.manifest.v1+prettyjws", &schema1),
            ),
            ("unknown", Blob::new("application/vnd.e2e.unknown+json", text.clone())),
            ("html", Blob::new("text/html", b"<html>log in</html>".as_slice())),
            ("garbage", Blob::new(media::OCI_MANIFEST, b"{\"schemaVersion\":2,".as_slice())),
            ("empty", Blob::new(media::OCI_MANIFEST, b"".as_slice())),
            ("null", Blob::new(media::OCI_MANIFEST, b"null".as_slice())),
            ("bare", Blob::new(media::OCI_MANIFEST, b"{\"schemaVersion\":2}".as_slice())),
        ];
        hostile.serve("e2e/twofold", "good", &image.content());
        for (tag, document) in cases {
            // What a dockerd takes for granted here is its own affair.
            if case.is_reference() && matches!(tag, "twice" | "type" | "unknown" | "header") {
                continue;
            }
            hostile.forge_manifest("e2e/twofold", tag, &document);
            refused(case, &hostile.reference(&format!("e2e/twofold:{tag}")), &[]);
        }
        heals(case, &hostile, &hostile.reference("e2e/twofold:good"), &image);
    }

    fn digests_and_layers_out_of_grammar(case) {
        let hostile = case.hostile();
        let image = image("grammar");
        let hex = &image.layers[0].blob.digest()[7..];
        let lies = [
            "sha256:../../../../tmp/e2e-escape".to_owned(),
            format!("sha256:{}", &hex[..63]),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha512:{hex}"),
            hex.to_owned(),
            format!("SHA256:{hex}"),
            String::new(),
            format!("sha256:{hex}\0"),
            "sha256:".to_owned(),
        ];
        for (number, lie) in lies.iter().enumerate() {
            let lying =
                image.clone().with_manifest(|m| m["layers"][0]["digest"] = lie.clone().into());
            let tag = format!("t{number}");
            hostile.serve("e2e/grammar", &tag, &lying.content());
            refused(case, &hostile.reference(&format!("e2e/grammar:{tag}")), &[]);
        }
        for (tag, size) in
            [("negative", json!(-1)), ("huge", json!(u64::MAX)), ("text", json!("12"))]
        {
            let lying = image.clone().with_manifest(|m| m["layers"][0]["size"] = size);
            hostile.serve("e2e/grammar", tag, &lying.content());
            if !case.is_reference() {
                refused(case, &hostile.reference(&format!("e2e/grammar:{tag}")), &[]);
            }
        }
        assert!(!std::path::Path::new("/tmp/e2e-escape").exists());
    }

    fn configurations_that_hurt(case) {
        let hostile = case.hostile();
        let image = image("config");
        let raw = |text: &str| {
            let config = Blob::new(media::OCI_CONFIG, text.as_bytes());
            let descriptor = config.descriptor();
            let mut changed = image.clone().with_manifest(|m| m["config"] = descriptor);
            changed.config = config;
            changed
        };
        let ids = image.config.value()["rootfs"]["diff_ids"].clone();
        let changed = |key: &str, value: Value| {
            image.clone().with_config(|config| config["config"][key] = value)
        };
        let cases = [
            ("null", raw("null"), true),
            ("list", raw("[]"), true),
            ("rootless", raw("{\"os\":\"linux\",\"architecture\":\"amd64\"}"), true),
            ("nullroot", raw("{\"os\":\"linux\",\"rootfs\":null}"), true),
            ("garbage", raw("{\"rootfs\":"), true),
            ("command", changed("Cmd", json!("a string")), false),
            ("env", changed("Env", json!(vec!["A=1"; 100_000])), false),
            ("dir", changed("WorkingDir", json!("/proc/self/fd/7")), false),
            ("volumes", changed("Volumes", json!({"/../../x": {}})), false),
            ("user", changed("User", json!("99999999999")), false),
            (
                "deep",
                raw(&format!(
                    "{{\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":{ids}}},\"x\":{}{}}}",
                    "[".repeat(100_000),
                    "]".repeat(100_000)
                )),
                false,
            ),
        ];
        for (tag, hostile_image, always) in cases {
            hostile.serve("e2e/config", tag, &hostile_image.content());
            let reference = hostile.reference(&format!("e2e/config:{tag}"));
            if always {
                refused(case, &reference, &[]);
                continue;
            }
            // Refused at the pull, or at create, or harmless: but answered, and never a crash.
            if case.cmd(&["pull", &reference]).code == 0 {
                let name = case.name(tag);
                let create = case.cmd(&["create", "--name", &name, &reference]);
                assert!(matches!(create.code, 0 | 1 | 125), "{create:?}");
                case.cmd(&["start", &name]);
                case.cmd(&["rm", "-fv", &name]);
            }
            assert_eq!(case.api("GET", "/_ping", None).status, 200);
        }
    }

    fn indexes_that_lead_nowhere(case) {
        let hostile = case.hostile();
        let platform = json!({"os": "linux", "architecture": content::architecture()});
        let entry = |digest: &str, media_type: &str, size: usize| json!({"mediaType": media_type, "digest": digest, "size": size, "platform": platform});
        let index = |entries: Vec<Value>| {
            let value =
                json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries});
            Blob::json(media::OCI_INDEX, &value)
        };
        // An index cannot hold its own digest; this one is given whatever digest is asked for.
        let lie = digest(b"itself");
        let itself = index(vec![entry(&lie, media::OCI_INDEX, 300)]);
        hostile.forge_manifest("e2e/index", "itself", &itself);
        hostile.forge_manifest("e2e/index", &lie, &itself);
        refused(case, &hostile.reference("e2e/index:itself"), &[]);
        // Each of a thousand in the next.
        let mut inner = index(Vec::new());
        for _ in 0..1000 {
            let outer = index(vec![entry(&inner.digest(), media::OCI_INDEX, inner.bytes.len())]);
            hostile.forge_manifest("e2e/index", &inner.digest(), &inner);
            inner = outer;
        }
        hostile.forge_manifest("e2e/index", "nested", &inner);
        hostile.forget();
        refused(case, &hostile.reference("e2e/index:nested"), &[]);
        if !case.is_reference() {
            let asked = hostile.count("/manifests/");
            assert!(asked < 32, "{asked} documents were asked for");
        }
        let absent = index(vec![entry(&digest(b"absent"), media::OCI_MANIFEST, 100)]);
        hostile.forge_manifest("e2e/index", "absent", &absent);
        refused(case, &hostile.reference("e2e/index:absent"), &[]);
        hostile.forge_manifest("e2e/index", "none", &index(Vec::new()));
        refused(case, &hostile.reference("e2e/index:none"), &["no matching manifest"]);
    }

    fn urls_of_layers_are_not_followed(case) {
        let (hostile, elsewhere) = (case.hostile(), case.hostile());
        let image = image("urls");
        elsewhere.serve("e2e/x", "one", &image.content());
        let digest = image.layers[1].blob.digest();
        let lying = image.clone().with_manifest(|manifest| {
            manifest["layers"][1]["urls"] =
                json!([format!("http://{}/v2/e2e/x/blobs/{digest}", elsewhere.address())]);
        });
        hostile.serve("e2e/urls", "one", &lying.content());
        hostile.on(&format!("/blobs/{digest}"), Reply::error(404, "BLOB_UNKNOWN", "unknown"));
        refused(case, &hostile.reference("e2e/urls:one"), &[]);
        if !case.is_reference() {
            assert_eq!(elsewhere.requests().len(), 0, "{:?}", elsewhere.requests());
        }
    }

    fn passwords_do_not_follow_redirects(case) {
        let (hostile, elsewhere) = (case.hostile(), case.hostile());
        let image = image("redirected");
        elsewhere.serve("e2e/redirect", "one", &image.content());
        hostile.serve("e2e/redirect", "one", &image.content());
        hostile.on(
            &format!("/blobs/{}", image.layers[1].blob.digest()),
            Reply::redirect(&format!(
                "http://{}/v2/e2e/redirect/blobs/{}",
                elsewhere.address(),
                image.layers[1].blob.digest()
            )),
        );
        let host = hostile.address();
        let args = ["login", "-u", USER, "--password-stdin", &host];
        // It asks for a password: what is right is given everywhere afterwards.
        let realm = Reply::error(401, "UNAUTHORIZED", "authentication required")
            .header("WWW-Authenticate", "Basic realm=\"e2e\"");
        hostile.on_times("GET /v2/", 1, realm.clone());
        case.cmd_with_input(&args, PASSWORD.as_bytes()).ok();
        hostile.on_times("/manifests/one", 1, realm);
        case.cmd(&["pull", &hostile.reference("e2e/redirect:one")]).ok();
        assert!(elsewhere.requests().len() == 1, "{:?}", elsewhere.requests());
        let header = base64(format!("{USER}:{PASSWORD}").as_bytes());
        for request in elsewhere.requests() {
            assert!(request.header("authorization").is_none(), "{request:?}");
            assert!(!request.mentions(&header) && !request.mentions(PASSWORD), "{request:?}");
        }
    }

    fn passwords_do_not_follow_locations(case) {
        let (hostile, elsewhere) = (case.hostile(), case.hostile());
        let args = ["login", "-u", USER, "--password-stdin", &hostile.address()];
        let realm = Reply::error(401, "UNAUTHORIZED", "authentication required")
            .header("WWW-Authenticate", "Basic realm=\"e2e\"");
        hostile.on_times("GET /v2/", 1, realm.clone());
        case.cmd_with_input(&args, PASSWORD.as_bytes()).ok();
        hostile.on_times("/v2/", 1, realm);
        hostile.on(
            "POST /v2/",
            Reply::of(202, "").header(
                "Location",
                &format!("http://{}/v2/e2e/taken/blobs/uploads/u0", elsewhere.address()),
            ),
        );
        let reference = hostile.reference("e2e/located:one");
        case.cmd(&["tag", IMAGE, &reference]).ok();
        case.cmd(&["push", &reference]).exits(1);
        let header = base64(format!("{USER}:{PASSWORD}").as_bytes());
        if !case.is_reference() {
            for request in elsewhere.requests() {
                assert!(!request.mentions(&header), "{request:?}");
            }
        }
    }

    fn a_password_goes_to_no_realm_elsewhere(case) {
        if case.is_reference() {
            return;
        }
        let hostile = case.hostile();
        let elsewhere = Hostile::start_at(case.gateway().parse().expect("an address"));
        let tokens = Tokens {
            realm: format!("http://{}/token", elsewhere.address()),
            user: USER.into(),
            password: PASSWORD.into(),
            identity: IDENTITY.into(),
            anonymous_pull: false,
        };
        elsewhere.require(tokens.clone());
        hostile.require(tokens);
        let args = ["login", "-u", USER, "--password-stdin", &hostile.address()];
        case.cmd_with_input(&args, PASSWORD.as_bytes()).exits(1);
        let login = json!({
            "username": USER, "password": PASSWORD, "serveraddress": hostile.address(),
        });
        let header = base64(login.to_string().as_bytes()).replace('+', "-").replace('/', "_");
        let path = format!("/images/create?fromImage={}&tag=one", hostile.reference("e2e/x"));
        tests::http::Connection::open(case.target().socket())
            .and_then(|mut c| c.exchange("POST", &path, &[("X-Registry-Auth", &header)], b""))
            .expect("an answer");
        let encoded = base64(format!("{USER}:{PASSWORD}").as_bytes());
        for request in elsewhere.requests() {
            assert!(!request.mentions(PASSWORD) && !request.mentions(&encoded), "{request:?}");
        }
    }

    fn redirects_end(case) {
        // A dockerd counts them for each of its attempts, with pauses of up to twenty seconds.
        if case.is_reference() {
            return;
        }
        let hostile = case.hostile();
        let image = image("loop");
        hostile.serve("e2e/loop", "one", &image.content());
        let digest = image.layers[0].blob.digest();
        let place = format!("/v2/e2e/loop/blobs/{digest}");
        let url = format!("http://{}{place}", hostile.address());
        hostile.on(&format!("/blobs/{digest}"), Reply::redirect(&url));
        refused(case, &hostile.reference("e2e/loop:one"), &[]);
        assert!(hostile.count(&place) <= 100, "{}", hostile.count(&place));
        heals(case, &hostile, &hostile.reference("e2e/loop:one"), &image);
    }
}
