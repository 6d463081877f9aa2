//! Blobs that come whole, in parts, slowly, not at all, or not as announced.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use registry::{BlobStream, Error, Result, TransportError};
use spec::Digest;

use crate::fake::{Fake, Reply, Seen, client, descriptor, payload, text};

async fn read(stream: &mut BlobStream) -> (usize, Option<Error>) {
    let mut count = 0;
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => count += chunk.len(),
            Err(error) => return (count, Some(error)),
        }
    }
    (count, None)
}

/// Opens a blob and reads it to its end or its error.
async fn fetch(fake: &Fake, bytes: &[u8], offset: u64) -> Result<(u64, usize, Option<Error>)> {
    let mut stream = fake
        .repository(None)
        .blob(&descriptor(bytes), offset)
        .await?;
    let (count, error) = read(&mut stream).await;
    assert!(stream.next().await.is_none(), "an ended stream stays ended");
    Ok((stream.offset(), count, error))
}

fn ranged(seen: &Seen, bytes: &Bytes) -> Reply {
    match seen.header("range") {
        None => Reply::new(200).body(bytes.clone()),
        Some(range) => {
            let from: usize = range
                .strip_prefix("bytes=")
                .and_then(|text| text.strip_suffix('-'))
                .unwrap()
                .parse()
                .unwrap();
            let last = bytes.len() - 1;
            Reply::new(206)
                .with(
                    "content-range",
                    format!("bytes {from}-{last}/{}", bytes.len()),
                )
                .body(bytes.slice(from..))
        }
    }
}

#[tokio::test]
async fn any_offset_is_honoured() {
    let bytes = payload(300_000);
    let body = bytes.clone();
    let fake = Fake::start(move |seen| ranged(seen, &body)).await;
    for offset in [0, 1, 299_999, 300_000, 400_000] {
        let (start, count, error) = fetch(&fake, &bytes, offset).await.unwrap();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(start, offset.min(300_000));
        assert_eq!(count as u64, 300_000 - start);
    }
    assert!(
        fake.seen()
            .iter()
            .all(|seen| seen.header("accept-encoding") == Some("identity"))
    );
    let empty = Fake::start(|_| Reply::new(200).body(Bytes::new())).await;
    assert_eq!(fetch(&empty, b"", 0).await.unwrap().1, 0);
}

#[tokio::test]
async fn a_registry_without_ranges_says_so() {
    let bytes = payload(1000);
    let body = bytes.clone();
    let fake = Fake::start(move |_| Reply::new(200).body(body.clone())).await;
    let (start, count, error) = fetch(&fake, &bytes, 500).await.unwrap();
    assert!(error.is_none());
    assert_eq!((start, count), (0, 1000));
}

#[tokio::test]
async fn wrong_ranges_are_refused() {
    let bytes = payload(1000);
    for range in [
        "bytes 0-999/1000",
        "bytes 500-998/1000",
        "bytes 500-999/2000",
        "",
        "x",
    ] {
        let body = bytes.clone();
        let fake = Fake::start(move |_| {
            Reply::new(206)
                .with("content-range", range)
                .body(body.slice(500..))
        })
        .await;
        assert!(fetch(&fake, &bytes, 500).await.is_err(), "{range}");
    }
}

#[tokio::test]
async fn cuts_are_resumed_until_the_blob_is_whole() {
    let bytes = payload(1_000_000);
    let body = bytes.clone();
    let fake = Fake::start(move |seen| {
        let from = match seen.header("range") {
            None => 0,
            Some(range) => range[6..range.len() - 1].parse::<usize>().unwrap(),
        };
        let last = body.len() - 1;
        let to = (from + 50_021).min(body.len());
        let reply = if from == 0 {
            Reply::new(200).with("content-length", body.len().to_string())
        } else {
            Reply::new(206)
                .with(
                    "content-range",
                    format!("bytes {from}-{last}/{}", body.len()),
                )
                .with("content-length", (body.len() - from).to_string())
        };
        match to == body.len() {
            true => reply.pieces(stream::iter([body.slice(from..)])),
            false => reply.then_cut(body.slice(from..to)),
        }
    })
    .await;
    let repository = fake.repository(None);
    let mut got: Vec<u8> = Vec::new();
    let mut cuts = 0;
    while got.len() < bytes.len() {
        let mut blob = repository
            .blob(&descriptor(&bytes), got.len() as u64)
            .await
            .unwrap();
        assert_eq!(blob.offset(), got.len() as u64);
        while let Some(chunk) = blob.next().await {
            match chunk {
                Ok(chunk) => got.extend_from_slice(&chunk),
                Err(error) => {
                    assert!(error.is_transient(), "{error:?}");
                    cuts += 1;
                    break;
                }
            }
        }
        assert!(cuts < 100);
    }
    assert_eq!(Digest::of(&got), Digest::of(&bytes));
    assert!(cuts >= 10, "{cuts}");
}

#[tokio::test]
async fn a_stall_and_a_trickle_end() {
    let bytes = payload(100_000);
    let first = bytes.slice(..1000);
    let stalling = Fake::start(move |_| {
        Reply::new(200)
            .with("content-length", "100000")
            .then_stall(first.clone())
    })
    .await;
    let (_, count, error) = fetch(&stalling, &bytes, 0).await.unwrap();
    let error = error.unwrap();
    assert_eq!(count, 1000);
    assert!(
        error.is_transient() && text(&error).contains("no progress"),
        "{}",
        text(&error)
    );
    let trickling = Fake::start(|_| {
        let drops = stream::repeat(Bytes::from_static(b"x")).then(|drop| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            drop
        });
        Reply::new(200)
            .with("content-length", "100000")
            .pieces(drops)
    })
    .await;
    let (count, error) = {
        let (_, count, error) = fetch(&trickling, &bytes, 0).await.unwrap();
        (count, error.unwrap())
    };
    assert!(count < 1024, "{count}");
    assert!(text(&error).contains("no progress"), "{}", text(&error));
}

