//! Tables of the grammar, after the cases documented with `distribution/reference`.

use super::*;

const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

#[test]
fn names_are_completed_and_shortened_again() {
    for (text, full, familiar) in [
        (
            "busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "busybox:1.36",
            "docker.io/library/busybox:1.36",
            "busybox:1.36",
        ),
        (
            "library/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "docker.io/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
        (
            "docker.io/library/foo/bar",
            "docker.io/library/foo/bar:latest",
            "library/foo/bar:latest",
        ),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        (
            "localhost/app",
            "localhost/app:latest",
            "localhost/app:latest",
        ),
        (
            "localhost:5000/app:v1",
            "localhost:5000/app:v1",
            "localhost:5000/app:v1",
        ),
        ("Reg/app", "Reg/app:latest", "Reg/app:latest"),
        (
            "test.com/repo:tag",
            "test.com/repo:tag",
            "test.com/repo:tag",
        ),
        (
            "[2001:db8::1]:5000/repo",
            "[2001:db8::1]:5000/repo:latest",
            "[2001:db8::1]:5000/repo:latest",
        ),
        ("[::1]/repo", "[::1]/repo:latest", "[::1]/repo:latest"),
        (
            "a/b__c-d--e.f:_x",
            "docker.io/a/b__c-d--e.f:_x",
            "a/b__c-d--e.f:_x",
        ),
        ("foo_bar.com:8080/x", "", ""),
        (
            "xn--n3h.com/repo",
            "xn--n3h.com/repo:latest",
            "xn--n3h.com/repo:latest",
        ),
    ] {
        match text.parse::<Reference>() {
            Ok(reference) => {
                assert_eq!(reference.to_string(), full, "{text}");
                assert_eq!(reference.familiar(), familiar, "{text}");
                assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text}");
                assert_eq!(familiar.parse::<Reference>().unwrap(), reference, "{text}");
            }
            Err(_) => assert!(full.is_empty(), "{text}"),
        }
    }
}

#[test]
fn digests_take_the_place_of_the_default_tag() {
    let text = format!("busybox@sha256:{HEX}");
    let reference: Reference = text.parse().unwrap();
    assert_eq!(reference.tag(), None);
    assert_eq!(reference.digest().unwrap().hex(), HEX);
    assert_eq!(reference.familiar(), text);
    let both: Reference = format!("localhost:5000/a:v1@sha256:{HEX}").parse().unwrap();
    assert_eq!(both.tag(), Some("v1"));
    assert!(both.digest().is_some());
    assert_eq!(reference.with_tag("x").unwrap().familiar(), "busybox:x");
    assert_eq!(both.with_digest(reference.digest().unwrap()).tag(), None);
}

#[test]
fn errors_have_dockers_texts() {
    let long = "a/".repeat(130) + "a";
    let short = format!("a@sha256:{}", "f".repeat(40));
    let sha512 = format!("a@sha512:{}", "f".repeat(128));
    let upper = format!("a@sha256:{}", HEX.to_uppercase());
    let format = "invalid reference format";
    for (text, want) in [
        ("", format),
        ("/a", format),
        ("a/", format),
        ("a//b", format),
        (":tag", format),
        ("a:", format),
        ("a:b:c", format),
        ("a@b", format),
        ("a@sha256:ff", format),
        ("-foo/bar", format),
        ("a___b", format),
        ("a._b", format),
        ("a-", format),
        ("a b", format),
        ("a\n", format),
        ("é", format),
        ("../etc/passwd", format),
        ("localhost:http/a", format),
        ("[::1/a", format),
        ("-.com/a", format),
        (
            "Uppercase",
            "invalid reference format: repository name (library/Uppercase) must be lowercase",
        ),
        (
            "test:5000/Uppercase/x:t",
            "invalid reference format: repository name (Uppercase/x) must be lowercase",
        ),
        (
            HEX,
            "invalid repository name (ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff), cannot specify 64-byte hexadecimal strings",
        ),
        (
            &long,
            "repository name must not be more than 255 characters",
        ),
        (&short, "invalid checksum digest length"),
        (&sha512, "unsupported digest algorithm"),
        (&upper, "invalid checksum digest format"),
    ] {
        assert_eq!(
            text.parse::<Reference>().unwrap_err().to_string(),
            want,
            "{text:?}"
        );
    }
    let tag = "t".repeat(129);
    assert!(format!("a:{tag}").parse::<Reference>().is_err());
    let base: Reference = "a".parse().unwrap();
    assert_eq!(
        base.with_tag("a/b").unwrap_err().to_string(),
        "invalid tag format"
    );
}

#[test]
fn patterns_are_go_path_patterns_on_familiar_names() {
    let reference: Reference = "docker.io/library/busybox:1.36".parse().unwrap();
    for (pattern, want) in [
        ("busybox", true),
        ("busybox:1.36", true),
        ("busy*", true),
        ("*:1.*", true),
        ("b?sybox", true),
        ("[a-c]usybox", true),
        ("[^b]usybox", false),
        ("*/busybox", false),
        ("busybox:latest", false),
        ("[", false),
        ("busybo\\x", true),
    ] {
        assert_eq!(reference.matches(pattern), want, "{pattern}");
    }
    let nested: Reference = "a.com/x/y:z".parse().unwrap();
    assert!(!nested.matches("a.com/*"));
    assert!(nested.matches("a.com/*/y"));
}
