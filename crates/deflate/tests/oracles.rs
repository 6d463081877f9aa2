//! What the encoders give, compared with what the programs give that they stand for.
//!
//! The golden sums were taken from the programs themselves, fed with the very inputs made here:
//! Go 1.19.8 and 1.27.3 (`compress/gzip`), klauspost's compress 1.15.12, 1.18.2 and 1.19.1 with
//! pgzip 1.2.5, Python 3.11 with zlib 1.2.13, GNU gzip 1.12, pigz 2.6 and Debian's busybox 1.35.
//! Each is the SHA-256 over the files of all inputs, one after the other (for levels 5 and 6 also
//! of the long one). Python and GNU gzip are asked again while the test runs.
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use deflate::{Encoder, Recipe, survivors};
use sha2::{Digest, Sha256};

/// A generator that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }
}

fn noise(dice: &mut Dice, size: usize) -> Vec<u8> {
    (0..size).map(|_| (dice.next() >> 40) as u8).collect()
}

fn text(dice: &mut Dice, size: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> = (0..400)
        .map(|_| {
            (0..2 + dice.below(8))
                .map(|_| b'a' + dice.below(26) as u8)
                .collect()
        })
        .collect();
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        let range = [20, 100, 400][dice.below(3)];
        bytes.extend(&words[dice.below(range)]);
        bytes.extend([b" ".as_slice(), b" ", b", ", b".\n"][dice.below(4)]);
    }
    bytes.truncate(size);
    bytes
}

/// Noise, text, runs and copies of what came before, up to a little more than a window ago.
fn weave(dice: &mut Dice, size: usize) -> Vec<u8> {
    let mut bytes = noise(dice, 100);
    while bytes.len() < size {
        match dice.below(10) {
            0..2 => {
                let length = 1 + dice.below(400);
                bytes.extend(noise(dice, length));
            }
            2..6 => {
                let distance = 1 + dice.below(bytes.len().min(33_000));
                for _ in 0..3 + dice.below(400) {
                    bytes.push(bytes[bytes.len() - distance]);
                }
            }
            6 => {
                let length = bytes.len() + 1 + dice.below(700);
                bytes.resize(length, dice.below(256) as u8);
            }
            _ => {
                let length = 5 + dice.below(200);
                bytes.extend(text(dice, length));
            }
        }
    }
    bytes.truncate(size);
    bytes
}

fn inputs() -> Vec<Vec<u8>> {
    let dice = &mut Dice(0x1234_5678_9abc_def1);
    let mut inputs = vec![Vec::new(), b"a".to_vec(), b"aaaa".to_vec()];
    for size in [16, 33, 127, 258, 262, 1000, 65_535, 65_536, 65_537, 131_072] {
        inputs.push(text(dice, size));
    }
    inputs.push(vec![0; 600_000]);
    inputs.push(noise(dice, 150_000));
    let mut periodic = noise(dice, 32_768);
    periodic.extend_from_within(..);
    periodic.extend_from_within(..32_700);
    periodic.extend_from_within(32_000..);
    inputs.push(periodic);
    let mut changing = noise(dice, 80_000);
    changing.extend(text(dice, 150_000));
    changing.extend(noise(dice, 70_000));
    inputs.push(changing);
    inputs.push(weave(dice, 250_000));
    inputs
}

/// Longer than a block of any program; for the levels that the programs take by themselves.
fn long_input() -> Vec<u8> {
    weave(&mut Dice(0x0fed_cba9_8765_4321), 1_200_000)
}

