//! An archive of files of this machine, made while it is sent.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::config::go_text;

/// Bytes that are gathered before they are sent.
const CHUNK: usize = 512 << 10;
/// Numbers that fit into a header's seven octal digits.
const MAX_OCTAL7: u64 = 0o7_777_777;
/// Sizes that fit into a header's eleven octal digits.
const MAX_OCTAL11: u64 = 0o77_777_777_777;
const BLOCK: usize = 512;
const CAPABILITY: &str = "security.capability";

/// What is packed.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// What its topmost entry is called; `.` for none.
    pub name: String,
}

/// Packs a file or a tree, and hands the archive on in pieces. Stops where nobody takes them.
///
/// # Errors
///
/// Something could not be read, in Go's words.
pub fn pack(source: &Source, send: &mut dyn FnMut(Bytes) -> bool) -> Result<(), String> {
    let mut packer = Packer {
        out: Vec::with_capacity(CHUNK * 2),
        send,
        links: HashMap::new(),
        gone: false,
    };
    let name = match source.name.as_str() {
        "." | "/" | "" => Vec::new(),
        name => name.as_bytes().to_vec(),
    };
    packer.tree(&source.path, name)?;
    packer.out.resize(packer.out.len() + 2 * BLOCK, 0);
    packer.flush();
    Ok(())
}

struct Packer<'s> {
    out: Vec<u8>,
    send: &'s mut dyn FnMut(Bytes) -> bool,
    /// Names of files that have several, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Nobody takes the archive any more.
    gone: bool,
}

fn told(action: &str, path: &Path, error: &io::Error) -> String {
    format!("{action} {}: {}", path.display(), go_text(error))
}

impl Packer<'_> {
    // Depth first, names in order; a stack of its own, since trees can be deep.
    fn tree(&mut self, top: &Path, name: Vec<u8>) -> Result<(), String> {
        let mut left = vec![(top.to_path_buf(), name)];
        while let Some((path, name)) = left.pop() {
            if self.gone {
                return Ok(());
            }
            let found = path
                .symlink_metadata()
                .map_err(|e| told("lstat", &path, &e))?;
            self.entry(&path, &name, &found)?;
            if !found.is_dir() {
                continue;
            }
            let entries = std::fs::read_dir(&path).map_err(|e| told("open", &path, &e))?;
            let mut names = entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| told("readdirent", &path, &e))?;
            names.sort_by(|a, b| b.cmp(a));
            for child in names {
                let below = match name.as_slice() {
                    [] => child.as_bytes().to_vec(),
                    above => [above, b"/", child.as_bytes()].concat(),
                };
                left.push((path.join(&child), below));
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &[u8], found: &Metadata) -> Result<(), String> {
        let kind = found.file_type();
        if kind.is_socket() {
            return Ok(());
        }
        let mut header = Header::new(name, found);
        if found.nlink() > 1 && !found.is_dir() {
            let key = (found.dev(), found.ino());
            if let Some(first) = self.links.get(&key) {
                header.kind = b'1';
                header.link = first.clone();
                self.header(&header);
                return Ok(());
            }
            self.links.insert(key, name.to_vec());
        }
        if kind.is_symlink() {
            header.kind = b'2';
            let link = path.read_link().map_err(|e| told("readlink", path, &e))?;
            header.link = link.into_os_string().into_vec();
        } else if kind.is_dir() {
            header.kind = b'5';
            header.name = [if name.is_empty() { b"." } else { name }, b"/"].concat();
        } else if kind.is_fifo() {
            header.kind = b'6';
        } else if kind.is_char_device() || kind.is_block_device() {
            header.kind = if kind.is_char_device() { b'3' } else { b'4' };
            let rdev = found.rdev();
            header.device = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
        } else {
            return self.file(path, header, found.len());
        }
        self.header(&header);
        Ok(())
    }

    fn file(&mut self, path: &Path, mut header: Header, size: u64) -> Result<(), String> {
        let mut file = File::open(path).map_err(|e| told("open", path, &e))?;
        let mut capability = [0; 64];
        if let Ok(len) = rustix::fs::fgetxattr(&file, CAPABILITY, &mut capability) {
            header.capability = capability.get(..len).unwrap_or_default().to_vec();
        }
        header.size = size;
        self.header(&header);
        let mut left = size;
        while left > 0 {
            let start = self.out.len();
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            self.out.resize(start + want, 0);
            let count = match file.read(&mut self.out[start..]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(told("read", path, &error)),
            };
            self.out.truncate(start + count);
            if count == 0 {
                return Err(format!(
                    "{} became shorter while it was read",
                    path.display()
                ));
            }
            left -= count as u64;
            self.full();
            if self.gone {
                return Ok(());
            }
        }
        self.pad(size);
        Ok(())
    }

    fn pad(&mut self, size: u64) {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if over > 0 {
            self.out.resize(self.out.len() + BLOCK - over, 0);
        }
        self.full();
    }

    fn header(&mut self, header: &Header) {
        let extended = header.extended();
        if !extended.is_empty() {
            let mut about = Header::plain(b'x', b"PaxHeaders.0/entry");
            about.size = extended.len() as u64;
            self.out.extend(about.block());
            self.out.extend(&extended);
            self.pad(extended.len() as u64);
        }
        self.out.extend(header.block());
        self.full();
    }

    fn full(&mut self) {
        if self.out.len() >= CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let chunk = std::mem::replace(&mut self.out, Vec::with_capacity(CHUNK * 2));
        if !chunk.is_empty() && !self.gone {
            self.gone = !(self.send)(Bytes::from(chunk));
        }
    }
}

