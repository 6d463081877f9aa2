//! What a stack of layers shows, without mounting it.
//!
//! Follows overlayfs's rules: the topmost object of a name wins, directories are merged until an
//! opaque one or something else lies in between, a whiteout hides what is below, a renamed
//! directory (`redirect`) goes on under its old name, and a file whose attributes alone were changed
//! (`metacopy`) has its bytes further below.
//!
//! See [overlayfs](https://docs.kernel.org/filesystems/overlayfs.html).

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;

use sys::root::{Dir, GuestPath, Kind, Metadata, Root};

use crate::unpack::OPAQUE;

/// Where a renamed directory was, or a file whose bytes are below.
const REDIRECT: &str = "trusted.overlay.redirect";
/// Marks a file whose bytes are below.
pub(crate) const METACOPY: &str = "trusted.overlay.metacopy";

/// A merged directory: what it consists of, topmost first.
#[derive(Debug, Clone)]
pub(crate) struct MergedDir {
    stack: Rc<Vec<Rc<Dir>>>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    /// Number of its layer, 0 on top.
    layer: usize,
    dir: Rc<Dir>,
    opaque: bool,
    redirect: Option<OsString>,
}

/// What a name in a merged directory is.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    Directory(MergedDir),
    Other(Object),
}

/// Something that is no directory: where it lies and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// Number of its layer, 0 on top.
    pub(crate) layer: usize,
    pub(crate) dir: Rc<Dir>,
    pub(crate) name: OsString,
    pub(crate) metadata: Metadata,
}

/// A search for a name through the layers, which can be continued below what it found.
struct Search<'m> {
    merged: &'m MergedDir,
    next: usize,
    place: Place,
}

/// Where the search looks in the layers below.
enum Place {
    /// In the parts of the same directory.
    Name(OsString),
    /// Under a path from the root.
    Path(GuestPath),
    /// Nowhere: what was found hides the rest.
    Nowhere,
}

impl MergedDir {
    /// The root of a stack of layers, given topmost first.
    pub(crate) fn root(layers: &[PathBuf]) -> sys::Result<Self> {
        let open = |path: &PathBuf| Root::open(path)?.open_dir(&GuestPath::root()).map(Rc::new);
        let stack: Vec<Rc<Dir>> = layers.iter().map(open).collect::<sys::Result<_>>()?;
        let part = |(layer, dir): (usize, &Rc<Dir>)| Part {
            layer,
            dir: Rc::clone(dir),
            opaque: false,
            redirect: None,
        };
        Ok(Self {
            parts: stack.iter().enumerate().map(part).collect(),
            stack: Rc::new(stack),
        })
    }

    /// The directory whose attributes are seen; `None` for an empty stack.
    pub(crate) fn topmost(&self) -> Option<&Dir> {
        self.parts.first().map(|part| part.dir.as_ref())
    }

    /// The directory in the topmost layer, where that one has it.
    pub(crate) fn upper(&self) -> Option<&Dir> {
        let part = self.parts.first().filter(|part| part.layer == 0)?;
        Some(part.dir.as_ref())
    }

    /// Whether below the topmost layer lies what lies there under the same path.
    pub(crate) fn is_plain(&self) -> bool {
        self.parts
            .first()
            .is_none_or(|part| !part.opaque && part.redirect.is_none())
    }

    /// Whether the topmost layer has it under another name than those below.
    pub(crate) fn is_renamed(&self) -> bool {
        self.parts
            .first()
            .is_some_and(|part| part.redirect.is_some())
    }

    /// Looks a name up.
    pub(crate) fn find(&self, name: &OsStr) -> sys::Result<Found> {
        self.find_from(name, 0)
    }

    /// Looks up a name that the layers above the given one do not have.
    pub(crate) fn find_from(&self, name: &OsStr, layer: usize) -> sys::Result<Found> {
        let mut search = self.search(name, layer);
        let mut parts = Vec::new();
        while let Some(object) = search.next()? {
            if object.metadata.kind != Kind::Directory {
                if parts.is_empty() && !object.metadata.is_whiteout() {
                    return Ok(Found::Other(object));
                }
                break;
            }
            let below = object.dir.open_dir(&object.name)?;
            let part = Part {
                layer: object.layer,
                opaque: get(&below, OPAQUE)?.as_deref() == Some(b"y"),
                redirect: get(&below, REDIRECT)?.map(OsString::from_vec),
                dir: Rc::new(below),
            };
            search.follow(&part);
            parts.push(part);
        }
        Ok(match parts.is_empty() {
            true => Found::Nothing,
            false => Found::Directory(Self {
                stack: Rc::clone(&self.stack),
                parts,
            }),
        })
    }

