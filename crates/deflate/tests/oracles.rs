//! What the encoders give, compared with what the programs give that they stand for.
//!
//! The golden sums were taken from the programs themselves, fed with the very inputs made here:
//! Go 1.19.8 and 1.27.3 (`compress/gzip`), klauspost's compress 1.15.12, 1.18.2 and 1.19.1 with
//! pgzip 1.2.5, Python 3.11 with zlib 1.2.13, GNU gzip 1.12 and pigz 2.6. Each is the SHA-256 over
//! the files of all inputs, one after the other. Python and GNU gzip are asked again while the
//! test runs.

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
    inputs.push(weave(dice, 1_300_000));
    inputs
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

const GOLDENS: &[(&str, &str)] = &[
    (
        "go-0",
        "5ceb978555dd7391c236247e26f521cb5adc7ac6988d1a2af26638c1b392c97f",
    ),
    (
        "go-1",
        "56a404a2ae9869f1e50aa83fc2307db3e0fb95d75358de6d3d20c7600e1f2aed",
    ),
    (
        "go-2",
        "d719cfb82bfc383d16f5dc96fb7f7de5f1d9eecb5c00b42e0d78b4f8bd52760d",
    ),
    (
        "go-3",
        "6947a1c883e6c8ff91958026047a92e4b5b744dc4d638889fd84a07595eb12a9",
    ),
    (
        "go-4",
        "c420b4682fd21ade3412e24e859fe14ecc211512311da5ff67adb114e9dcd5ae",
    ),
    (
        "go-5",
        "94e4558afa8168b2545354178658306e6cc1e79bfe65a8302ed2f36401b1d95b",
    ),
    (
        "go-6",
        "c20a7f9fc3a1d0d17a38a5103a0c6afd945177fb6cc9b9d0aa8aab37bbffef71",
    ),
    (
        "go-7",
        "ed5025655c63176da2dccfcaa3a2d8868b65e9be4e48230a5becbc7bcb72ae2c",
    ),
    (
        "go-8",
        "09473f03e78aa654ad0041a22ea7ab5f274d01bcd48fd2998dbee3f2abf3b4b2",
    ),
    (
        "go-9",
        "48f29a823c32950259a671a220f94a3ec91ee1bf9b5d2de29257713ff6751563",
    ),
    (
        "go127-5",
        "a1c9c136d09849f84b8295d5a3cad156f4f9b47076e42b2a164ab78e78a0a522",
    ),
    (
        "go127-6",
        "5ae842007f23e5c23b5c2ef4299a0892a0ff8c7de459026b2c013a8ed0cd1282",
    ),
    (
        "klauspost115-5",
        "87a5b84ff8b6395c000a3b16569591911662e2b54c5881ee0af0eda363f50bea",
    ),
    (
        "klauspost115-6",
        "f2ed43545002b981c8e6f3d9812e11a2231ac321d7b6d6fcec1d0e19bb4e262d",
    ),
    (
        "pgzip115-5",
        "24dd6c3275601247a3934640ee6acaec7ca5e5d1c7dc45bfd98286fad654b5e5",
    ),
    (
        "pgzip115-6",
        "a33835fce0f6754e257e961e5827042b40347af6c53f1100f2376a2b5eba3909",
    ),
    (
        "pgzip118-5",
        "cb16496fac9604546566bda5b2dab3d90f7e68a551bf929f348624ddefb571f1",
    ),
    (
        "pgzip118-6",
        "081a0ce442999965f49197fdaa4f0d13734fb3df3991fac2c41fa18d88d902e6",
    ),
    (
        "zlib-1",
        "0b02f881d9cdaa8b84c980589d00e898c59a73ed4d8fe91decc7297f6dc9739b",
    ),
    (
        "zlib-2",
        "d90dd5b857ff216e9e5a6a60246aa93553969939950d759f5bd91aa3029ba45f",
    ),
    (
        "zlib-3",
        "abab41045015226e4904c43c4129248e9fae3ba7ae7683a8beaef400aa9bbcab",
    ),
    (
        "zlib-4",
        "672d02b53e3758be74547cb095c4f5d05c64fc99023b60ba44353104596556aa",
    ),
    (
        "zlib-5",
        "b7d8d2021acbecc491c72134dc5828c5949624a59e3304683318463a7692d2d6",
    ),
    (
        "zlib-6",
        "b402429482f1d2fee5e8001457bbad9904dfc5ac4f0c38b04e400bd4c3509a85",
    ),
    (
        "zlib-7",
        "9bc2f9a734aed4df4127f9338e336e74360a6288c5ba759057edf4ed33439158",
    ),
    (
        "zlib-8",
        "03c7e173d6a61e99ea44a93b34bda9d05c851313b5620f215c8f0e34c0c72c8d",
    ),
    (
        "zlib-9",
        "8b19b6940adcd704c79a4c8fc0df0bf540e0dd58ebb22469cd71a19f69f6d53d",
    ),
    (
        "gnu-1",
        "99911a9257dc9d5641ac8421c544165a2879aa0a06269b61c1bff2475786d928",
    ),
    (
        "gnu-2",
        "ff9bbc5fc4e770a08bd9da253abea3ca9f08e759d8367a1464abd9ba0651f4a7",
    ),
    (
        "gnu-3",
        "cd6fa759423576bcae7e582ce7c4d8d4213ab41896abb1ef352713ef994d7b48",
    ),
    (
        "gnu-4",
        "6ca7aa6449efc4e890edd66ce5f6a84e147d3ef3cf429ad64257ea867912005f",
    ),
    (
        "gnu-5",
        "7f0b81186dd6983002a7cfa42f8cb9f857cb1cc12598d80f3ab03551f3a20ba3",
    ),
    (
        "gnu-6",
        "22f9a001b5a76fbed2eb7129b7194b335a723ebdfc945703d50522bbe172c89f",
    ),
    (
        "gnu-7",
        "da002d9fdb1668f0546cfee87cfea957e3fcbf9a0267be8290479597bb63849e",
    ),
    (
        "gnu-8",
        "140484f75197adc820a5cf6d9488928683f1c68536466a7881ca614d7359ad73",
    ),
    (
        "gnu-9",
        "cfcab1cdf67902c8515a658ea8613698e106b9337e01a03933dc69a2c07f4d33",
    ),
    (
        "pigz-1",
        "c5a3765aab5fafb93fadc657a8b805a9a2809ca95e09e564a17dc783d5a62857",
    ),
    (
        "pigz-2",
        "bf83a0f6d0dd2f906e69dba9ac0411702df39e614485e1a190acc75e4292ba86",
    ),
    (
        "pigz-3",
        "0d28127d0be64d60d2a7aaff6a50565036934b50d3eb4af12a49fb5488c98c8f",
    ),
    (
        "pigz-4",
        "baf98f33e52879210527033468f906db47acb958e89c6c8f4568dcdd45f57f58",
    ),
    (
        "pigz-5",
        "9e2d6104df6f93762b930f33dbdb40cc4057284ed75dcd26b1ae30b45b400f66",
    ),
    (
        "pigz-6",
        "7f4807b043a193b179aa212a72125db2e79ecb252571088575d1feefa5641fe4",
    ),
    (
        "pigz-7",
        "0ce662cebe4cf4c658f00adfed883eeab62b3f8afe46082b78a0c6fc25b1b685",
    ),
    (
        "pigz-8",
        "dca8aa67e2a80289b45125b7596e70ef95a2b7258940541c48dac57d3c56fa28",
    ),
    (
        "pigz-9",
        "b711ba67c6cb760557ccc7a236c3e5e60f8d6092da46fe82a52e178cd2e16cdb",
    ),
    (
        "pigz1-1",
        "486562be2d80eee7209de62756af59ee3320ab5da61ab3a5ab2912cb4af53d17",
    ),
    (
        "pigz1-2",
        "b48d0caf33409d526af3a651a5c987c6ea503d5a9593bc5a3f328b01dfc3255f",
    ),
    (
        "pigz1-3",
        "f63a6a1cd01588be5b98e14a1b2a55f1cd5a2a7edb038914f9d0f87fb33db455",
    ),
    (
        "pigz1-4",
        "baf98f33e52879210527033468f906db47acb958e89c6c8f4568dcdd45f57f58",
    ),
    (
        "pigz1-5",
        "9e2d6104df6f93762b930f33dbdb40cc4057284ed75dcd26b1ae30b45b400f66",
    ),
    (
        "pigz1-6",
        "7f4807b043a193b179aa212a72125db2e79ecb252571088575d1feefa5641fe4",
    ),
    (
        "pigz1-7",
        "0ce662cebe4cf4c658f00adfed883eeab62b3f8afe46082b78a0c6fc25b1b685",
    ),
    (
        "pigz1-8",
        "dca8aa67e2a80289b45125b7596e70ef95a2b7258940541c48dac57d3c56fa28",
    ),
    (
        "pigz1-9",
        "b711ba67c6cb760557ccc7a236c3e5e60f8d6092da46fe82a52e178cd2e16cdb",
    ),
];

#[test]
fn every_encoder_gives_what_its_program_gave() {
    let inputs = inputs();
    let wrong: Vec<_> = GOLDENS
        .iter()
        .filter(|(method, golden)| {
            let recipe = recipe(method);
            sum(inputs.iter().map(|plain| encode(&recipe, plain))) != *golden
        })
        .map(|(method, _)| method)
        .collect();
    assert_eq!(wrong, [] as [&&str; 0]);
}

#[test]
fn what_is_encoded_unpacks_to_what_was_given() {
    let dice = &mut Dice(77);
    for (method, _) in GOLDENS {
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
    let plain = weave(&mut Dice(5), 1_500_000);
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
        assert_eq!(found, [recipe]);
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
    for level in [1, 3, 4, 6, 9] {
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
    for level in [1, 3, 4, 6, 9] {
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
