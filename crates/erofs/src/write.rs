//! Writing the image as it was planned.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags};
use sys::root::{Dir, Kind, Root};

use crate::format::{
    self, BLOCK, BLOCK_LEN, Dirent, FIRST_INODE, Inode, Layout, SUPER_OFFSET, Super,
};
use crate::plan::{Node, Plan, Target, in_order};
use crate::{Error, Result};

/// Bytes of inodes that are gathered before they are written.
const GATHERED: usize = 1 << 20;

/// What an image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the image.
    pub bytes: u64,
    /// Objects, the root too.
    pub inodes: u64,
}

/// Writes a tree, which nobody changes meanwhile, into an empty file; synced when it returns.
///
/// `uuid` names the file system; it is in the image as it is given.
///
/// # Errors
///
/// The tree cannot be read or has something that the format cannot hold; no space. The file holds a
/// part then.
pub fn write(tree: &Root, image: &File, uuid: [u8; 16]) -> Result<Written> {
    let plan = Plan::of(tree)?;
    let bytes = plan.blocks * BLOCK;
    image.set_len(bytes).map_err(unwritten)?;
    let mut writer = Writer {
        plan: &plan,
        tree,
        image,
        gathered: Vec::with_capacity(GATHERED + BLOCK_LEN),
        at: FIRST_INODE,
        open: None,
    };
    for index in 0..plan.nodes.len() {
        writer.node(index)?;
    }
    writer.flush()?;
    let mut first = [0; BLOCK_LEN];
    image
        .read_exact_at(&mut first[SUPER_OFFSET..], SUPER_OFFSET as u64)
        .map_err(unwritten)?;
    let inodes = plan.nodes.len() as u64;
    let superblock = Super {
        root: u16::try_from(plan.nodes[0].nid()).unwrap_or(u16::MAX),
        inodes,
        blocks: u32::try_from(plan.blocks).unwrap_or(u32::MAX),
        uuid,
    };
    superblock.put(&mut first);
    image.write_all_at(&first, 0).map_err(unwritten)?;
    image.sync_all().map_err(unwritten)?;
    Ok(Written { bytes, inodes })
}

fn unwritten(source: std::io::Error) -> Error {
    Error::Write { source }
}

struct Writer<'p> {
    plan: &'p Plan,
    tree: &'p Root,
    image: &'p File,
    /// Inodes that are not written yet.
    gathered: Vec<u8>,
    /// Where the first of them goes.
    at: u64,
    /// The directory that is being read, by its number.
    open: Option<(usize, Dir)>,
}

