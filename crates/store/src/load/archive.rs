//! Reading an image archive once, from front to back.
//!
//! What a file in it is for is only known when its manifest has been read, which may come last. So
//! small files are kept in memory, and whatever looks like a layer (a tar archive, gzip or zstd) is
//! spooled and unpacked at once, on the chance that an image refers to it:
//!
//! ```text
//! archive ─► entries ─┬─ small: memory
//!                     └─ layer: hash ─► spool file ─► worker: inflate, hash ─► untar
//!                                                      (2 to 8 at once)
//! ```

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};
use spec::{DiffId, Digest};
use sys::root::GuestPath;

use super::Progress;
use super::queue::{CloseOnDrop, Job, Queue};
use super::spool::{Keeping, spool};
use crate::store::io;
use crate::stream::{self, CHUNK, Compression, HEAD, Hashing};
use crate::tar::{Entries, Entry, EntryKind, TarError};
use crate::trash::{self, Scratch};
use crate::unpack::{Limits, Unpacked, unpack};
use crate::{Error, Result};

/// Largest manifest, index or config; registries refuse larger manifests too.
const MAX_SMALL: u64 = 4 * 1024 * 1024;
/// All small files together.
const MAX_SMALL_SUM: u64 = 64 * 1024 * 1024;
/// Files in one archive.
const MAX_FILES: usize = 100_000;
/// Links followed to a file of the archive.
const MAX_LINKS: usize = 8;
/// Layers unpacked at once at most: each has two threads and up to 128 MiB of zstd window.
const MAX_WORKERS: usize = 8;

/// All that an archive holds, layers unpacked.
#[derive(Debug, Default)]
pub(super) struct Contents {
    small: HashMap<String, Vec<u8>>,
    layers: HashMap<String, ArchiveLayer>,
    links: HashMap<String, String>,
    /// Files that are neither, and why nothing can be done with them.
    others: HashMap<String, String>,
}

/// A file that was unpacked as a layer.
#[derive(Debug)]
pub(super) struct ArchiveLayer {
    /// Digest of the file as it is in the archive.
    pub(super) blob: Digest,
    /// Its length.
    pub(super) size: u64,
    pub(super) content: LayerContent,
    /// The file itself, where it is compressed: until the scratch directory goes.
    pub(super) spooled: Option<PathBuf>,
}

/// What became of a layer.
#[derive(Debug)]
pub(super) enum LayerContent {
    /// It lies in `<dir>/diff`.
    Unpacked(PathBuf, Box<Unpacked>),
    /// The store has it.
    Known(DiffId),
    Failed(Error),
}

/// How an archive is to be read.
pub(super) struct Request<'r> {
    pub(super) scratch: &'r Scratch,
    pub(super) limits: &'r Limits,
    pub(super) progress: &'r (dyn Fn(Progress) + Sync),
    /// Tells the layer of which the store has a form of this digest.
    pub(super) known: &'r (dyn Fn(Digest) -> Option<DiffId> + Sync),
}

impl ArchiveLayer {
    /// The layer's identity, when it could be unpacked.
    pub(super) fn diff_id(&self) -> Option<DiffId> {
        match &self.content {
            // What was not hashed on the way is not compressed: both digests are the same.
            LayerContent::Unpacked(_, unpacked) => {
                Some(unpacked.diff_id.unwrap_or_else(|| DiffId::new(self.blob)))
            }
            LayerContent::Known(diff) => Some(*diff),
            LayerContent::Failed(_) => None,
        }
    }
}

impl Contents {
    /// A small file by its path, links followed.
    pub(super) fn small(&self, path: &str) -> Option<&[u8]> {
        self.small.get(&self.follow(path)?).map(Vec::as_slice)
    }

    /// A layer by its path, links followed; what to say when there is none.
    pub(super) fn layer(&self, path: &str) -> std::result::Result<&ArchiveLayer, String> {
        let missing = || format!("the archive has no file `{path}`");
        let path = self.follow(path).ok_or_else(missing)?;
        if let Some(layer) = self.layers.get(&path) {
            return Ok(layer);
        }
        match self.others.get(&path) {
            Some(why) => Err(format!("layer `{path}` {why}")),
            None if self.small.contains_key(&path) => {
                Err(format!("layer `{path}` is not a tar archive"))
            }
            None => Err(missing()),
        }
    }

    fn follow(&self, path: &str) -> Option<String> {
        let mut path = clean(path.as_bytes())?;
        for _ in 0..MAX_LINKS {
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => return Some(path),
            }
        }
        None
    }
}

fn clean(path: &[u8]) -> Option<String> {
    let path = GuestPath::confined(path).ok()?;
    path.relative().to_str().map(str::to_owned)
}

type Results = Mutex<HashMap<String, Result<(PathBuf, Unpacked)>>>;

