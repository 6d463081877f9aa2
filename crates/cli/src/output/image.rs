//! Images and their history in lists.

use serde_json::Value;
use spec::Reference;

use super::{Kind, ellipsis, id, int, list, text};
use crate::clock;
use crate::template::Val;
use crate::units::{human_size, human_size3};
use crate::zone::Zone;

/// The columns of `images`.
pub const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
/// The columns of `images --digests`.
pub const TABLE_DIGESTS: &str = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
/// The columns of `history`.
pub const HISTORY_TABLE: &str =
    "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
/// The columns of `history --human=false`.
pub const HISTORY_PLAIN_TABLE: &str =
    "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

/// Images.
pub const KIND: Kind = Kind {
    titles: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
    type_name: "*formatter.imageContext",
};

/// Steps of an image's history.
pub const HISTORY: Kind = Kind {
    titles: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    type_name: "*image.historyContext",
};

/// The rows of one image of the API's list: one for each name.
pub fn rows(image: &Value, trunc: bool, digests: bool, zone: &Zone) -> Vec<Val> {
    let parse = |key: &str| -> Vec<Reference> {
        let texts = list(image, key).iter().filter_map(Value::as_str);
        texts
            .filter_map(|text| Reference::parse_bare(text).ok())
            .collect()
    };
    let (tags, by_digest) = (parse("RepoTags"), parse("RepoDigests"));
    if tags.is_empty() && by_digest.is_empty() {
        return vec![row(image, "<none>", "<none>", "<none>", trunc, zone)];
    }
    let digest_of = |repository: &str| -> Vec<String> {
        let same = by_digest
            .iter()
            .filter(|r| r.familiar_repository() == repository);
        same.filter_map(|r| Some(r.digest()?.to_string())).collect()
    };
    let mut out = Vec::new();
    for name in &tags {
        let repository = name.familiar_repository();
        let tag = name.tag().unwrap_or("<none>");
        let shown = if digests {
            digest_of(&repository)
        } else {
            Vec::new()
        };
        if shown.is_empty() {
            out.push(row(image, &repository, tag, "<none>", trunc, zone));
        }
        for digest in shown {
            out.push(row(image, &repository, tag, &digest, trunc, zone));
        }
    }
    let mut rest: Vec<String> = Vec::new();
    for name in &by_digest {
        let repository = name.familiar_repository();
        let tagged = tags.iter().any(|t| t.familiar_repository() == repository);
        if tagged || rest.contains(&repository) {
            continue;
        }
        match digests {
            true => out.extend(
                digest_of(&repository)
                    .iter()
                    .map(|d| row(image, &repository, "<none>", d, trunc, zone)),
            ),
            false => out.push(row(image, &repository, "<none>", "", trunc, zone)),
        }
        rest.push(repository);
    }
    out
}

/// One image under one name.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub fn row(
    image: &Value,
    repository: &str,
    tag: &str,
    digest: &str,
    trunc: bool,
    zone: &Zone,
) -> Val {
    let created = int(image, "Created");
    let (size, containers) = (int(image, "Size"), int(image, "Containers"));
    let shared = image
        .get("SharedSize")
        .and_then(Value::as_i64)
        .unwrap_or(-1);
    let known = |n: i64| {
        if shared == -1 {
            "N/A".to_owned()
        } else {
            human_size(n as f64)
        }
    };
    KIND.row(vec![
        ("ID", id(text(image, "Id"), trunc).into()),
        ("Repository", repository.into()),
        ("Tag", tag.into()),
        ("Digest", digest.into()),
        ("CreatedSince", clock::ago(created).into()),
        ("CreatedAt", clock::go_string(created, zone).into()),
        ("Size", human_size3(size as f64).into()),
        ("VirtualSize", human_size(size as f64).into()),
        (
            "Containers",
            if containers == -1 {
                "N/A".to_owned()
            } else {
                containers.to_string()
            }
            .into(),
        ),
        ("SharedSize", known(shared).into()),
        ("UniqueSize", known(size - shared).into()),
    ])
}

/// One step of an image's history.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn history_row(step: &Value, trunc: bool, human: bool, zone: &Zone) -> Val {
    let created = int(step, "Created");
    let by = text(step, "CreatedBy").replace('\t', " ");
    let size = int(step, "Size");
    let never = created <= clock::days(1, 1, 1) * 86_400;
    HISTORY.row(vec![
        ("ID", id(text(step, "Id"), trunc).into()),
        (
            "CreatedAt",
            if never {
                String::new()
            } else {
                clock::rfc3339(created, zone)
            }
            .into(),
        ),
        (
            "CreatedSince",
            if never {
                "N/A".to_owned()
            } else {
                clock::ago(created)
            }
            .into(),
        ),
        (
            "CreatedBy",
            if trunc { ellipsis(&by, 45) } else { by }.into(),
        ),
        (
            "Size",
            if human {
                human_size3(size as f64)
            } else {
                size.to_string()
            }
            .into(),
        ),
        ("Comment", text(step, "Comment").into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_row_for_each_name() {
        let image = json!({
            "Id": "sha256:218698f1769a1cca", "RepoTags": ["alpine:3.20", "example.com:5000/a/b:1"],
            "RepoDigests": [], "Size": 7_797_760, "Containers": -1, "SharedSize": -1, "Created": 0,
        });
        let rows = rows(&image, true, false, &Zone::utc());
        let shown: Vec<String> = rows
            .iter()
            .map(|r| {
                format!(
                    "{} {}",
                    r.get("Repository").unwrap().print(),
                    r.get("Tag").unwrap().print()
                )
            })
            .collect();
        assert_eq!(shown, ["alpine 3.20", "example.com:5000/a/b 1"]);
        let field = |name: &str| rows[0].get(name).unwrap().print();
        assert_eq!(
            (field("ID"), field("Size")),
            ("218698f1769a".to_owned(), "7.8MB".to_owned())
        );
        assert_eq!(
            (field("VirtualSize"), field("UniqueSize")),
            ("7.798MB".to_owned(), "N/A".to_owned())
        );
        let nameless = json!({"Id": "sha256:1", "RepoTags": [], "RepoDigests": []});
        assert_eq!(
            super::rows(&nameless, true, false, &Zone::utc())[0]
                .get("Tag")
                .unwrap()
                .print(),
            "<none>"
        );
    }
}
