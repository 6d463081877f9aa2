//! Writing images into one archive that every reader of images understands.
//!
//! It is an OCI layout and Docker's own format at once, in the order of Docker's archives:
//!
//! ```text
//! blobs/sha256/<hex>    layers, configs, manifests, indexes: sorted
//! index.json            one entry per name: the manifest or index that the name stands for
//! manifest.json         per image its config, its tags and the paths of its layers
//! oci-layout
//! repositories          per repository its tags, for readers older than manifest.json
//! ```
//!
//! An image whose layers can be given in the forms that its manifest names goes out with that very
//! manifest, under the very index it came with. All others get a manifest with uncompressed layers,
//! byte for byte the one that Docker makes. Nothing depends on the clock: the same images give the
//! same bytes.

mod ahead;
mod documents;
mod plan;

pub(crate) use documents::plain_manifest;

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};

use spec::{DiffId, Digest, ImageId, Platform};

use crate::growing::Follower;
use crate::stream::CHUNK;
use crate::tarwrite::{Flag, Header, TarWriter};
use crate::trash::Scratch;
use crate::{Error, Lease, Result, Store};
use ahead::{Ahead, Job, StopOnDrop};

/// What is to be saved.
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    /// Names, ids, or repositories (all their tags), as the user wrote them.
    pub names: Vec<String>,
    /// Which images of an index; all that are present by default.
    pub platforms: Vec<Platform>,
}

/// What will be written: everything was found and is held by the lease it was planned under.
#[derive(Debug)]
pub struct SavePlan {
    images: Vec<ImageId>,
    blobs: BTreeMap<Digest, Content>,
    index: Vec<u8>,
    manifest: Vec<u8>,
    repositories: Option<Vec<u8>>,
}

/// Where the bytes of a blob come from.
#[derive(Debug, Clone)]
enum Content {
    Bytes(Vec<u8>),
    Layer { diff: DiffId, size: u64 },
}

impl SavePlan {
    /// The images that are saved, for events.
    pub fn images(&self) -> &[ImageId] {
        &self.images
    }
}

const LAYOUT: &[u8] = br#"{"imageLayoutVersion": "1.0.0"}"#;
const BLOBS: &str = "blobs/sha256/";

impl Store {
    /// Finds what is to be saved and holds it; all errors that are the user's come from here.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`] and its kin, [`Error::NoSuchPlatform`], [`Error::Damaged`].
    pub fn plan_save(&self, lease: &Lease, options: &SaveOptions) -> Result<SavePlan> {
        plan::plan(self, lease, options)
    }

    /// Writes the archive of a plan; the same plan gives the same bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] where the reader is gone, or a layer on disk is damaged.
    pub fn save(&self, plan: &SavePlan, out: &mut dyn Write) -> Result<()> {
        let layers = plan
            .blobs
            .iter()
            .filter_map(|(digest, content)| match content {
                Content::Bytes(_) => None,
                Content::Layer { diff, size } => Some(Job {
                    diff: *diff,
                    digest: *digest,
                    size: *size,
                }),
            });
        let jobs = ahead::jobs(self, layers);
        let encoded: HashSet<Digest> = jobs.iter().map(|job| job.digest).collect();
        let Some((ahead, workers)) = Ahead::plan(self, jobs)? else {
            return self.write_archive(plan, out, |_| None);
        };
        let scratch = Scratch::create(self.layout())?;
        std::thread::scope(|scope| {
            let _stop = StopOnDrop(&ahead);
            for _ in 0..workers {
                scope.spawn(|| ahead.work(self, &scratch));
            }
            self.write_archive(plan, out, |digest| {
                encoded.contains(&digest).then_some(&ahead)
            })
        })
    }

    fn write_archive<'a>(
        &self,
        plan: &SavePlan,
        out: &mut dyn Write,
        ahead: impl Fn(Digest) -> Option<&'a Ahead>,
    ) -> Result<()> {
        let mut tar = TarWriter::new(out);
        for path in [b"blobs/".as_slice(), BLOBS.as_bytes()] {
            let header = Header {
                path,
                flag: Flag::Directory,
                mode: 0o755,
                ..Header::default()
            };
            tar.begin(&header).map_err(unwritten)?;
        }
        let mut buffer = vec![0; CHUNK];
        for (digest, content) in &plan.blobs {
            let path = format!("{BLOBS}{}", digest.hex());
            match content {
                Content::Bytes(bytes) => file(&mut tar, &path, bytes)?,
                Content::Layer { diff, size } => {
                    begin(&mut tar, &path, *size)?;
                    let ahead = ahead(*digest);
                    let spooled = ahead.and_then(|ahead| ahead.take(*digest));
                    let form = || self.form(*diff, *digest);
                    copy(&mut tar, spooled, form, &mut buffer, *digest)?;
                    if let Some(ahead) = ahead {
                        ahead.done();
                    }
                }
            }
        }
        file(&mut tar, "index.json", &plan.index)?;
        file(&mut tar, "manifest.json", &plan.manifest)?;
        file(&mut tar, "oci-layout", LAYOUT)?;
        if let Some(repositories) = &plan.repositories {
            file(&mut tar, "repositories", repositories)?;
        }
        tar.finish().map(drop).map_err(unwritten)
    }
}

fn begin<W: Write>(tar: &mut TarWriter<W>, path: &str, size: u64) -> Result<()> {
    let header = Header {
        path: path.as_bytes(),
        mode: 0o644,
        size,
        ..Header::default()
    };
    tar.begin(&header).map_err(unwritten)
}

fn file<W: Write>(tar: &mut TarWriter<W>, path: &str, bytes: &[u8]) -> Result<()> {
    begin(tar, path, bytes.len() as u64)?;
    tar.payload(bytes).map_err(unwritten)
}

/// Copies a layer to its very end, where its digest is checked.
///
/// What was encoded ahead is taken as far as it goes; the rest is read from the layer itself.
fn copy<W: Write, R: Read>(
    tar: &mut TarWriter<W>,
    spooled: Option<Follower>,
    form: impl FnOnce() -> Result<R>,
    buffer: &mut [u8],
    digest: Digest,
) -> Result<()> {
    let unread = |source| Error::Io {
        action: "read layer",
        path: digest.to_string().into(),
        source,
    };
    let mut copied = 0;
    if let Some(mut spooled) = spooled {
        while let Ok(len) = spooled.read(buffer) {
            if len == 0 && tar.missing() == 0 {
                return Ok(());
            }
            if len == 0 {
                break;
            }
            tar.payload(&buffer[..len]).map_err(unwritten)?;
            copied += len as u64;
        }
    }
    let mut form = form()?;
    io::copy(&mut (&mut form).take(copied), &mut io::sink()).map_err(unread)?;
    loop {
        match form.read(buffer) {
            Ok(0) if tar.missing() > 0 => {
                return Err(unread(io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(0) => return Ok(()),
            Ok(len) => tar.payload(&buffer[..len]).map_err(unwritten)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unread(error)),
        }
    }
}

fn unwritten(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::BrokenPipe => Error::Cancelled,
        _ => Error::Io {
            action: "write",
            path: "the archive".into(),
            source,
        },
    }
}
