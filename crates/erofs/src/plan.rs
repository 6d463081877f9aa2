//! What is in the tree, and where in the image it goes.
//!
//! The tree is read in breadth: the root comes first, as its number must be small, and what is in a
//! directory stands together, so that the tree is read once more in the same order to be written.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sys::root::{Dir, GuestPath, Kind, Metadata, Root};

use crate::format::{self, BLOCK, FIRST_INODE, INODE_LEN, Layout, NO_BLOCK, SLOT};
use crate::{Error, Result};

/// Everything that the image will have.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
    /// Blocks of the image.
    pub(crate) blocks: u64,
}

/// An object: one inode.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) metadata: Metadata,
    /// The directory in which it was found first, and its name there.
    pub(crate) parent: usize,
    pub(crate) name: OsString,
    /// Names of a directory with their nodes, in order; empty for others.
    pub(crate) children: Vec<(OsString, usize)>,
    /// Encoded.
    pub(crate) attributes: Vec<u8>,
    /// Bytes of its data: of a directory those of its entries.
    pub(crate) size: u64,
    pub(crate) links: u32,
    /// Where its inode is, in bytes.
    pub(crate) at: u64,
    pub(crate) layout: Layout,
    /// First block of its data.
    pub(crate) block: u32,
}

impl Node {
    pub(crate) fn nid(&self) -> u64 {
        self.at / SLOT
    }

    /// Bytes behind the inode.
    pub(crate) fn inline(&self) -> u64 {
        match self.layout {
            Layout::Plain => 0,
            Layout::Inline => self.size % BLOCK,
        }
    }

    /// Bytes in blocks.
    pub(crate) fn outside(&self) -> u64 {
        self.size - self.inline()
    }

    fn head(&self) -> u64 {
        (INODE_LEN + self.attributes.len()) as u64
    }
}

impl Plan {
    /// Reads a tree and finds a place for everything.
    pub(crate) fn of(tree: &Root) -> Result<Self> {
        let mut plan = Self {
            nodes: Vec::new(),
            blocks: 0,
        };
        plan.read(tree)?;
        plan.place()?;
        Ok(plan)
    }

    /// Path of a node in the tree.
    pub(crate) fn path(&self, index: usize) -> GuestPath {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = index;
        while at != 0 {
            names.push(self.nodes[at].name.as_bytes());
            at = self.nodes[at].parent;
        }
        names.reverse();
        let path = names.join(&b'/');
        // Names come from the kernel: there is no NUL byte in them.
        GuestPath::new(OsStr::from_bytes(&path)).unwrap_or_else(|_| GuestPath::root())
    }

    /// The same for messages.
    pub(crate) fn shown(&self, index: usize) -> PathBuf {
        Path::new("/").join(self.path(index).relative())
    }

