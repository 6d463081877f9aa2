//! The wire forms are pinned: a change here is a change of the protocol's version.

use std::os::fd::AsFd;

use super::*;

fn id() -> ContainerId {
    "a".repeat(64).parse().unwrap()
}

#[test]
fn requests_have_their_documented_form() {
    let attach = Call {
        id: 7,
        request: Request::Attach(Attach {
            exec: None,
            streams: Streams {
                stdin: true,
                stdout: true,
                stderr: false,
            },
        }),
    };
    for (call, want) in [
        (
            attach,
            r#"{"id":7,"request":{"attach":{"streams":{"stdin":true,"stdout":true,"stderr":false}}}}"#,
        ),
        (
            Call {
                id: 8,
                request: Request::Start,
            },
            r#"{"id":8,"request":"start"}"#,
        ),
        (
            Call {
                id: 9,
                request: Request::Signal {
                    exec: None,
                    signal: Signal::TERM,
                },
            },
            r#"{"id":9,"request":{"signal":{"signal":15}}}"#,
        ),
    ] {
        let packet = Packet::encode(&call, Vec::new()).unwrap();
        assert_eq!(std::str::from_utf8(&packet.bytes).unwrap(), want);
        let (back, fds): (Call, _) = packet.decode().unwrap();
        assert_eq!(back, call);
        assert!(fds.is_empty());
    }
}

#[test]
fn events_and_state_survive_the_wire() {
    let at = Timestamp::from_unix(1_700_000_000, 5);
    let exit = Exit {
        code: 137,
        signal: Some(9),
        oom_killed: true,
        at,
        warnings: Vec::new(),
    };
    let state = State {
        version: 1,
        container: id(),
        supervisor: 12,
        status: Status::Exited,
        pid: None,
        started_at: Some(at),
        exit: Some(exit.clone()),
        execs: Vec::new(),
        oom_killed: true,
        lost_log_lines: 3,
    };
    let result = Outcome::Ok(Reply::State(Box::new(state)));
    for message in [
        Message::Event(Event::Exited(exit)),
        Message::Reply { id: 1, result },
    ] {
        let packet = Packet::encode(&message, Vec::new()).unwrap();
        let (back, _): (Message, _) = packet.decode().unwrap();
        assert_eq!(back, message);
    }
}

#[test]
fn a_long_document_travels_in_a_sealed_memfd_before_the_other_descriptors() {
    let process = spec::runtime::Process {
        env: vec![format!("A={}", "x".repeat(300_000))],
        ..Default::default()
    };
    let call = Call {
        id: 1,
        request: Request::Exec(Exec {
            id: "b".repeat(64).parse().unwrap(),
            process: Box::new(process),
            attach: Some(Streams::default()),
        }),
    };
    let (ours, _theirs) = sys::fdpass::stream_pair().unwrap();
    let inode = rustix::fs::fstat(&ours).unwrap().st_ino;
    let packet = Packet::encode(&call, vec![ours]).unwrap();
    assert!(packet.bytes.len() < 100);
    assert_eq!(packet.fds.len(), 2);
    let (back, fds): (Call, _) = packet.decode().unwrap();
    assert_eq!(back, call);
    assert_eq!(fds.len(), 1);
    assert_eq!(rustix::fs::fstat(&fds[0]).unwrap().st_ino, inode);
}

#[test]
fn hostile_messages_are_refused() {
    let unsealed = sys::memfd::create("corten-test").unwrap();
    assert!(sys::memfd::check_sealed(unsealed.as_fd()).is_err());
    let cases = [
        Packet {
            bytes: b"M".to_vec(),
            fds: Vec::new(),
        },
        Packet {
            bytes: b"M".to_vec(),
            fds: vec![unsealed],
        },
        Packet {
            bytes: b"{}".to_vec(),
            fds: Vec::new(),
        },
        Packet {
            bytes: br#"{"id":1,"request":"explode"}"#.to_vec(),
            fds: Vec::new(),
        },
        Packet {
            bytes: Vec::new(),
            fds: Vec::new(),
        },
    ];
    for packet in cases {
        assert!(packet.decode::<Call>().is_err());
    }
    let huge = vec![0u32; MAX_DOCUMENT];
    assert!(matches!(
        Packet::encode(&huge, Vec::new()),
        Err(ProtocolError::TooLong { .. })
    ));
}

#[test]
fn a_process_is_known_by_its_start_time() {
    let me = ProcessRef::of(i32::try_from(std::process::id()).unwrap()).unwrap();
    assert!(me.exists());
    assert!(
        !ProcessRef {
            start_time: me.start_time + 1,
            ..me
        }
        .exists()
    );
    assert_eq!(ProcessRef::of(0), None);
}
