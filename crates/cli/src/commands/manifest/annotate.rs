//! `manifest annotate` and `manifest rm`: lists before they are pushed.

use super::kept::{Lists, no_such};
use super::named;
use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::tree::Run;

/// What Docker lets lists hold: operating system and its processors.
const KNOWN: [(&str, &[&str]); 9] = [
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x",
        ],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64"]),
];

fn is_known(os: &str, architecture: &str) -> bool {
    KNOWN
        .iter()
        .any(|(name, all)| *name == os && all.contains(&architecture))
}

/// `manifest annotate`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let [list_name, image_name] = flags.args.as_slice() else {
            return Err(Failure::new("two names are needed"));
        };
        let what =
            |kind: &str, name: &str| format!("annotate: error parsing name for {kind} {name}: ");
        let list = named(list_name, &what("manifest list", list_name))?;
        let image = named(image_name, &what("manifest", image_name))?;
        let lists = Lists::of(&app.config);
        let mut entry = lists.get(&list, &image)?.ok_or_else(|| {
            Failure::new(format!(
                "manifest for image {image_name} does not exist in {list_name}"
            ))
        })?;
        let platform = &mut entry.platform;
        for (name, field) in [
            ("os", &mut platform.os),
            ("arch", &mut platform.architecture),
            ("variant", &mut platform.variant),
            ("os-version", &mut platform.os_version),
        ] {
            if !flags.str(name).is_empty() {
                flags.str(name).clone_into(field);
            }
        }
        for feature in flags.list("os-features") {
            if !platform.os_features.contains(&feature) {
                platform.os_features.push(feature);
            }
        }
        if !is_known(&platform.os, &platform.architecture) {
            return Err(Failure::new(format!(
                "manifest entry for image has unsupported os/arch combination: {}/{}",
                flags.str("os"),
                flags.str("arch")
            )));
        }
        lists.put(&list, &image, &entry)
    })
}

/// `manifest rm`
pub(super) fn remove(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let lists = Lists::of(&app.config);
        let remove = |name: &String| -> Result<(), Failure> {
            let list = named(name, "")?;
            if lists.all(&list)?.is_none() {
                return Err(no_such(&list));
            }
            lists.remove(&list)
        };
        let failed = flags.args.iter().filter_map(|name| remove(name).err());
        Failure::join(failed.map(|failure| failure.message).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_platforms() {
        assert!(is_known("linux", "riscv64") && is_known("windows", "amd64"));
        assert!(!is_known("linux", "xyz") && !is_known("", "") && !is_known("windows", "arm64"));
    }
}