fn encode(recipe: &Recipe, plain: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), recipe);
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn sum(files: impl Iterator<Item = Vec<u8>>) -> String {
    let mut hasher = Sha256::new();
    files.for_each(|file| hasher.update(file));
    let sum = hasher.finalize();
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The header that the program writes for the level.
fn recipe(method: &str) -> Recipe {
    let (name, level) = method.rsplit_once('-').unwrap();
    let extra = match level {
        "9" => "02",
        "1" => "04",
        _ => "00",
    };
    let (time, system) = match name {
        "pgzip115" | "pgzip118" => ("00096e88", "ff"),
        "go" | "go127" | "klauspost115" => ("00000000", "ff"),
        _ => ("00000000", "03"),
    };
    format!("{method} 1f8b0800{time}{extra}{system}")
        .parse()
        .unwrap()
}

/// Method and sum, a line each.
const GOLDENS: &str = include_str!("golden.txt");

fn goldens() -> impl Iterator<Item = (&'static str, &'static str)> {
    GOLDENS.lines().map(|line| line.split_once(' ').unwrap())
}

#[test]
fn every_encoder_gives_what_its_program_gave() {
    let (inputs, long) = (inputs(), long_input());
    let wrong: Vec<_> = goldens()
        .filter(|(method, golden)| {
            let recipe = recipe(method);
            let long = method.ends_with(['5', '6']).then_some(&long);
            let inputs = inputs.iter().chain(long);
            sum(inputs.map(|plain| encode(&recipe, plain))) != *golden
        })
        .map(|(method, _)| method)
        .collect();
    assert_eq!(wrong, [] as [&str; 0]);
}

#[test]
fn what_is_encoded_unpacks_to_what_was_given() {
    let dice = &mut Dice(77);
    for (method, _) in goldens() {
        let recipe = recipe(method);
        for _ in 0..3 {
            let size = dice.below(200_000);
            let plain = weave(dice, size);
            let file = encode(&recipe, &plain);
            let mut unpacked = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&*file);
            decoder.read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain, "{method} with {size} bytes");
        }
    }
}

#[test]
fn how_the_bytes_are_cut_changes_nothing() {
    let dice = &mut Dice(99);
    let plain = weave(dice, 1_200_000);
    for method in [
        "go-6",
        "go-1",
        "go-0",
        "zlib-6",
        "gnu-6",
        "pigz-6",
        "pgzip115-5",
        "go127-6",
    ] {
        let recipe = recipe(method);
        let mut encoder = Encoder::new(Vec::new(), &recipe);
        let mut rest = &*plain;
        while !rest.is_empty() {
            let size = (1 + dice.below(40_000)).min(rest.len());
            encoder.write_all(&rest[..size]).unwrap();
            rest = &rest[size..];
        }
        assert!(
            encoder.finish().unwrap() == encode(&recipe, &plain),
            "{method}"
        );
    }
}

#[test]
fn every_program_is_told_from_the_others_by_a_prefix() {
    let plain = text(&mut Dice(5), 1_500_000);
    for method in [
        "go-6",
        "go-1",
        "zlib-6",
        "gnu-6",
        "pigz-6",
        "pgzip115-5",
        "go127-6",
    ] {
        let recipe = recipe(method);
        let file = encode(&recipe, &plain);
        let found = survivors(&file[..file.len() * 3 / 4], &plain[..1_400_000]);
        // Versions and modes of one program give mostly the same, as do busybox and GNU gzip.
        let family = |recipe: &Recipe| {
            let name = recipe.to_string().replace("busyboxbig", "gnu");
            name.split(|c: char| !c.is_alphabetic())
                .next()
                .map(str::to_owned)
        };
        let related = found.iter().all(|other| family(other) == family(&recipe));
        assert!(
            found.first() == Some(&recipe) && related,
            "{method}: {found:?}"
        );
    }
}

/// Runs a filter over `plain`.
fn filter(command: &mut Command, plain: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program is installed");
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(plain).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command:?}");
        output.stdout
    })
}

#[test]
fn gnu_gzip_gives_the_same() {
    for level in [1, 6, 9] {
        let recipe = recipe(&format!("gnu-{level}"));
        for plain in inputs() {
            let wanted = filter(Command::new("gzip").arg(format!("-n{level}")), &plain);
            assert!(
                encode(&recipe, &plain) == wanted,
                "level {level}, {} bytes",
                plain.len()
            );
        }
    }
}

#[test]
fn python_gives_the_same() {
    const SCRIPT: &str = "import sys, zlib
if 'ng' in zlib.ZLIB_RUNTIME_VERSION: sys.exit(0)
packer = zlib.compressobj(int(sys.argv[1]), zlib.DEFLATED, 31)
plain = sys.stdin.buffer.read()
sys.stdout.buffer.write(packer.compress(plain) + packer.flush())";
    for level in [1, 6, 9] {
        let recipe = recipe(&format!("zlib-{level}"));
        for plain in inputs() {
            let mut python = Command::new("python3");
            let wanted = filter(python.args(["-c", SCRIPT, &level.to_string()]), &plain);
            // Another library under the same name promises nothing.
            if wanted.is_empty() {
                return;
            }
            assert!(
                encode(&recipe, &plain) == wanted,
                "level {level}, {} bytes",
                plain.len()
            );
        }
    }
}
