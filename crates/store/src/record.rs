//! What the JSON files of the store hold, and reading them with suspicion.
//!
//! Every record is small, versioned and replaced as a whole. A file that cannot be read as its
//! record is a finding, not a failure: one bad sector must not cost the other images.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::manifest::Descriptor;
use spec::{DiffId, Digest, ImageId, Reference, Timestamp};

use crate::forms::FormRecord;
use crate::layout::VERSION;
use crate::unpack::{RootEntry, Tree};
use crate::{Driver, Error, Result};

/// Largest record that is read; real ones have a few hundred bytes.
const MAX_RECORD: u64 = 1024 * 1024;
/// Largest image config that is read.
pub(crate) const MAX_CONFIG: u64 = 8 * 1024 * 1024;

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) version: u32,
    pub(crate) diff_id: DiffId,
    /// Bytes of its files.
    pub(crate) size: u64,
    /// Entries of its archive.
    pub(crate) entries: u64,
    /// It hides everything below it.
    #[serde(default)]
    pub(crate) opaque_root: bool,
    /// What its archive says about the root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<RootEntry>,
    /// What its directory held when it was unpacked, for fsck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tree: Option<Tree>,
    /// The compressed blob it came from, where its digest is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob: Option<Digest>,
    /// Its uncompressed archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) archive: Option<ArchiveRecord>,
    /// Its compressed forms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) forms: Vec<FormRecord>,
}

/// The uncompressed archive of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArchiveRecord {
    pub(crate) size: u64,
    /// It could not be mapped: only a kept blob has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unmapped: bool,
}

impl LayerRecord {
    /// Tells whether the archive can be rebuilt from the unpacked layer.
    pub(crate) fn is_mapped(&self) -> bool {
        self.archive.is_some_and(|archive| !archive.unmapped)
    }
}

/// An image: its config is the blob of the same digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) version: u32,
    pub(crate) id: ImageId,
    /// The manifest it came with, whose bytes are kept as a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<ManifestRecord>,
    /// Other manifests with the same config.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) manifests: Vec<ManifestRecord>,
    /// The image of the container that it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ImageId>,
}

/// Where a manifest or an index is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestRecord {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl ManifestRecord {
    pub(crate) fn of(descriptor: &Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest,
            size: descriptor.size,
        }
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size)
    }
}

/// A name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    pub(crate) version: u32,
    pub(crate) reference: Reference,
    pub(crate) image: ImageId,
    pub(crate) tagged: Timestamp,
    /// The manifest or index that it was pulled as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<ManifestRecord>,
}

/// A container's writable layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    pub(crate) version: u32,
    pub(crate) key: String,
    pub(crate) image: ImageId,
    /// Layers below it, lowest first: it needs them even when the image is gone.
    pub(crate) layers: Vec<DiffId>,
    /// Directory of its init layer.
    pub(crate) init: String,
    #[serde(default)]
    pub(crate) volatile: bool,
    /// What bounds its writable layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bound: Option<bound::Bound>,
    /// How its root file system is put together.
    #[serde(default, skip_serializing_if = "Driver::is_first")]
    pub(crate) driver: Driver,
    /// When its whole tree was made: what was changed later is the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Moment>,
    pub(crate) created: Timestamp,
}

/// A moment of a file system's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

impl From<(i64, u32)> for Moment {
    fn from((seconds, nanos): (i64, u32)) -> Self {
        Self { seconds, nanos }
    }
}

/// A record that knows its format version.
pub(crate) trait Record: Serialize + DeserializeOwned {
    fn version(&self) -> u32;
}

macro_rules! record {
    ($($name:ident),*) => {$(
        impl Record for $name {
            fn version(&self) -> u32 {
                self.version
            }
        }
    )*};
}
record!(LayerRecord, ImageRecord, NameRecord, SnapshotRecord);

/// Reads a record; the error is a finding in words.
pub(crate) fn read<T: Record>(path: &Path) -> std::result::Result<T, String> {
    let bytes = read_small(path, MAX_RECORD)?;
    let record: T =
        serde_json::from_slice(&bytes).map_err(|error| format!("is not its record: {error}"))?;
    match record.version() {
        VERSION => Ok(record),
        other => Err(format!(
            "has format version {other}, this build reads {VERSION}"
        )),
    }
}

/// Reads a regular file of bounded size, never through a link.
pub(crate) fn read_small(path: &Path, max: u64) -> std::result::Result<Vec<u8>, String> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
        .map_err(|error| format!("cannot be opened: {error}"))?;
    let metadata = file
        .metadata()
        .map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if metadata.len() > max {
        return Err(format!(
            "has {} bytes, at most {max} are read",
            metadata.len()
        ));
    }
    let mut bytes = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    Ok(bytes)
}

/// Writes a record in place of the old one.
pub(crate) fn write<T: Record>(
    path: &Path,
    record: &T,
    durability: sys::fs::Durability,
) -> Result<()> {
    let mut bytes = encode(record);
    bytes.push(b'\n');
    sys::fs::replace(path, &bytes, 0o600, durability).map_err(|source| Error::Sys {
        action: format!("write `{}`", path.display()),
        source,
    })
}