    /// Finds the bytes of a file of this directory that is marked as [`METACOPY`].
    pub(crate) fn data_of(&self, object: &Object) -> sys::Result<Option<Object>> {
        let mut search = self.search(&object.name, object.layer);
        while let Some(found) = search.next()? {
            if found.metadata.kind != Kind::File {
                return Ok(None);
            }
            if sys::xattr::get_at(&found.dir, &found.name, OsStr::new(METACOPY))?.is_none() {
                return Ok(Some(found));
            }
            let redirect = sys::xattr::get_at(&found.dir, &found.name, OsStr::new(REDIRECT))?;
            search.redirect(redirect.map(OsString::from_vec).as_deref());
        }
        Ok(None)
    }

    /// All names, sorted by their bytes, each with the topmost layer that has it; what a name is
    /// has to be looked up: it may be a whiteout.
    pub(crate) fn names(&self) -> sys::Result<Vec<(OsString, usize)>> {
        let mut names: Vec<(OsString, usize)> = Vec::new();
        for part in &self.parts {
            names.extend(part.dir.names()?.into_iter().map(|name| (name, part.layer)));
        }
        names.sort_unstable();
        names.dedup_by(|later, first| later.0 == first.0);
        Ok(names)
    }

    fn search(&self, name: &OsStr, layer: usize) -> Search<'_> {
        Search {
            merged: self,
            next: layer,
            place: Place::Name(name.to_owned()),
        }
    }
}

impl Search<'_> {
    /// The next object of the name further below, whiteouts too.
    fn next(&mut self) -> sys::Result<Option<Object>> {
        loop {
            let place = std::mem::replace(&mut self.place, Place::Nowhere);
            let (layer, dir, name) = match &place {
                Place::Nowhere => return Ok(None),
                Place::Name(name) => {
                    let parts = self.merged.parts.iter();
                    let Some(part) = parts.clone().find(|part| part.layer >= self.next) else {
                        return Ok(None);
                    };
                    (part.layer, Rc::clone(&part.dir), name.clone())
                }
                Place::Path(path) => {
                    let Some(root) = self.merged.stack.get(self.next) else {
                        return Ok(None);
                    };
                    match walk(root, path)? {
                        Walk::Hidden => return Ok(None),
                        Walk::Missing => {
                            self.next += 1;
                            self.place = place;
                            continue;
                        }
                        Walk::Parent(dir, name) => (self.next, dir, name),
                    }
                }
            };
            self.next = layer + 1;
            self.place = place;
            if let Some(metadata) = dir.find(&name)? {
                return Ok(Some(Object {
                    layer,
                    dir,
                    name,
                    metadata,
                }));
            }
        }
    }

    /// Goes on below a directory as its marks say.
    fn follow(&mut self, part: &Part) {
        match part.opaque {
            true => self.place = Place::Nowhere,
            false => self.redirect(part.redirect.as_deref()),
        }
    }

    fn redirect(&mut self, target: Option<&OsStr>) {
        let Some(target) = target else { return };
        self.place = match target.as_bytes().starts_with(b"/") {
            false => Place::Name(target.to_owned()),
            true => GuestPath::confined(target.as_bytes()).map_or(Place::Nowhere, Place::Path),
        };
    }
}

/// Where a path leads within one layer.
enum Walk {
    Parent(Rc<Dir>, OsString),
    Missing,
    /// Something on the way hides what lies below.
    Hidden,
}

fn walk(root: &Rc<Dir>, path: &GuestPath) -> sys::Result<Walk> {
    let Some((parent, name)) = path.split_bytes() else {
        return Ok(Walk::Hidden);
    };
    let mut dir = Rc::clone(root);
    for step in parent.split(|c| *c == b'/').filter(|step| !step.is_empty()) {
        let step = OsStr::from_bytes(step);
        match dir.find(step)? {
            None => return Ok(Walk::Missing),
            Some(there) if there.kind != Kind::Directory => return Ok(Walk::Hidden),
            Some(_) => dir = Rc::new(dir.open_dir(step)?),
        }
    }
    Ok(Walk::Parent(dir, OsStr::from_bytes(name).to_owned()))
}

fn get(dir: &Dir, attribute: &str) -> sys::Result<Option<Vec<u8>>> {
    sys::xattr::get(dir.as_fd(), OsStr::new(attribute))
}