    fn read(&mut self, tree: &Root) -> Result<()> {
        let failed = |source| Error::Read {
            path: "/".into(),
            source,
        };
        let root = tree.open_dir(&GuestPath::root()).map_err(failed)?;
        let metadata = root.metadata().map_err(failed)?;
        self.nodes.push(node(metadata, 0, OsString::new()));
        let mut linked: HashMap<(u64, u64), usize> = HashMap::new();
        let mut index = 0;
        while index < self.nodes.len() {
            if self.nodes[index].metadata.kind == Kind::Directory {
                let path = self.path(index);
                let read = |source| Error::Read {
                    path: Path::new("/").join(path.relative()),
                    source,
                };
                let dir = tree.open_dir(&path).map_err(read)?;
                self.directory(index, &dir, &mut linked)?;
            }
            index += 1;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        index: usize,
        dir: &Dir,
        linked: &mut HashMap<(u64, u64), usize>,
    ) -> Result<()> {
        let shown = |plan: &Self, name: &OsStr| plan.shown(index).join(name);
        let mut attributes = Vec::new();
        let own = OsStr::new("");
        let failed = |plan: &Self, name: &OsStr| {
            let path = shown(plan, name);
            move |source| Error::Read { path, source }
        };
        for name in sys::xattr::list(dir.as_fd()).map_err(failed(self, own))? {
            let value = sys::xattr::get(dir.as_fd(), &name).map_err(failed(self, own))?;
            attributes.extend(value.map(|value| (name.into_encoded_bytes(), value)));
        }
        self.nodes[index].attributes = encoded(&mut attributes, || shown(self, own))?;
        let mut names = dir.names().map_err(failed(self, own))?;
        names.sort_unstable();
        let mut directories = 0;
        for name in names {
            let metadata = dir.stat(&name).map_err(failed(self, &name))?;
            let is_dir = metadata.kind == Kind::Directory;
            directories += u32::from(is_dir);
            let key = (metadata.device, metadata.inode);
            let several = metadata.links > 1 && !is_dir;
            let known = linked.get(&key).copied().filter(|_| several);
            let number = match known {
                Some(number) => {
                    self.nodes[number].links += 1;
                    number
                }
                None => {
                    let number = self.nodes.len();
                    let mut new = node(metadata, index, name.clone());
                    if !is_dir {
                        let mut attributes = Vec::new();
                        for attribute in
                            sys::xattr::list_at(dir, &name).map_err(failed(self, &name))?
                        {
                            let value = sys::xattr::get_at(dir, &name, &attribute)
                                .map_err(failed(self, &name))?;
                            let attribute = attribute.into_encoded_bytes();
                            attributes.extend(value.map(|value| (attribute, value)));
                        }
                        new.attributes = encoded(&mut attributes, || shown(self, &name))?;
                    }
                    self.nodes.push(new);
                    if several {
                        linked.insert(key, number);
                    }
                    number
                }
            };
            self.nodes[index].children.push((name, number));
        }
        let own = &mut self.nodes[index];
        own.links = 2 + directories;
        own.size = format::directory_size(in_order(&own.children).map(|(name, _)| name));
        Ok(())
    }

    /// Gives every inode and all data a place.
    fn place(&mut self) -> Result<()> {
        let mut at = FIRST_INODE;
        for node in &mut self.nodes {
            at = at.next_multiple_of(SLOT);
            let (head, tail) = (node.head(), node.size % BLOCK);
            // What follows the inode must not cross the end of a block.
            let crosses = |at: u64, length: u64| at % BLOCK + length > BLOCK;
            node.layout = match tail > 0 && head + tail <= BLOCK {
                true => Layout::Inline,
                false => Layout::Plain,
            };
            let length = head + node.inline();
            if length <= BLOCK && crosses(at, length) {
                at = at.next_multiple_of(BLOCK);
            }
            node.at = at;
            at += length;
        }
        let mut block = at.div_ceil(BLOCK);
        for index in 0..self.nodes.len() {
            let outside = self.nodes[index].outside();
            if outside == 0 {
                continue;
            }
            let too_much = || Error::TooMuch {
                path: self.shown(index),
                what: "makes the image larger than 16 TiB",
            };
            let first = u32::try_from(block).map_err(|_| too_much())?;
            block = block.saturating_add(outside.div_ceil(BLOCK));
            if block >= u64::from(NO_BLOCK) {
                return Err(too_much());
            }
            self.nodes[index].block = first;
        }
        self.blocks = block;
        Ok(())
    }
}

fn node(metadata: Metadata, parent: usize, name: OsString) -> Node {
    Node {
        metadata,
        parent,
        name,
        children: Vec::new(),
        attributes: Vec::new(),
        size: match metadata.kind {
            Kind::File | Kind::Symlink => metadata.size,
            _ => 0,
        },
        links: 1,
        at: 0,
        layout: Layout::Plain,
        block: NO_BLOCK,
    }
}

fn encoded(
    attributes: &mut [(Vec<u8>, Vec<u8>)],
    path: impl FnOnce() -> PathBuf,
) -> Result<Vec<u8>> {
    // The kernel lists them in any order; an image is always the same.
    attributes.sort();
    format::attributes(attributes).ok_or_else(|| Error::TooMuch {
        path: path(),
        what: "has more than 256 KiB of extended attributes",
    })
}

/// Names of a directory in the order of their bytes, `.` and `..` among them.
pub(crate) fn in_order(children: &[(OsString, usize)]) -> impl Iterator<Item = (&[u8], Target)> {
    let mut all: Vec<(&[u8], Target)> = children
        .iter()
        .map(|(name, node)| (name.as_bytes(), Target::Child(*node)))
        .collect();
    for (name, dots) in [(&b"."[..], Target::Own), (b"..", Target::Above)] {
        let place = all.partition_point(|(other, _)| *other < name);
        all.insert(place, (name, dots));
    }
    all.into_iter()
}

/// What a name in a directory leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The directory itself: `.`
    Own,
    /// The one that it is in: `..`
    Above,
    /// A node.
    Child(usize),
}
