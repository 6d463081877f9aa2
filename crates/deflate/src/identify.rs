//! Finding the recipe of a gzip file from its beginning.
//!
//! The header says little for certain: it puts the candidates in order. Then each of them encodes
//! the plain bytes until it gives another byte than the file has, which a wrong one does within
//! its first blocks.

use flate2::Crc;

use crate::encoder::{Deflate, deflate};
use crate::header;
use crate::recipe::{Method, Recipe};

/// How much of a compressed file [`candidates`] wants to see: its header is in it.
pub const HEAD_SIZE: usize = 4096;

/// How many plain bytes decide well between methods; fewer are fine when the file has no more.
pub const PREFIX_SIZE: usize = 4 << 20;

/// What `pgzip` makes of the year 1, which is its "no time".
const PGZIP_NO_TIME: [u8; 4] = [0x00, 0x09, 0x6e, 0x88];
/// Plain bytes between two looks at what came of them.
const STEP: usize = 64 << 10;
/// Check sum and length after the deflate stream.
const TRAILER: usize = 8;

/// Returns every recipe that the header of the file leaves possible, the likeliest first.
///
/// `head` is the beginning of the file, [`HEAD_SIZE`] bytes or all of it. Empty when it is no
/// gzip file.
#[must_use]
pub fn candidates(head: &[u8]) -> Vec<Recipe> {
    let Some(size) = header::length(head) else {
        return Vec::new();
    };
    let head = &head[..size];
    let (best, quick, unix) = (head[8] == 2, head[8] == 4, head[9] != 255);
    let no_time = head[4..8] == PGZIP_NO_TIME;
    let mut methods: Vec<Method> = Method::all().collect();
    methods.sort_by_key(|method| {
        let level = method.level();
        let told = (best && level == 9) || (quick && level == 1);
        let silent = !best && !quick && !matches!(level, 1 | 9);
        let program = (no_time != method.is_pgzip(), unix != method.is_unix());
        (!told && !silent, program, level != method.default_level())
    });
    methods
        .into_iter()
        .filter_map(|method| Recipe::new(method, head).ok())
        .collect()
}

/// Returns the likeliest recipe that makes `compressed` begin as it does.
///
/// `compressed` is a prefix of the gzip file and `plain` a prefix of what it unpacks to (they
/// need not end at the same place). The answer is a proof only for what was compared: whoever
/// relies on it encodes everything once and compares digests.
#[must_use]
pub fn identify(compressed: &[u8], plain: &[u8]) -> Option<Recipe> {
    survivors(compressed, plain).into_iter().next()
}

/// Returns all the recipes that [`identify`] chooses from, the likeliest first.
///
/// Levels of one encoder often agree on a short prefix, so more than one may stay.
#[must_use]
pub fn survivors(compressed: &[u8], plain: &[u8]) -> Vec<Recipe> {
    let whole = is_whole(compressed, plain);
    let mut recipes = candidates(compressed);
    recipes.retain(|recipe| {
        let stream = &compressed[recipe.header().len()..];
        match whole {
            true => Trial::new(recipe, &stream[..stream.len() - TRAILER]).whole(plain),
            false => Trial::new(recipe, stream).begins(plain),
        }
    });
    recipes
}

/// Says whether `compressed` ends with check sum and length of exactly `plain`.
fn is_whole(compressed: &[u8], plain: &[u8]) -> bool {
    let Some(size) = header::length(compressed) else {
        return false;
    };
    let Some((_, trailer)) = compressed[size..].split_last_chunk::<TRAILER>() else {
        return false;
    };
    let mut crc = Crc::new();
    crc.update(plain);
    trailer[..4] == crc.sum().to_le_bytes() && trailer[4..] == crc.amount().to_le_bytes()
}

/// One encoder at work against what the file has.
struct Trial<'a> {
    deflate: Box<dyn Deflate>,
    wanted: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Trial<'a> {
    fn new(recipe: &Recipe, wanted: &'a [u8]) -> Self {
        Self {
            deflate: deflate(recipe.method()),
            wanted,
            out: Vec::new(),
        }
    }

    /// Says whether nothing that comes of `plain` contradicts the file.
    fn begins(&mut self, plain: &[u8]) -> bool {
        plain.chunks(STEP).all(|step| {
            self.wanted.is_empty() || {
                self.deflate.write(step, &mut self.out);
                self.agrees()
            }
        })
    }

    fn whole(&mut self, plain: &[u8]) -> bool {
        self.begins(plain) && {
            self.deflate.finish(&mut self.out);
            self.out == self.wanted
        }
    }

    fn agrees(&mut self) -> bool {
        let size = self.out.len().min(self.wanted.len());
        let (now, later) = self.wanted.split_at(size);
        let agrees = now == &self.out[..size];
        self.out.drain(..size);
        self.wanted = later;
        agrees
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::Encoder;

    fn plain() -> Vec<u8> {
        (0u32..60_000)
            .flat_map(|n| (n % 9931 * 31).to_le_bytes())
            .collect()
    }

    fn file(recipe: &Recipe, plain: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), recipe);
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_whole_file_gives_its_own_recipe() {
        for text in ["go-6 1f8b08000000000000ff", "go-1 1f8b08000000000004ff"] {
            let recipe: Recipe = text.parse().unwrap();
            let file = file(&recipe, &plain());
            assert_eq!(identify(&file, &plain()), Some(recipe));
        }
    }

    #[test]
    fn a_prefix_rules_other_encoders_out() {
        let recipe: Recipe = "go-9 1f8b08000000000002ff".parse().unwrap();
        let file = file(&recipe, &plain());
        let found = survivors(&file[..file.len() / 2], &plain()[..200_000]);
        assert!(found.contains(&recipe));
        assert!(!found.iter().any(|r| r.method() == Method::Go { level: 1 }));
    }

    #[test]
    fn the_header_puts_the_likeliest_first() {
        for (header, first) in [
            ("1f8b08000000000000ff", "go-6"),
            ("1f8b08000000000002ff", "go-9"),
            ("1f8b080000096e8800ff", "pgzip115-5"),
            ("1f8b0800000000000003", "zlib-6"),
            ("1f8b0800000000000203", "zlib-9"),
        ] {
            let recipe: Recipe = format!("go-0 {header}").parse().unwrap();
            let candidates = candidates(recipe.header());
            assert_eq!(candidates[0].method().to_string(), first, "{header}");
        }
    }

    #[test]
    fn what_is_no_gzip_file_has_no_recipe() {
        assert_eq!(identify(b"", b""), None);
        assert_eq!(
            identify(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0, 0], b"x"),
            None
        );
    }
}
