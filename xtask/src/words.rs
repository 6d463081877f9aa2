//! Words that the source does not use, from the glossary and from experience.

/// A word that may not occur in an identifier, and what to say instead.
///
/// Compared with whole `snake_case` or `CamelCase` identifiers, or with their ends, as marked by
/// the leading dash.
pub(crate) const IDENTIFIERS: &[(&str, &str)] = &[
    ("chain_hash", "chain_id"),
    ("config_hash", "image_id"),
    ("container_dir", "bundle"),
    ("docker_network_obj", "network"),
    ("grandchild", "exec process"),
    ("layer_hash", "diff_id"),
    ("layer_sha", "diff_id"),
    ("manifest_list", "index"),
    ("nic_name", "endpoint"),
    ("parent_hash", "chain_id"),
    ("port_mapping", "published_port"),
    ("tenant", "exec process"),
    ("vnet", "network"),
];

/// Text that may not occur at all outside this file.
pub(crate) const TEXT: &[&str] = &[
    "TODO",
    "FIXME",
    "XXX:",
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    "#[ignore",
    "spawn_blocking_hack",
];

/// File names that say nothing.
pub(crate) const FILES: &[&str] = &[
    "utils.rs",
    "util.rs",
    "common.rs",
    "helpers.rs",
    "misc.rs",
    "types.rs",
    "core.rs",
    "mod.rs",
];

/// The identifiers of a line of code, without what stands in comments and strings.
pub(crate) fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or(line);
    // Every second piece lies between quotation marks.
    let code = code.split('"').step_by(2);
    code.flat_map(|piece| piece.split(|c: char| !(c.is_alphanumeric() || c == '_')))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_leave_out_comments_and_strings() {
        let line = "let a_b = f(\"tenant\", c); // vnet";
        assert_eq!(
            identifiers(line).collect::<Vec<_>>(),
            ["let", "a_b", "f", "c"]
        );
    }
}