#[tokio::test]
async fn a_slow_reader_is_no_stall() {
    let bytes = payload(2_000_000);
    let body = bytes.clone();
    let fake = Fake::start(move |_| Reply::new(200).body(body.clone())).await;
    let registry = client(|settings| settings.timeouts.stall = Duration::from_millis(50));
    let repository = registry.repository(&fake.name(), None);
    let mut blob = repository.blob(&descriptor(&bytes), 0).await.unwrap();
    let mut count = 0;
    let mut pauses = 0;
    while let Some(chunk) = blob.next().await {
        count += chunk.unwrap().len();
        if pauses < 3 {
            pauses += 1;
            tokio::time::sleep(Duration::from_millis(80)).await;
        }
    }
    assert_eq!(count, bytes.len());
}

#[tokio::test]
async fn lengths_that_lie_are_named() {
    let bytes = payload(1000);
    for announced in [999, 1001] {
        let fake = Fake::start(move |_| Reply::new(200).body(payload(announced))).await;
        let error = fetch(&fake, &bytes, 0).await.unwrap_err();
        let said = text(&error);
        assert!(matches!(error, Error::BlobSize { .. }), "{said}");
        assert!(
            said.contains(&Digest::of(&bytes).to_string()) && said.contains(&announced.to_string())
        );
        assert!(!error.is_transient());
    }
    // Without a length: one byte more, one byte less, no end at all.
    let more = Fake::start(|_| Reply::new(200).pieces(stream::iter([payload(1001)]))).await;
    let (_, _, error) = fetch(&more, &bytes, 0).await.unwrap();
    assert!(matches!(error, Some(Error::BlobSize { .. })));
    let less = Fake::start(|_| Reply::new(200).pieces(stream::iter([payload(999)]))).await;
    let (_, _, error) = fetch(&less, &bytes, 0).await.unwrap();
    let error = error.unwrap();
    assert!(
        matches!(
            &error,
            Error::Request {
                source: TransportError::Cut { .. },
                ..
            }
        ),
        "{error:?}"
    );
    let endless = Fake::start(|_| Reply::new(200).pieces(stream::repeat(payload(4096)))).await;
    let (_, count, error) = fetch(&endless, &bytes, 0).await.unwrap();
    assert!(matches!(error, Some(Error::BlobSize { .. })));
    assert!(count <= 1000);
}

#[tokio::test]
async fn a_blob_that_was_packed_on_the_way_is_refused() {
    let bytes = payload(1000);
    let body = bytes.clone();
    let fake = Fake::start(move |_| {
        Reply::new(200)
            .with("content-encoding", "gzip")
            .body(body.clone())
    })
    .await;
    assert!(fetch(&fake, &bytes, 0).await.is_err());
}

#[tokio::test]
async fn missing_and_broken_blobs_have_dockers_texts() {
    let fake = Fake::start(|_| {
        Reply::new(404).json(r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry","detail":{}}]}"#)
    })
    .await;
    let error = fetch(&fake, b"x", 0).await.unwrap_err();
    assert_eq!(error.to_string(), "unknown blob");
    assert!(error.is_not_found() && !error.is_transient());
    let broken = Fake::start(|_| Reply::new(502)).await;
    let error = fetch(&broken, b"x", 0).await.unwrap_err();
    assert_eq!(
        text(&error),
        "received unexpected HTTP status: 502 Bad Gateway"
    );
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_config_is_checked() {
    let fake = Fake::start(|_| Reply::new(200).body("true")).await;
    let repository = fake.repository(None);
    assert_eq!(
        repository
            .small_blob(&descriptor(b"true"), 100)
            .await
            .unwrap(),
        b"true"
    );
    let error = repository
        .small_blob(&descriptor(b"lies"), 100)
        .await
        .unwrap_err();
    assert!(
        text(&error).contains(&Digest::of(b"lies").to_string()),
        "{}",
        text(&error)
    );
    assert!(
        repository
            .small_blob(&descriptor(b"true"), 3)
            .await
            .is_err()
    );
}

/// Answers one request on each connection and hangs up on the second without a word.
async fn forgetful(listener: tokio::net::TcpListener, body: Bytes) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let body = body.clone();
        tokio::spawn(async move {
            let mut said = Vec::new();
            while !said.ends_with(b"\r\n\r\n") {
                // Who tries TLS first learns at once that there is none.
                if socket.read_buf(&mut said).await.unwrap() == 0 || !said.starts_with(b"GET ") {
                    return;
                }
            }
            let body = if said.starts_with(b"GET /v2/ ") {
                Bytes::new()
            } else {
                body
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.write_all(&body).await.unwrap();
            // The next request is heard and not answered.
            socket.read_u8().await.ok();
        });
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_under_a_request_is_no_failure() {
    let bytes = payload(5000);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = format!("{}/team/app:1", listener.local_addr().unwrap());
    tokio::spawn(forgetful(listener, bytes.clone()));
    let repository = client(|_| {}).repository(&name.parse().unwrap(), None);
    for _ in 0..3 {
        let mut blob = repository.blob(&descriptor(&bytes), 0).await.unwrap();
        let (count, error) = read(&mut blob).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(count, bytes.len());
    }
}
