//! Where an image comes from: mirrors of Docker Hub, `hosts.toml` for any registry, proxies.

use std::path::Path;

use tests::content::{self, Image};
use tests::proxy::Proxy;
use tests::registry::Options;
use tests::tls::Authority;
use tests::{Hostile, Own, Registry, Reply, clients};

/// A registry that nobody can look up.
const NOWHERE: &str = "registry.invalid:5000";

/// An address on which nobody listens.
const DEAD: &str = "http://127.0.0.1:1";

fn served(repository: &str, image: &Image) -> Hostile {
    let hostile = Hostile::start();
    hostile.serve(repository, "one", &image.content());
    hostile
}

/// Writes the `hosts.toml` of a registry.
fn hosts(own: &Own, registry: &str, text: &str) {
    let dir = own.daemon().certificates().join(registry);
    let path = dir.join("hosts.toml");
    // As an editor does it: whole or not at all.
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(dir.join("hosts.new"), text))
        .and_then(|()| std::fs::rename(dir.join("hosts.new"), path))
        .expect("the directory is ours");
}

#[track_caller]
fn pulls(own: &Own, reference: &str, image: &Image) {
    own.cmd(&["pull", reference]).ok().shows(&image.manifest.digest());
    own.cmd(&["inspect", "-f", "{{.Id}}", reference]).ok().prints(&image.id());
    own.cmd(&["rmi", reference]).ok();
}