/// Reads an archive and unpacks what looks like layers.
pub(super) fn read(source: &mut (dyn Read + Send), request: &Request<'_>) -> Result<Contents> {
    let head = stream::read_head(source).map_err(broken)?;
    let decoded = stream::decoder(head, source)?;
    let queue = Queue::default();
    let results = Results::default();
    let workers = std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .clamp(2, MAX_WORKERS);
    let mut contents = Contents::default();
    let files = std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(job) = queue.pop() {
                    let path = job.path.clone();
                    let done = run(job, request);
                    results
                        .lock()
                        .expect("no panics while results are held")
                        .insert(path, done);
                }
            });
        }
        let _close = CloseOnDrop(&queue);
        let mut reader = Reader {
            entries: Entries::new(BufReader::with_capacity(CHUNK, decoded)),
            contents: &mut contents,
            layers: HashMap::new(),
            small_sum: 0,
            files: 0,
            request,
            queue: &queue,
        };
        reader.read_all()?;
        Ok::<_, Error>(reader.layers)
    })?;
    let mut results = results
        .into_inner()
        .expect("all workers have ended without panics");
    for (path, file) in files {
        let content = match (file.known, results.remove(&path)) {
            (Some(diff), _) => LayerContent::Known(diff),
            (None, Some(Ok((dir, unpacked)))) => LayerContent::Unpacked(dir, Box::new(unpacked)),
            (None, Some(Err(error))) => LayerContent::Failed(error),
            (None, None) => continue,
        };
        let layer = ArchiveLayer {
            blob: file.blob,
            size: file.size,
            content,
            spooled: file.spooled,
        };
        contents.layers.insert(path, layer);
    }
    Ok(contents)
}

/// A file that looks like a layer.
struct LayerFile {
    blob: Digest,
    size: u64,
    known: Option<DiffId>,
    spooled: Option<PathBuf>,
}

struct Reader<'a, R> {
    entries: Entries<R>,
    contents: &'a mut Contents,
    layers: HashMap<String, LayerFile>,
    small_sum: u64,
    files: usize,
    request: &'a Request<'a>,
    queue: &'a Queue,
}

