//! The reader against hand-made headers, and against another reader.

use super::*;

/// A header block with its checksum; `edit` may spoil fields before that.
fn header(kind: u8, name: &[u8], size: u64, edit: impl Fn(&mut [u8; 512])) -> Vec<u8> {
    let mut block = [0u8; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000001");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    edit(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.to_vec()
}

fn with_data(mut header: Vec<u8>, data: &[u8]) -> Vec<u8> {
    header.extend_from_slice(data);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

fn file(name: &[u8], data: &[u8]) -> Vec<u8> {
    with_data(header(b'0', name, data.len() as u64, |_| ()), data)
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let data: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key, value))
        .collect();
    with_data(header(b'x', b"pax", data.len() as u64, |_| ()), &data)
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [
        len.to_string().as_bytes(),
        b" ",
        key.as_bytes(),
        b"=",
        value,
        b"\n",
    ]
    .concat()
}

fn read_all(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut entries = Entries::new(archive);
    let mut found = Vec::new();
    while let Some(entry) = entries.next()? {
        let data = entries.read_payload()?;
        found.push((entry, data));
    }
    Ok(found)
}

fn names(archive: &[u8]) -> Vec<String> {
    let found = read_all(archive).unwrap();
    found
        .into_iter()
        .map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned())
        .collect()
}

#[test]
fn pax_size_decides_where_the_next_header_is() {
    // A reader that believes the other size would find the hidden header in the payload.
    let hidden = file(b"smuggled", b"x");
    let told = hidden.len().to_string();
    let small = [
        pax(&[("size", told.as_bytes())]),
        with_data(header(b'0', b"carrier", 0, |_| ()), &hidden),
        file(b"after", b"y"),
    ]
    .concat();
    assert_eq!(names(&small), ["carrier", "after"]);
    let large = [
        pax(&[("size", b"1")]),
        with_data(header(b'0', b"carrier", 2048, |_| ()), b"1"),
        file(b"after", b"y"),
    ]
    .concat();
    assert_eq!(names(&large), ["carrier", "after"]);
}

#[test]
fn types_without_payload_have_none_whatever_their_size_says() {
    let link = header(b'2', b"link", 512, |block| block[157] = b't');
    let archive = [link, file(b"after", b"y")].concat();
    assert_eq!(names(&archive), ["link", "after"]);
}

#[test]
fn long_names_come_from_pax_gnu_and_prefix() {
    let long = "d/".repeat(120) + "f";
    let gnu = [
        with_data(
            header(b'L', b"././@LongLink", 242, |_| ()),
            format!("{long}\0").as_bytes(),
        ),
        file(b"short", b""),
    ]
    .concat();
    assert_eq!(names(&gnu), [long.as_str()]);
    let by_pax = [pax(&[("path", long.as_bytes())]), file(b"short", b"")].concat();
    assert_eq!(names(&by_pax), [long.as_str()]);
    let by_prefix = with_data(
        header(b'0', b"name", 0, |block| {
            block[345..351].copy_from_slice(b"prefix")
        }),
        b"",
    );
    assert_eq!(names(&by_prefix), ["prefix/name"]);
    let both = [
        pax(&[("path", b"a")]),
        with_data(header(b'L', b"l", 2, |_| ()), b"b\0"),
        file(b"c", b""),
    ]
    .concat();
    assert!(read_all(&both).is_err(), "two long names for one entry");
    let raw = [pax(&[("path", b"\xff\xfe")]), file(b"x", b"")].concat();
    assert_eq!(read_all(&raw).unwrap()[0].0.path, b"\xff\xfe");
}

#[test]
fn global_records_say_nothing_about_entries() {
    let data = record("path", b"everything");
    let global = with_data(header(b'g', b"g", data.len() as u64, |_| ()), &data);
    assert_eq!(names(&[global, file(b"a", b"")].concat()), ["a"]);
}