/// A record's bytes.
pub(crate) fn encode<T: Record>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have text keys and finite numbers only")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files written by version 1 must stay readable: this is what they look like.
    #[test]
    fn version_1_reads_its_golden_bytes() {
        let id = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let name = format!(
            r#"{{"version":1,"reference":"docker.io/library/a:b","image":"{id}","tagged":"2023-11-14T22:13:20Z"}}"#
        );
        let layer = format!(
            r#"{{"version":1,"diff_id":"{id}","size":5,"entries":2,"opaque_root":false,"root":{{"mode":493,"uid":0,"gid":0,"mtime":1,"mtime_nanos":0}}}}"#
        );
        let snapshot = format!(
            r#"{{"version":1,"key":"k","image":"{id}","layers":["{id}"],"init":"scratch","volatile":true,"created":"2023-11-14T22:13:20Z"}}"#
        );
        let image = format!(r#"{{"version":1,"id":"{id}"}}"#);
        let check = |written: Vec<u8>, golden: &str| {
            assert_eq!(String::from_utf8(written).unwrap(), golden);
        };
        check(
            encode(&serde_json::from_str::<NameRecord>(&name).unwrap()),
            &name,
        );
        check(
            encode(&serde_json::from_str::<LayerRecord>(&layer).unwrap()),
            &layer,
        );
        check(
            encode(&serde_json::from_str::<SnapshotRecord>(&snapshot).unwrap()),
            &snapshot,
        );
        check(
            encode(&serde_json::from_str::<ImageRecord>(&image).unwrap()),
            &image,
        );
    }

    /// What later builds of version 1 write besides; what is not there is not written.
    #[test]
    fn additions_to_version_1_read_their_golden_bytes() {
        let id = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let document = format!(r#"{{"media_type":"a/b","digest":"{id}","size":7}}"#);
        let layer = format!(
            r#"{{"version":1,"diff_id":"{id}","size":5,"entries":2,"opaque_root":false,"blob":"{id}","archive":{{"size":10240}},"forms":[{{"media_type":"a/b","digest":"{id}","size":3,"recipe":"go-6 1f8b08000000000000ff"}},{{"media_type":"a/b","digest":"{id}","size":4,"tried":1,"dropped":true}}]}}"#
        );
        let unmapped = format!(
            r#"{{"version":1,"diff_id":"{id}","size":5,"entries":2,"opaque_root":false,"archive":{{"size":10240,"unmapped":true}}}}"#
        );
        let image = format!(
            r#"{{"version":1,"id":"{id}","manifest":{document},"manifests":[{document}],"parent":"{id}"}}"#
        );
        let name = format!(
            r#"{{"version":1,"reference":"docker.io/library/a:b","image":"{id}","tagged":"2023-11-14T22:13:20Z","target":{document}}}"#
        );
        for golden in [layer, unmapped] {
            let record: LayerRecord = serde_json::from_str(&golden).unwrap();
            assert_eq!(String::from_utf8(encode(&record)).unwrap(), golden);
            for form in &record.forms {
                assert_eq!(form.recipe().is_some(), form.recipe.is_some());
            }
        }
        let record: ImageRecord = serde_json::from_str(&image).unwrap();
        assert_eq!(String::from_utf8(encode(&record)).unwrap(), image);
        let record: NameRecord = serde_json::from_str(&name).unwrap();
        assert_eq!(String::from_utf8(encode(&record)).unwrap(), name);
        for more in [
            r#""driver":"erofs","#,
            r#""driver":"vfs","since":{"seconds":1700000000,"nanos":7},"#,
            r#""driver":"btrfs","since":{"seconds":1700000000,"nanos":7},"#,
            r#""bound":{"kind":"memory","bytes":1048576},"#,
            r#""bound":{"kind":"memory"},"#,
        ] {
            let snapshot = format!(
                r#"{{"version":1,"key":"k","image":"{id}","layers":["{id}"],"init":"scratch","volatile":false,{more}"created":"2023-11-14T22:13:20Z"}}"#
            );
            let record: SnapshotRecord = serde_json::from_str(&snapshot).unwrap();
            assert_eq!(String::from_utf8(encode(&record)).unwrap(), snapshot);
        }
        // A recipe of a later build costs that form, not the layer.
        let later =
            format!(r#"{{"media_type":"a/b","digest":"{id}","size":3,"recipe":"brotli-11 00"}}"#);
        let form: FormRecord = serde_json::from_str(&later).unwrap();
        assert_eq!(form.recipe(), None);
    }

    #[test]
    fn other_versions_and_other_kinds_of_files_are_findings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let id = Digest::of(b"");
        std::fs::write(&path, format!(r#"{{"version":2,"id":"{id}"}}"#)).unwrap();
        assert!(
            read::<ImageRecord>(&path)
                .unwrap_err()
                .contains("version 2")
        );
        for bytes in [&b""[..], b"{", b"[]", b"{\"version\":1}", &[0xff; 40]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(read::<ImageRecord>(&path).is_err());
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(read::<ImageRecord>(&path).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read::<ImageRecord>(&path).unwrap_err().contains("regular"));
    }
}
