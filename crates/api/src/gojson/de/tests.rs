//! Tests of reading JSON as Go does.

use std::collections::BTreeMap;

use super::*;

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Inner {
    memory: i64,
    weight: u16,
    size: [u32; 2],
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Outer {
    image: String,
    tty: bool,
    env: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    inner: Inner,
    rest: Option<Value>,
}

const NAMES: Names = Names {
    whole: "x.Outer",
    field_root: "",
};

fn read(text: &str) -> Result<Outer, String> {
    decode(text.as_bytes(), NAMES).map_err(|e| e.to_string())
}

#[test]
fn keys_match_in_any_case_and_the_last_wins() {
    let got =
        read(r#"{"IMAGE":"a","image":"b","tTy":true,"other":[1],"Inner":{"memory":5}}"#).unwrap();
    assert_eq!(got.image, "b");
    assert!(got.tty);
    assert_eq!(got.inner.memory, 5);
}

#[test]
fn null_is_zero_and_empty_is_not_null() {
    let got = read(r#"{"Image":null,"Env":[],"Labels":null,"Inner":null}"#).unwrap();
    assert_eq!(
        got,
        Outer {
            env: Some(Vec::new()),
            ..Outer::default()
        }
    );
    assert_eq!(read("null").unwrap(), Outer::default());
}

#[test]
fn arrays_are_cut_and_filled() {
    let got = read(r#"{"Inner":{"Size":[1,2,3]}}"#).unwrap();
    assert_eq!(got.inner.size, [1, 2]);
    let got = read(r#"{"Inner":{"Size":[7]}}"#).unwrap();
    assert_eq!(got.inner.size, [7, 0]);
}

#[test]
fn wrong_types_are_told_in_gos_words() {
    for (text, want) in [
        (
            "[]",
            "invalid JSON: json: cannot unmarshal array into Go value of type x.Outer",
        ),
        (
            r#"{"Image":1}"#,
            "invalid JSON: json: cannot unmarshal number into Go struct field .Image of type string",
        ),
        (
            r#"{"Inner":{"Memory":1.5}}"#,
            "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field .Inner.Memory of type int64",
        ),
        (
            r#"{"Inner":{"Memory":9223372036854775808}}"#,
            "invalid JSON: json: cannot unmarshal number 9223372036854775808 into Go struct field .Inner.Memory of type int64",
        ),
        (
            r#"{"Inner":{"Weight":70000}}"#,
            "invalid JSON: json: cannot unmarshal number 70000 into Go struct field .Inner.Weight of type uint16",
        ),
        (
            r#"{"Labels":{"a/b":true}}"#,
            "invalid JSON: json: cannot unmarshal bool into Go struct field .Labels.a~1b of type string",
        ),
        ("", "invalid JSON: got EOF while reading request body"),
        ("{\"a\":", "invalid JSON: unexpected EOF"),
        ("{} {}", "unexpected content after JSON"),
    ] {
        let got = read(text).unwrap_err();
        assert_eq!(got, want, "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let deep = format!(
        "{{\"Rest\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(matches!(
        decode::<Outer>(deep.as_bytes(), NAMES),
        Err(DecodeError::Syntax(_))
    ));
}