impl<R: std::io::BufRead> Reader<'_, R> {
    fn read_all(&mut self) -> Result<()> {
        while let Some(entry) = self.entries.next().map_err(broken_tar)? {
            self.files += 1;
            if self.files > MAX_FILES {
                return Err(Error::LimitExceeded {
                    what: format!("the archive has more than {MAX_FILES} files"),
                });
            }
            let Some(path) = clean(&entry.path) else {
                return Err(Error::BadArchive {
                    what: format!(
                        "the archive has a file outside of itself: `{}`",
                        String::from_utf8_lossy(&entry.path)
                    ),
                    source: None,
                });
            };
            match &entry.kind {
                EntryKind::File => self.file(path, &entry)?,
                EntryKind::Symlink(target) => {
                    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                    let target = [parent.as_bytes(), b"/", target].concat();
                    if let Some(target) = clean(&target) {
                        self.contents.links.insert(path, target);
                    }
                }
                EntryKind::HardLink(target) => {
                    if let Some(target) = clean(target) {
                        self.contents.links.insert(path, target);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, path: String, entry: &Entry) -> Result<()> {
        let known = &self.contents;
        if known.small.contains_key(&path)
            || known.others.contains_key(&path)
            || self.layers.contains_key(&path)
        {
            return Err(Error::BadArchive {
                what: format!("the archive has two files `{path}`"),
                source: None,
            });
        }
        // The first bytes may come in pieces; a file shorter than a tar header is no layer.
        let mut head = Vec::with_capacity(HEAD);
        while head.len() < HEAD {
            let chunk = self.entries.payload().map_err(broken_tar)?;
            if chunk.is_empty() {
                break;
            }
            let len = chunk.len().min(HEAD - head.len());
            head.extend_from_slice(&chunk[..len]);
            self.entries.consume(len);
        }
        match Compression::of(&head) {
            Compression::None if is_tar(&head) => self.layer(path, entry.size, head, Hashing::Skip),
            Compression::Gzip | Compression::Zstd => {
                self.layer(path, entry.size, head, Hashing::Hash)
            }
            Compression::Bzip2 => self.other(path, "is compressed with bzip2"),
            Compression::Xz => self.other(path, "is compressed with xz"),
            Compression::None if entry.size > MAX_SMALL => {
                self.contents.others.insert(
                    path,
                    format!("is not a tar archive and has {} bytes", entry.size),
                );
                Ok(())
            }
            Compression::None => {
                self.small_sum += entry.size;
                if self.small_sum > MAX_SMALL_SUM {
                    return Err(Error::LimitExceeded {
                        what: format!(
                            "the archive has more than {MAX_SMALL_SUM} bytes of manifests and configs"
                        ),
                    });
                }
                head.extend(self.entries.read_payload().map_err(broken_tar)?);
                self.contents.small.insert(path, head);
                Ok(())
            }
        }
    }

    fn other(&mut self, path: String, why: &str) -> Result<()> {
        let why = format!("{why}, which is not supported: use gzip, zstd or none");
        self.contents.others.insert(path, why);
        Ok(())
    }

    fn layer(&mut self, path: String, size: u64, head: Vec<u8>, hashing: Hashing) -> Result<()> {
        let named = digest_in(&path);
        let known = named.and_then(|digest| (self.request.known)(digest));
        let mut sink = None;
        let mut spooled = None;
        if known.is_none() {
            // A compressed file may have to be kept: it has a name until that is decided.
            let keeping = match hashing {
                Hashing::Hash => Keeping::Named,
                Hashing::Skip => Keeping::Unlinked,
            };
            let (writer, reader, path_of_file) = spool(self.request.scratch.path(), keeping)?;
            self.queue.push(Job {
                path: path.clone(),
                size,
                hashing,
                reader,
            });
            sink = Some(writer);
            spooled = path_of_file;
        }
        let mut hasher = Sha256::new();
        let mut take = |bytes: &[u8]| {
            hasher.update(bytes);
            match &mut sink {
                Some(writer) => writer.write(bytes),
                None => Ok(()),
            }
        };
        let failed = |error| io("write", self.request.scratch.path())(error);
        take(&head).map_err(failed)?;
        loop {
            let chunk = self.entries.payload().map_err(broken_tar)?;
            if chunk.is_empty() {
                break;
            }
            take(chunk).map_err(failed)?;
            let len = chunk.len();
            self.entries.consume(len);
        }
        if let Some(writer) = sink {
            writer.complete();
        }
        let blob = Digest::from_sha256(hasher.finalize().into());
        if known.is_some() && named != Some(blob) {
            return Err(super::manifest::mismatch(&path, blob));
        }
        let file = LayerFile {
            blob,
            size,
            known,
            spooled,
        };
        self.layers.insert(path, file);
        Ok(())
    }
}

/// The digest that a blob of an OCI layout is named by.
fn digest_in(path: &str) -> Option<Digest> {
    let hex = path.strip_prefix("blobs/sha256/")?;
    format!("sha256:{hex}").parse().ok()
}

fn is_tar(head: &[u8]) -> bool {
    // The second form is an archive without entries: the layer that changes nothing.
    head.len() == HEAD && (&head[257..262] == b"ustar" || head.iter().all(|byte| *byte == 0))
}

fn run(job: Job, request: &Request<'_>) -> Result<(PathBuf, Unpacked)> {
    let name = sys::fs::random_hex().map_err(|source| Error::Sys {
        action: "draw a name".to_owned(),
        source,
    })?;
    let dir = request.scratch.path().join(name);
    let source = Reporting {
        source: job.reader,
        progress: request.progress,
        id: short(&job.path),
        current: 0,
        told: 0,
        total: job.size,
    };
    let done = unpack_into(&dir, source, job.hashing, request.limits);
    if done.is_err() {
        trash::delete(&dir)?;
    }
    done.map(|unpacked| (dir, unpacked))
}

/// Makes `<dir>/diff` and unpacks a layer into it.
pub(crate) fn unpack_into(
    dir: &Path,
    source: impl Read + Send,
    hashing: Hashing,
    limits: &Limits,
) -> Result<Unpacked> {
    use std::os::unix::fs::DirBuilderExt;
    let diff = dir.join("diff");
    for (path, mode) in [(dir, 0o710), (&diff, 0o755)] {
        std::fs::DirBuilder::new()
            .mode(mode)
            .create(path)
            .map_err(io("make", path))?;
    }
    unpack(source, hashing, dir, limits)
}

/// The part of a path that people recognise: a digest's beginning, or a directory's.
fn short(path: &str) -> String {
    let part = path.strip_prefix("blobs/sha256/").unwrap_or(path);
    part.split('/')
        .next()
        .unwrap_or_default()
        .chars()
        .take(12)
        .collect()
}

/// Tells how far a layer is, every mebibyte.
pub(crate) struct Reporting<'p, R> {
    pub(crate) source: R,
    pub(crate) progress: &'p (dyn Fn(Progress) + Sync),
    pub(crate) id: String,
    pub(crate) current: u64,
    pub(crate) told: u64,
    pub(crate) total: u64,
}

impl<R: Read> Read for Reporting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.source.read(buffer)?;
        self.current += len as u64;
        if self.current - self.told >= 1024 * 1024 || (len == 0 && self.told < self.current) {
            self.told = self.current;
            (self.progress)(Progress {
                id: self.id.clone(),
                action: "Loading layer",
                current: self.current,
                total: self.total,
            });
        }
        Ok(len)
    }
}

fn broken(source: std::io::Error) -> Error {
    Error::BadArchive {
        what: "failed to read the archive".to_owned(),
        source: Some(Box::new(source)),
    }
}

fn broken_tar(error: TarError) -> Error {
    Error::BadArchive {
        what: "failed to read the image archive".to_owned(),
        source: Some(Box::new(error)),
    }
}
