//! Putting an archive together again from its map and its files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sys::root::{GuestPath, Root};

use super::{END, KEPT, MAGIC, MAP, MAX_MOVED_BYTES, MAX_PATH, MOVED, RAW, STORED};
use super::{damaged, take_number};

/// Bytes of the map that are decoded at once.
const DECODED: usize = 64 * 1024;

/// The archive of a layer; what it gives is not verified here.
pub(crate) struct Rebuild {
    map: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    diff: Root,
    kept: Option<Kept>,
    now: Now,
    pieces: u64,
    total: u64,
}

/// What the next bytes are.
enum Now {
    /// An op has to be read.
    Op,
    Raw(u64),
    Stored {
        file: File,
        at: u64,
        left: u64,
    },
    End,
}

/// The replaced objects.
struct Kept {
    root: Root,
    /// Where something was moved away: after how many pieces, and its number.
    moved: HashMap<Vec<u8>, Vec<(u64, u64)>>,
}

impl std::fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuild")
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl Rebuild {
    /// Opens the map in the directory of a layer.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let file = File::open(directory.join(MAP))?;
        let decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(DECODED, file))?;
        let mut map = BufReader::with_capacity(DECODED, decoder);
        let mut magic = [0; MAGIC.len()];
        map.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(damaged("it is of another form"));
        }
        let root = |path: &Path| Root::open(path).map_err(io::Error::other);
        let kept = directory.join(KEPT);
        Ok(Self {
            map,
            diff: root(&directory.join("diff"))?,
            kept: match kept.is_dir() {
                true => Some(Kept {
                    root: root(&kept)?,
                    moved: read_moved(&kept.join(MOVED))?,
                }),
                false => None,
            },
            now: Now::Op,
            pieces: 0,
            total: 0,
        })
    }

    fn number(&mut self) -> io::Result<u64> {
        take_number(|| byte(&mut self.map))
    }

    fn next(&mut self) -> io::Result<Now> {
        match byte(&mut self.map)? {
            RAW => Ok(Now::Raw(self.number()?)),
            STORED => {
                let path = read_path(&mut self.map)?;
                let (at, left) = (self.number()?, self.number()?);
                let file = self.open_stored(&path)?;
                self.pieces += 1;
                Ok(Now::Stored { file, at, left })
            }
            END if self.number()? == self.total => Ok(Now::End),
            END => Err(damaged("the archive's length is another")),
            _ => Err(damaged("an op in it is unknown")),
        }
    }

    /// Opens the file that the coming piece was stored in, wherever it is now.
    fn open_stored(&self, path: &[u8]) -> io::Result<File> {
        let moved = self.kept.as_ref().and_then(|kept| {
            let (number, rest) = kept.find(path, self.pieces)?;
            let path = [number.to_string().as_bytes(), rest].concat();
            Some((&kept.root, path))
        });
        let (root, path) = match &moved {
            Some((root, path)) => (*root, path.as_slice()),
            None => (&self.diff, path),
        };
        let shown = || String::from_utf8_lossy(path).into_owned();
        let guest = GuestPath::confined(path).map_err(|_| damaged("a path in it is none"))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = root
            .open_at(&guest, flags, Mode::empty())
            .map_err(|error| {
                let kind = io::Error::from(error.errno()).kind();
                io::Error::new(kind, format!("file `{}` of the layer: {error}", shown()))
            })?;
        let file = File::from(fd);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(damaged(&format!("`{}` is no file any more", shown()))),
        }
    }
}

impl Kept {
    /// The first object moved away after some pieces that had this path or a part of it.
    fn find<'p>(&self, path: &'p [u8], pieces: u64) -> Option<(u64, &'p [u8])> {
        let slashes = path.iter().enumerate().filter(|(_, c)| **c == b'/');
        let ends = slashes.map(|(at, _)| at).chain([path.len()]);
        let found = ends.filter_map(|end| {
            let moved = self.moved.get(&path[..end])?;
            let later = moved.iter().find(|(position, _)| *position > pieces)?;
            Some((later.1, &path[end..]))
        });
        found.min_by_key(|(number, _)| *number)
    }
}

fn byte(map: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    map.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn read_path(map: &mut impl Read) -> io::Result<Vec<u8>> {
    let len = take_number(|| byte(map))?;
    match usize::try_from(len) {
        Ok(len) if len < MAX_PATH => {
            let mut path = vec![0; len];
            map.read_exact(&mut path)?;
            Ok(path)
        }
        _ => Err(damaged("a path in it is too long")),
    }
}

type MovedList = HashMap<Vec<u8>, Vec<(u64, u64)>>;

fn read_moved(path: &Path) -> io::Result<MovedList> {
    let mut bytes = Vec::new();
    // A position and a length are at most ten bytes each.
    let most = MAX_MOVED_BYTES + super::MAX_MOVED * 20;
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut moved = MovedList::new();
    let mut number = 0;
    while !rest.is_empty() {
        let position = take_number(|| byte(&mut rest))?;
        let path = read_path(&mut rest)?;
        moved.entry(path).or_default().push((position, number));
        number += 1;
    }
    Ok(moved)
}

impl Read for Rebuild {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len();
        if wanted == 0 {
            return Ok(0);
        }
        let room = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        loop {
            let len = match &mut self.now {
                Now::Op => 0,
                Now::End => return Ok(0),
                Now::Raw(left) => {
                    let len = self.map.read(&mut buffer[..room(*left)])?;
                    *left -= len as u64;
                    if len == 0 && *left > 0 {
                        return Err(damaged("it is cut off"));
                    }
                    len
                }
                Now::Stored { file, at, left } => {
                    let len = file.read_at(&mut buffer[..room(*left)], *at)?;
                    *at += len as u64;
                    *left -= len as u64;
                    if len == 0 && *left > 0 {
                        return Err(damaged("a file of the layer is shorter than it was"));
                    }
                    len
                }
            };
            if len > 0 {
                self.total += len as u64;
                return Ok(len);
            }
            self.now = self.next()?;
        }
    }
}
