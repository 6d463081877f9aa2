//! Which registries are believed: certificates of a private authority, and what is refused.

use tests::registry::Options;
use tests::tls::{Authority, Identity, certificates_for};
use tests::{Case, Hostile, IMAGE, Own, Registry, clients, content, wait_for};

/// A registry with this certificate where registries have to be trusted.
fn registry(case: &Case, identity: &Identity) -> Registry {
    let registry = Registry::start(&Options {
        host: Some(case.gateway()),
        tls: Some(identity),
        ..Options::default()
    });
    case.owns_images(&registry.address());
    registry
}

/// The name in a certificate of such a registry.
fn name(case: &Case) -> String {
    format!("IP:{}", case.gateway())
}

clients! {
    fn a_private_authority_is_trusted_when_it_is_given(case) {
        let authority = Authority::new();
        let registry = registry(case, &authority.issue(&name(case)));
        let reference = registry.reference("e2e/tls:one");
        case.cmd(&["tag", IMAGE, &reference]).ok();
        let output = case.cmd(&["push", &reference]).exits(1);
        assert!(output.stderr.contains("certificate"), "{output:?}");
        assert!(output.stderr.contains("https://"), "{output:?}");

        let trusted = case.certificates(&registry.address());
        certificates_for(trusted.path(), Some(&authority.certificate()), None);
        let digest = case.cmd(&["push", &reference]).ok().stdout;
        let digest = digest.split_whitespace().find(|word| word.starts_with("sha256:"));
        case.cmd(&["rmi", &reference]).ok();
        case.cmd(&["pull", &reference])
            .ok()
            .shows(&format!("Digest: {}", digest.expect("a push tells the digest")));
    }

    fn expired_and_misnamed_certificates_are_refused(case) {
        let authority = Authority::new();
        for identity in
            [authority.issue_expired(&name(case)), authority.issue("DNS:elsewhere.test")]
        {
            let registry = registry(case, &identity);
            let trusted = case.certificates(&registry.address());
            certificates_for(trusted.path(), Some(&authority.certificate()), None);
            let output = case.cmd(&["pull", &registry.reference("e2e/tls:one")]).exits(1);
            assert!(output.stderr.contains("certificate"), "{output:?}");
            assert!(!registry.log().contains("/v2/e2e"), "{}", registry.log());
        }
    }

    fn a_client_certificate_is_shown(case) {
        let (authority, clients) = (Authority::new(), Authority::new());
        let identity = authority.issue(&name(case));
        let registry = Registry::start(&Options {
            host: Some(case.gateway()),
            tls: Some(&identity),
            client_authority: Some(&clients.certificate()),
            ..Options::default()
        });
        case.owns_images(&registry.address());
        let reference = registry.reference("e2e/client:one");
        case.cmd(&["tag", IMAGE, &reference]).ok();
        let trusted = case.certificates(&registry.address());
        certificates_for(trusted.path(), Some(&authority.certificate()), None);
        case.cmd(&["push", &reference]).exits(1);
        let client = clients.issue("DNS:client.test");
        certificates_for(trusted.path(), Some(&authority.certificate()), Some(&client));
        case.cmd(&["push", &reference]).ok();
    }

    fn loopback_is_believed_whatever_it_shows(case) {
        let authority = Authority::new();
        let identity = authority.issue("DNS:elsewhere.test");
        let registry = Registry::start(&Options {
            tls: Some(&identity),
            ..Options::default()
        });
        case.owns_images(&registry.address());
        let reference = registry.reference("e2e/loop:one");
        case.cmd(&["tag", IMAGE, &reference]).ok();
        case.cmd(&["push", &reference]).ok();
        case.cmd(&["pull", &reference]).ok().shows("Image is up to date");
    }

    fn there_is_no_silent_fallback_to_plain_http(case) {
        let hostile = Hostile::start_at(case.gateway().parse().expect("an address"));
        case.owns_images(&hostile.address());
        hostile.serve("e2e/plain", "one", &content::simple("plain").content());
        let reference = hostile.reference("e2e/plain:one");
        let output = case.cmd(&["pull", &reference]).exits(1);
        assert!(output.stderr.contains("https://"), "{output:?}");
        assert_eq!(hostile.count("/v2/"), 0);
        let args = ["login", "-u", "u", "-p", "e2e-never-sent", &hostile.address()];
        case.cmd(&args).exits(1);
        assert!(!hostile.requests().iter().any(|request| request.mentions("e2e-never-sent")));
        assert_eq!(hostile.count("/v2/"), 0);
    }

    fn insecure_registries_are_named_and_can_be_added(case) {
        let host = case.gateway();
        let config = case.dir().join("daemon.json");
        std::fs::write(&config, "{}").expect("ours");
        let path = config.display().to_string();
        let Some(own) = Own::start(case.client(), &["--config-file", &path]) else {
            return;
        };
        let hostile = Hostile::start_at(host.parse().expect("an address"));
        hostile.serve("e2e/plain", "one", &content::simple("plain").content());
        let reference = hostile.reference("e2e/plain:one");
        own.cmd(&["pull", &reference]).exits(1);
        let text = format!("{{\"insecure-registries\": [\"{}\"]}}", hostile.address());
        std::fs::write(&config, text).expect("ours");
        let pid = own.daemon().pid().and_then(rustix::process::Pid::from_raw).expect("it runs");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
        wait_for("the list is read again", std::time::Duration::from_secs(10), || {
            own.api("GET", "/info", None).text().contains(&hostile.address())
        });
        own.cmd(&["pull", &reference]).ok();
        own.remove_images();
        own.retire();
        let Some(own) = Own::start(case.client(), &["--insecure-registry", &format!("{host}/32")])
        else {
            return;
        };
        own.cmd(&["pull", &reference]).ok();
        own.remove_images();
        own.retire();
    }
}