impl Writer<'_> {
    fn node(&mut self, index: usize) -> Result<()> {
        let node = &self.plan.nodes[index];
        let inline = match node.metadata.kind {
            Kind::Directory => {
                let bytes = self.directory(index);
                self.outside(node, &bytes)?
            }
            Kind::Symlink => {
                let text = self.open_parent(node)?.readlink(&node.name);
                let text = text.map_err(self.unread(index))?.into_encoded_bytes();
                if text.len() as u64 != node.size {
                    return Err(self.changed(index));
                }
                self.outside(node, &text)?
            }
            Kind::File => self.file(index)?,
            _ => Vec::new(),
        };
        let inode = self.inode(index)?.bytes();
        self.put(node.at, &inode)?;
        self.put(node.at + inode.len() as u64, &node.attributes)?;
        let behind = node.at + (inode.len() + node.attributes.len()) as u64;
        self.put(behind, &inline)
    }

    fn inode(&self, index: usize) -> Result<Inode> {
        let node = &self.plan.nodes[index];
        let found = &node.metadata;
        let (kind, place): (u32, u32) = match found.kind {
            Kind::Fifo => (0o010_000, 0),
            Kind::CharDevice => (0o020_000, self.device(index)?),
            Kind::Directory => (0o040_000, node.block),
            Kind::BlockDevice => (0o060_000, self.device(index)?),
            Kind::File => (0o100_000, node.block),
            Kind::Symlink => (0o120_000, node.block),
            Kind::Socket => (0o140_000, 0),
        };
        Ok(Inode {
            layout: node.layout,
            attributes: node.attributes.len(),
            // Types and permissions have 16 bits.
            mode: u16::try_from(kind | found.mode & 0o7777).unwrap_or(0),
            size: node.size,
            place,
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            uid: found.uid,
            gid: found.gid,
            mtime: found.mtime,
            mtime_nanos: found.mtime_nanos,
            links: node.links,
        })
    }

    fn device(&self, index: usize) -> Result<u32> {
        let rdev = self.plan.nodes[index].metadata.rdev;
        let (major, minor) = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
        format::device(major, minor).ok_or_else(|| Error::TooMuch {
            path: self.plan.shown(index),
            what: "is a device with a number of more than 32 bits",
        })
    }

    fn directory(&self, index: usize) -> Vec<u8> {
        let nodes = &self.plan.nodes;
        let own = &nodes[index];
        let entries: Vec<Dirent<'_>> = in_order(&own.children)
            .map(|(name, target)| {
                let node = match target {
                    Target::Own => own,
                    Target::Above => &nodes[own.parent],
                    Target::Child(child) => &nodes[child],
                };
                Dirent {
                    name,
                    nid: node.nid(),
                    kind: file_type(node.metadata.kind),
                }
            })
            .collect();
        format::directory(&entries)
    }

    /// Writes what goes into blocks; returns what goes behind the inode.
    fn outside(&self, node: &Node, bytes: &[u8]) -> Result<Vec<u8>> {
        // It is in memory, so it has a length.
        let (outside, inline) = bytes.split_at(usize::try_from(node.outside()).unwrap_or(0));
        if !outside.is_empty() {
            let place = u64::from(node.block) * BLOCK;
            self.image.write_all_at(outside, place).map_err(unwritten)?;
        }
        Ok(inline.to_vec())
    }

    fn file(&mut self, index: usize) -> Result<Vec<u8>> {
        let node = &self.plan.nodes[index];
        if node.size == 0 {
            return Ok(Vec::new());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = self
            .open_parent(node)?
            .open(&node.name, flags, Mode::empty());
        let file = File::from(opened.map_err(self.unread(index))?);
        let now = sys::root::metadata(file.as_fd()).map_err(self.unread(index))?;
        if (now.kind, now.size) != (Kind::File, node.size) {
            return Err(self.changed(index));
        }
        let outside = node.outside();
        if outside > 0 {
            let place = u64::from(node.block) * BLOCK;
            sys::copy::data_at(file.as_fd(), self.image.as_fd(), place, outside).map_err(
                |source| Error::Copy {
                    path: self.plan.shown(index),
                    source,
                },
            )?;
        }
        debug_assert!(node.layout == Layout::Inline || node.inline() == 0);
        let mut inline = vec![0; usize::try_from(node.inline()).unwrap_or(0)];
        file.read_exact_at(&mut inline, outside)
            .map_err(|_| self.changed(index))?;
        Ok(inline)
    }

    /// The directory that a node is in.
    fn open_parent(&mut self, node: &Node) -> Result<&Dir> {
        let known = self.open.take().filter(|(index, _)| *index == node.parent);
        let dir = match known {
            Some((_, dir)) => dir,
            None => {
                let opened = self.tree.open_dir(&self.plan.path(node.parent));
                opened.map_err(self.unread(node.parent))?
            }
        };
        Ok(&self.open.insert((node.parent, dir)).1)
    }

    /// Adds bytes to the inodes; `at` never goes back.
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        if self.gathered.len() > GATHERED {
            self.flush()?;
        }
        let offset = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        self.gathered.resize(offset, 0);
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.image.write_all_at(&self.gathered, self.at);
        written.map_err(unwritten)?;
        self.at += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }

    fn unread(&self, index: usize) -> impl FnOnce(sys::Error) -> Error + use<> {
        let path = self.plan.shown(index);
        move |source| Error::Read { path, source }
    }

    fn changed(&self, index: usize) -> Error {
        Error::Changed {
            path: self.plan.shown(index),
        }
    }
}

/// `EROFS_FT_*`.
fn file_type(kind: Kind) -> u8 {
    match kind {
        Kind::File => 1,
        Kind::Directory => 2,
        Kind::CharDevice => 3,
        Kind::BlockDevice => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink => 7,
    }
}