/// What a header tells.
struct Header {
    kind: u8,
    name: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: i64,
    device: (u32, u32),
    capability: Vec<u8>,
}

impl Header {
    fn plain(kind: u8, name: &[u8]) -> Self {
        Self {
            kind,
            name: name.to_vec(),
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            device: (0, 0),
            capability: Vec::new(),
        }
    }

    fn new(name: &[u8], found: &Metadata) -> Self {
        Self {
            mode: found.mode() & 0o7777,
            uid: found.uid().into(),
            gid: found.gid().into(),
            mtime: found.mtime(),
            ..Self::plain(b'0', name)
        }
    }

    // What does not fit into the block.
    fn extended(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.name.len() > 100 || !self.name.is_ascii() {
            record(&mut out, "path", &self.name);
        }
        if self.link.len() > 100 || !self.link.is_ascii() {
            record(&mut out, "linkpath", &self.link);
        }
        for (key, value, most) in [
            ("uid", self.uid, MAX_OCTAL7),
            ("gid", self.gid, MAX_OCTAL7),
            ("size", self.size, MAX_OCTAL11),
        ] {
            if value > most {
                record(&mut out, key, value.to_string().as_bytes());
            }
        }
        if self.mtime < 0 {
            record(&mut out, "mtime", self.mtime.to_string().as_bytes());
        }
        if !self.capability.is_empty() {
            record(
                &mut out,
                &format!("SCHILY.xattr.{CAPABILITY}"),
                &self.capability,
            );
        }
        out
    }

    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, text: &[u8], most: usize| {
            let text = &text[..text.len().min(most)];
            block[at..at + text.len()].copy_from_slice(text);
        };
        put(0, &self.name, 100);
        put(100, format!("{:07o}", self.mode).as_bytes(), 7);
        put(108, octal(self.uid, MAX_OCTAL7, 7).as_bytes(), 7);
        put(116, octal(self.gid, MAX_OCTAL7, 7).as_bytes(), 7);
        put(124, octal(self.size, MAX_OCTAL11, 11).as_bytes(), 11);
        let mtime = u64::try_from(self.mtime).unwrap_or(0);
        put(136, octal(mtime, MAX_OCTAL11, 11).as_bytes(), 11);
        put(148, b"        ", 8);
        put(156, &[self.kind], 1);
        put(157, &self.link, 100);
        put(257, b"ustar\x0000", 8);
        put(
            329,
            octal(self.device.0.into(), MAX_OCTAL7, 7).as_bytes(),
            7,
        );
        put(
            337,
            octal(self.device.1.into(), MAX_OCTAL7, 7).as_bytes(),
            7,
        );
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

// A number that is too large is told in a record, and is nothing here.
fn octal(value: u64, most: u64, digits: usize) -> String {
    let value = if value > most { 0 } else { value };
    format!("{value:0digits$o}")
}

// `length key=value\n`, where the length counts its own digits.
fn record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() != rest.to_string().len() {
        length += 1;
    }
    out.extend(format!("{length} {key}=").bytes());
    out.extend(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn archive(path: &Path, name: &str) -> Vec<u8> {
        let source = Source {
            path: path.to_owned(),
            name: name.to_owned(),
        };
        let mut out = Vec::new();
        pack(&source, &mut |chunk| {
            out.extend_from_slice(&chunk);
            true
        })
        .unwrap();
        out
    }

    #[test]
    fn records_count_themselves() {
        for len in [1, 80, 92, 93, 94, 95, 990, 1000] {
            let mut out = Vec::new();
            record(&mut out, "path", &vec![b'x'; len]);
            let text = String::from_utf8(out).unwrap();
            let told: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(told, text.len(), "{len}");
        }
    }

    #[test]
    fn trees_are_packed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let long = "n".repeat(150);
        fs::create_dir(at("e")).unwrap();
        fs::write(at("e").join(&long), "long").unwrap();
        fs::write(at("a"), vec![7; CHUNK + 5]).unwrap();
        fs::hard_link(at("a"), at("b")).unwrap();
        std::os::unix::fs::symlink("/ü", at("l")).unwrap();
        let bytes = archive(dir.path(), "top");
        let mut tar = tar::Archive::new(bytes.as_slice());
        let mut seen = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let link = entry
                .link_name()
                .unwrap()
                .map(|l| l.to_str().unwrap().to_owned());
            seen.push((name, entry.header().entry_type(), data.len(), link));
        }
        use tar::EntryType as T;
        let text = |t: &str| Some(t.to_owned());
        assert_eq!(
            seen,
            [
                ("top/".to_owned(), T::Directory, 0, None),
                ("top/a".to_owned(), T::Regular, CHUNK + 5, None),
                ("top/b".to_owned(), T::Link, 0, text("top/a")),
                ("top/e/".to_owned(), T::Directory, 0, None),
                (format!("top/e/{long}"), T::Regular, 4, None),
                ("top/l".to_owned(), T::Symlink, 0, text("/ü")),
            ]
        );
    }

    #[test]
    fn contents_have_no_name_on_top() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let bytes = archive(dir.path(), ".");
        let mut tar = tar::Archive::new(bytes.as_slice());
        let names: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["./", "a"]);
    }
}