#[test]
fn lies_are_errors() {
    let nul = [pax(&[("path", b"a\0b")]), file(b"x", b"")].concat();
    let negative = header(b'0', b"x", 0, |block| block[124..136].fill(0xff));
    let huge = header(b'0', b"x", 0, |block| {
        block[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    });
    let special = header(b'x', b"x", 2 * 1024 * 1024, |_| ());
    let unknown = header(b'D', b"x", 0, |_| ());
    let mut sum = file(b"x", b"");
    sum[0] = b'y';
    let lone_zero = [file(b"a", b""), vec![0; 512], file(b"b", b"")].concat();
    let dangling = pax(&[("path", b"a")]);
    let text = header(b'0', b"x", 0, |block| {
        block[124..136].copy_from_slice(b"12345678901z")
    });
    for (what, archive) in [
        ("nul", nul),
        ("negative size", negative),
        ("size beyond the range", huge),
        ("2 MiB of records", special),
        ("unknown type", unknown),
        ("checksum", sum),
        ("lone zero block", lone_zero),
        ("records without an entry", dangling),
        ("size that is no number", text),
    ] {
        assert!(read_all(&archive).is_err(), "{what}");
    }
}

#[test]
fn cut_archives_end_cleanly_only_between_entries() {
    let whole = [file(b"a", b"one"), file(b"b", &[7; 700]), vec![0; 1024]].concat();
    assert_eq!(names(&whole), ["a", "b"]);
    for len in 0..whole.len() {
        let clean = matches!(len, 0 | 1024) || len >= 1024 + 512 + 1024;
        // A cut in the trailing zeros hides nothing, in a block of them it still is a cut.
        let in_block = len % 512 != 0;
        let outcome = read_all(&whole[..len]);
        assert_eq!(outcome.is_ok(), clean && !in_block, "{len}: {outcome:?}");
    }
}

#[test]
fn sparse_maps_are_read_in_all_forms_and_checked() {
    let old = with_data(
        header(b'S', b"s", 6, |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            block[386..397].copy_from_slice(b"00000000012");
            block[398..409].copy_from_slice(b"00000000006");
            block[483..494].copy_from_slice(b"00000000100");
        }),
        b"sparse",
    );
    let v01 = [
        pax(&[
            ("GNU.sparse.size", b"64"),
            ("GNU.sparse.map", b"10,6"),
            ("GNU.sparse.name", b"s"),
        ]),
        file(b"x", b"sparse"),
    ]
    .concat();
    let v00 = [
        pax(&[
            ("GNU.sparse.size", b"64"),
            ("GNU.sparse.offset", b"10"),
            ("GNU.sparse.numbytes", b"6"),
        ]),
        file(b"s", b"sparse"),
    ]
    .concat();
    let mut map = b"1\n10\n6\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"sparse");
    let v10 = [
        pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"64"),
            ("GNU.sparse.name", b"s"),
        ]),
        file(b"x", &map),
        file(b"after", b""),
    ]
    .concat();
    for archive in [old, v01, v00, v10] {
        let (entry, data) = read_all(&archive).unwrap().remove(0);
        assert_eq!((entry.path.as_slice(), entry.size), (&b"s"[..], 64));
        assert_eq!(entry.sparse, Some(vec![(10, 6)]));
        assert_eq!(data, b"sparse");
    }
    for bad in [
        "10,7",
        "60,6",
        "0,3,2,3",
        "10",
        "a,b",
        "9223372036854775807,6",
    ] {
        let archive = [
            pax(&[
                ("GNU.sparse.size", b"64"),
                ("GNU.sparse.map", bad.as_bytes()),
            ]),
            file(b"x", b"sparse"),
        ]
        .concat();
        assert!(read_all(&archive).is_err(), "{bad}");
    }
}

#[test]
fn another_reader_sees_the_same() {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, len) in [
        ("a".repeat(200), 0usize),
        ("short".to_owned(), 513),
        ("b/c".into(), 512),
    ] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(len as u64);
        header.set_mode(0o4755);
        header.set_uid(3_000_000_000);
        header.set_mtime(1_700_000_000);
        builder
            .append_data(&mut header, &name, &vec![b'z'; len][..])
            .unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let ours = read_all(&archive).unwrap();
    let mut theirs = ::tar::Archive::new(&archive[..]);
    let theirs: Vec<_> = theirs
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.path_bytes().to_vec(),
                entry.size(),
                entry.header().uid().unwrap(),
            )
        })
        .collect();
    assert_eq!(ours.len(), 3);
    for ((entry, data), (path, size, uid)) in ours.iter().zip(theirs) {
        assert_eq!((&entry.path, entry.size, entry.uid), (&path, size, uid));
        assert_eq!((entry.mode, entry.mtime), (0o4755, (1_700_000_000, 0)));
        assert_eq!(data.len() as u64, size);
    }
}

/// TAR-11: whatever is done to an archive, reading ends, and ends with a value.
#[test]
fn mutants_never_panic_or_hang() {
    let whole = [
        pax(&[
            ("path", b"long/name"),
            ("mtime", b"1.5"),
            ("SCHILY.xattr.user.a", b"v"),
        ]),
        file(b"a", b"one"),
        header(b'5', b"dir/", 0, |_| ()),
        header(b'2', b"link", 0, |block| {
            block[157..160].copy_from_slice(b"dir")
        }),
        with_data(header(b'L', b"l", 5, |_| ()), b"gnu/n"),
        file(b"b", &[1; 600]),
        vec![0; 1024],
    ]
    .concat();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap()
    };
    let mut refused = 0;
    for _ in 0..2000 {
        let mut mutant = whole.clone();
        for _ in 0..=next() % 3 {
            let at = next() % mutant.len();
            mutant[at] = u8::try_from(next() % 256).unwrap();
        }
        if next() % 4 == 0 {
            let (a, b) = (next() % (whole.len() / 512), next() % (whole.len() / 512));
            for i in 0..512 {
                mutant.swap(a * 512 + i, b * 512 + i);
            }
        }
        refused += usize::from(read_all(&mutant).is_err());
    }
    assert!(refused > 1000, "{refused}");
}
