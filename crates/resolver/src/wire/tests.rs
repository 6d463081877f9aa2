//! Reading and writing, and what a stranger may send.

use super::*;

/// A query by hand: identity 0x1234, recursion desired.
fn query(name: &str, kind: u16, extra: &[u8]) -> Vec<u8> {
    let additional = u8::from(!extra.is_empty());
    let mut bytes = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, additional];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&class::IN.to_be_bytes());
    bytes.extend_from_slice(extra);
    bytes
}

/// An OPT record that welcomes so many bytes.
fn edns(size: u16) -> Vec<u8> {
    let mut record = vec![0, 0, 41];
    record.extend_from_slice(&size.to_be_bytes());
    record.extend_from_slice(&[0; 6]);
    record
}

#[test]
fn a_question_is_read_in_lower_case_with_its_size() {
    let plain = Question::read(&query("WeB.Net", kind::A, &[])).unwrap();
    assert_eq!(plain.name.as_deref(), Some("web.net"));
    assert_eq!((plain.kind, plain.class, plain.udp_size), (1, 1, 512));
    let large = Question::read(&query("web", kind::AAAA, &edns(4096))).unwrap();
    assert_eq!((large.kind, large.udp_size), (28, 4096));
    let small = Question::read(&query("web", kind::A, &edns(100))).unwrap();
    assert_eq!(small.udp_size, 512);
    let root = Question::read(&query("", kind::A, &[])).unwrap();
    assert_eq!(root.name.as_deref(), Some(""));
    let mut dotted = query("a-b", kind::A, &[]);
    dotted[14] = b'.';
    assert_eq!(Question::read(&dotted).unwrap().name, None);
}

#[test]
fn what_is_no_question_is_refused() {
    let good = query("web", kind::A, &[]);
    let format = Err(Refusal::Answer(Code::FormatError));
    assert_eq!(Question::read(&good[..11]), Err(Refusal::Ignore));
    assert_eq!(Question::read(&good[..14]), format);
    assert_eq!(Question::read(&good[..good.len() - 1]), format);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Question::read(&bytes)
    };
    assert_eq!(with(2, 0x81), Err(Refusal::Ignore), "an answer");
    assert_eq!(with(2, 0x29), Err(Refusal::Answer(Code::NotImplemented)));
    assert_eq!(with(5, 0), format, "no question");
    assert_eq!(with(5, 2), format, "two questions");
    assert_eq!(with(7, 2), format, "two answers");
    assert_eq!(with(11, 3), format, "three additional records");
    assert_eq!(with(11, 1), format, "a record that is missing");
    assert_eq!(with(12, 0xc0), format, "a name that points");
    assert_eq!(with(12, 0x40), format, "a label of no known kind");
    let long = vec!["a".repeat(63); 4].join(".");
    assert_eq!(Question::read(&query(&long, kind::A, &[])), format);
    let most = format!("{}.{}", vec!["a".repeat(63); 3].join("."), "b".repeat(61));
    let most = Question::read(&query(&most, kind::A, &[])).unwrap();
    assert_eq!(most.name.unwrap().len(), 253);
}

#[test]
fn an_answer_repeats_the_question_and_is_cut_where_it_must_be() {
    let bytes = query("WeB", kind::A, &edns(1232));
    let question = Question::read(&bytes).unwrap();
    let mut answer = Answer::new(&bytes, &question, 512);
    answer.ipv4([10, 0, 0, 1].into());
    let message = answer.finish();
    assert_eq!(
        message[..12],
        [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]
    );
    assert_eq!(message[12..16], *b"\x03WeB");
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 1];
    assert_eq!(message[question.end..], record);
    let mut many = Answer::new(&bytes, &question, 512);
    for last in 0..=255 {
        many.ipv4([10, 0, 0, last].into());
    }
    let many = many.finish();
    assert!(many.len() <= 512 && many.len() + 16 > 512);
    assert_eq!(many[2] & 0x02, 0x02, "it says that it was cut");
    assert_eq!(usize::from(many[7]), (many.len() - question.end) / 16);
}