clients! {
    fn mirrors_of_docker_hub_in_order(case) {
        let image = content::simple("mirrored");
        let (first, second) = (Hostile::start(), served("library/e2e-mirrored", &image));
        let flags = [
            "--registry-mirror",
            DEAD,
            "--registry-mirror",
            &format!("http://{}", first.address()),
            "--registry-mirror",
            &format!("http://{}", second.address()),
        ];
        let Some(own) = Own::start(case.client(), &flags) else {
            return;
        };
        pulls(&own, "e2e-mirrored:one", &image);
        assert!(
            first.count("/v2/library/e2e-mirrored/manifests/one") > 0,
            "the first was not asked"
        );
        // Another registry has nothing to do with them.
        second.forget();
        let other = served("e2e/other", &image);
        pulls(&own, &other.reference("e2e/other:one"), &image);
        assert_eq!(second.count("/v2/e2e"), 0);
        own.retire();
    }

    fn a_cache_of_debian_is_a_mirror(case) {
        let image = content::simple("cached");
        let upstream = Registry::plain();
        upstream.put_image("library/e2e-cached:one", &image);
        let cache = Registry::start(&Options {
            mirror_of: Some(format!("http://{}", upstream.address())),
            ..Options::default()
        });
        let flags = ["--registry-mirror", &format!("http://{}/", cache.address())];
        let Some(own) = Own::start(case.client(), &flags) else {
            return;
        };
        pulls(&own, "e2e-cached:one", &image);
        own.retire();
    }

    fn hosts_of_any_registry_in_order(case) {
        let Some(own) = Own::start(case.client(), &[]) else {
            return;
        };
        let image = content::simple("hosts");
        let (empty, good) = (Hostile::start(), served("e2e/hosts", &image));
        empty.on("GET /v2/e2e", Reply::error(503, "UNAVAILABLE", "busy"));
        empty.on("HEAD /v2/e2e", Reply::error(503, "UNAVAILABLE", "busy"));
        hosts(
            &own,
            NOWHERE,
            &format!(
                "server = \"{DEAD}\"\n[host.\"http://{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n\
             [host.\"http://{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  \
             [host.\"http://{}\".header]\n    x-e2e-key = \"of this host\"\n",
                empty.address(),
                good.address(),
                good.address(),
            ),
        );
        pulls(&own, &format!("{NOWHERE}/e2e/hosts:one"), &image);
        assert!(empty.count("/v2/e2e/hosts") > 0);
        let asked = good.requests();
        assert!(asked.iter().all(|r| r.header("x-e2e-key") == Some("of this host")), "{asked:?}");
        assert!(empty.requests().iter().all(|r| r.header("x-e2e-key").is_none()));
        own.retire();
    }

    fn hosts_rewrite_the_path_and_are_read_again(case) {
        let Some(own) = Own::start(case.client(), &[]) else {
            return;
        };
        let (one, two) = (content::simple("one"), content::simple("two"));
        let first = served("cache/e2e/moved", &one);
        let second = served("e2e/moved", &two);
        let reference = format!("{NOWHERE}/e2e/moved:one");
        hosts(
            &own,
            NOWHERE,
            &format!(
                "server = \"{DEAD}\"\n[host.\"http://{}/v2/cache\"]\n  capabilities = [\"pull\", \
             \"resolve\"]\n  override_path = true\n",
                first.address(),
            ),
        );
        pulls(&own, &reference, &one);
        hosts(&own, NOWHERE, &format!("server = \"http://{}\"\n", second.address()));
        pulls(&own, &reference, &two);
        std::fs::remove_dir_all(own.daemon().certificates().join(NOWHERE)).expect("it is there");
        own.cmd(&["pull", &reference]).exits(1);
        hosts(&own, NOWHERE, "this is = = no table");
        let output = own.cmd(&["pull", &reference]).exits(1);
        assert!(output.stderr.contains("hosts.toml"), "{output:?}");
        own.retire();
    }

    fn hosts_say_what_a_host_may_do(case) {
        let Some(mut own) = Own::start(case.client(), &[]) else {
            return;
        };
        own.warm_up();
        let (cache, origin) = (Hostile::start(), Hostile::start());
        hosts(
            &own,
            NOWHERE,
            &format!(
                "server = \"http://{}\"\n[host.\"http://{}\"]\n  capabilities = [\"pull\", \
             \"resolve\"]\n",
                origin.address(),
                cache.address(),
            ),
        );
        let reference = format!("{NOWHERE}/e2e/pushed:one");
        own.cmd(&["tag", tests::IMAGE, &reference]).ok();
        own.cmd(&["push", &reference]).ok();
        assert!(origin.manifest("e2e/pushed", "one").is_some());
        assert!(cache.manifest("e2e/pushed", "one").is_none());
        assert_eq!(cache.count("POST "), 0);
        own.cmd(&["rmi", &reference]).ok();
        drop((cache, origin));
        own.retire();
    }

    fn hosts_say_whom_to_believe(case) {
        let Some(own) = Own::start(case.client(), &[]) else {
            return;
        };
        let authority = Authority::new();
        let identity = authority.issue(&format!("IP:{}", case.gateway()));
        let registry = Registry::start(&Options {
            host: Some(case.gateway()),
            tls: Some(&identity),
            ..Options::default()
        });
        let reference = format!("{NOWHERE}/e2e/absent:one");
        let table = |more: &str| {
            format!(
                "server = \"{DEAD}\"\n[host.\"https://{}\"]\n  capabilities = [\"pull\", \
             \"resolve\"]\n{more}",
                registry.address(),
            )
        };
        hosts(&own, NOWHERE, &table(""));
        own.cmd(&["pull", &reference]).exits(1);
        assert!(!registry.log().contains("/v2/e2e"), "{}", registry.log());
        hosts(&own, NOWHERE, &table("  skip_verify = true\n"));
        own.cmd(&["pull", &reference]).exits(1);
        assert!(registry.log().contains("/v2/e2e/absent"), "{}", registry.log());
        let ca = format!("  ca = \"{}\"\n", authority.certificate().display());
        hosts(&own, NOWHERE, &table(&ca));
        let output = own.cmd(&["pull", &reference]).exits(1);
        assert!(!output.stderr.contains("certificate"), "{output:?}");
        own.retire();
    }

    fn proxies_are_used_except_where_not(case) {
        let image = content::simple("proxied");
        let origin = served("e2e/proxied", &image);
        let proxy = Proxy::to(origin.socket_address(), false);
        // Not loopback, and refused at once; no name has to be looked up.
        let near = format!("{}:1", case.gateway());
        let flags = [
            "--http-proxy",
            &proxy.url(),
            "--https-proxy",
            &proxy.url(),
            "--insecure-registry",
            NOWHERE,
            "--no-proxy",
            &near,
            "--insecure-registry",
            &near,
        ];
        let Some(own) = Own::start(case.client(), &flags) else {
            return;
        };
        pulls(&own, &format!("{NOWHERE}/e2e/proxied:one"), &image);
        let asked = proxy.asked();
        let whole = format!("http://{NOWHERE}/v2/e2e/proxied/manifests/one");
        assert!(asked.iter().any(|request| request.path == whole), "{asked:?}");
        own.cmd(&["pull", &format!("{near}/e2e/proxied:one")]).exits(1);
        assert!(!proxy.asked().iter().any(|request| request.path.contains(&near)));
        // Loopback never goes through a proxy.
        let count = proxy.asked().len();
        pulls(&own, &origin.reference("e2e/proxied:one"), &image);
        assert_eq!(proxy.asked().len(), count);
        own.retire();
    }

    fn tls_goes_through_a_tunnel(case) {
        let authority = Authority::new();
        let identity = authority.issue("DNS:registry.invalid");
        let registry = Registry::start(&Options {
            tls: Some(&identity),
            ..Options::default()
        });
        let target = registry.address().parse().expect("an address");
        let proxy = Proxy::to(target, true);
        let Some(mut own) = Own::start(case.client(), &["--https-proxy", &proxy.url()]) else {
            return;
        };
        own.warm_up();
        trust(own.daemon().certificates(), &authority);
        let reference = format!("{NOWHERE}/e2e/tunnel:one");
        own.cmd(&["tag", tests::IMAGE, &reference]).ok();
        own.cmd(&["push", &reference]).ok();
        own.cmd(&["pull", &reference]).ok().shows("Image is up to date");
        own.cmd(&["rmi", &reference]).ok();
        assert!(proxy.asked().iter().all(|request| request.line() == format!("CONNECT {NOWHERE}")));
        assert!(registry.log().contains("/v2/e2e/tunnel/"), "{}", registry.log());
        drop((registry, proxy));
        own.retire();
    }
}

fn trust(certificates: &Path, authority: &Authority) {
    let dir = certificates.join(NOWHERE);
    tests::tls::certificates_for(&dir, Some(&authority.certificate()), None);
}