#[test]
fn failures_say_no_more_than_they_must() {
    let bytes = query("web", kind::A, &edns(1232));
    let end = Question::read(&bytes).unwrap().end;
    let refused = failure(&bytes, end, Code::ServerFailure);
    assert_eq!(
        refused[..12],
        [0x12, 0x34, 0x81, 0x02, 0, 1, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(refused[12..], bytes[12..end]);
    let malformed = header_only(&bytes, Code::FormatError);
    assert_eq!(malformed, [0x12, 0x34, 0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn names_that_cannot_be_on_the_wire_are_not_answered() {
    let bytes = query("1.0.0.10.in-addr.arpa", kind::PTR, &[]);
    let question = Question::read(&bytes).unwrap();
    let answered = |name: &str| {
        let mut answer = Answer::new(&bytes, &question, 512);
        answer.name(name);
        answer.finish()[7]
    };
    assert_eq!(answered("web.net"), 1);
    assert_eq!(answered("web..net"), 0);
    assert_eq!(answered(&"a".repeat(64)), 0);
    assert_eq!(answered(&vec!["a".repeat(63); 5].join(".")), 0);
}

#[test]
fn an_answer_must_be_one_to_this_question() {
    let bytes = query("web.example", kind::A, &[]);
    let end = Question::read(&bytes).unwrap().end;
    let mut answer = failure(&bytes, end, Code::NoError);
    assert!(matches(&bytes, end, &answer));
    answer[13] = b'W';
    assert!(
        matches(&bytes, end, &answer),
        "case is the server's to change"
    );
    answer[13] = b'x';
    assert!(!matches(&bytes, end, &answer));
    assert!(matches(
        &bytes,
        end,
        &header_only(&bytes, Code::FormatError)
    ));
    assert!(!matches(&bytes, end, &bytes), "a question is no answer");
    assert!(!matches(&bytes, end, &answer[..5]));
    answer[13] = b'w';
    answer[0] ^= 1;
    assert!(!matches(&bytes, end, &answer), "another identity");
}

#[test]
fn the_same_question_may_differ_in_identity_and_case_only() {
    let one = query("web.example", kind::A, &edns(1232));
    let end = Question::read(&one).unwrap().end;
    let mut other = query("WEB.example", kind::A, &edns(1232));
    other[0] = 9;
    assert!(same_question(&one, end, &other));
    assert!(!same_question(
        &one,
        end,
        &query("web.example", kind::AAAA, &edns(1232))
    ));
    assert!(!same_question(
        &one,
        end,
        &query("web.example", kind::A, &edns(4096))
    ));
    assert!(!same_question(
        &one,
        end,
        &query("web.example", kind::A, &[])
    ));
}

/// A deterministic mutation run: whatever comes, it is read or refused, and answers fit.
#[test]
fn mutated_messages_are_read_or_refused() {
    let seeds = [
        query("web", kind::A, &[]),
        query("a.b.c.example.org", kind::AAAA, &edns(4096)),
        query("1.0.0.10.in-addr.arpa", kind::PTR, &edns(512)),
        query(&vec!["a".repeat(63); 3].join("."), kind::ANY, &[]),
    ];
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % u64::try_from(below.max(1)).unwrap()).unwrap()
    };
    let (mut read, mut refused) = (0, 0);
    for round in 0..200_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            match next(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, 0xc0),
                2 => bytes.extend(std::iter::repeat_n(0xc0, next(40))),
                _ if at < bytes.len() => bytes[at] = u8::try_from(next(256)).unwrap(),
                _ => {}
            }
        }
        match Question::read(&bytes) {
            Err(Refusal::Ignore) => refused += 1,
            Err(Refusal::Answer(code)) => {
                assert_eq!(header_only(&bytes, code).len(), HEADER);
                refused += 1;
            }
            Ok(question) => {
                read += 1;
                let mut answer = Answer::new(&bytes, &question, question.udp_size);
                answer.ipv4([1, 2, 3, 4].into());
                let answer = answer.finish();
                assert!(answer.len() <= question.udp_size);
                assert!(matches(&bytes, question.end, &answer));
                assert!(same_question(&bytes, question.end, &bytes));
            }
        }
    }
    assert!(read > 10_000 && refused > 10_000, "{read} {refused}");
}
