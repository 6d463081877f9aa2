//! Files of web servers that are no registries.

use spec::{Classify, ErrorKind};

use crate::fake::{Fake, Reply, client, payload, text};

#[tokio::test]
async fn a_file_is_fetched_by_its_address() {
    let bytes = payload(300_000);
    let body = bytes.clone();
    let server = Fake::start(move |seen| match seen.path() {
        "/moved" => Reply::new(302).with("location", "/file"),
        "/file" => Reply::new(200).body(body.clone()),
        "/loop" => Reply::new(302).with("location", "/loop"),
        _ => Reply::new(404).body("no such file\n"),
    })
    .await;
    let client = client(|_| {});
    // Without a scheme it is one of http.
    let address = format!("{}/moved", server.host());
    let mut download = client.download(&address).await.unwrap();
    assert_eq!(download.length(), Some(300_000));
    assert_eq!(download.url(), format!("http://{address}"));
    let mut all = Vec::new();
    while let Some(chunk) = download.next().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    assert!(all == bytes);
    let url = server.url();
    let error = client.download(&format!("{url}/none")).await.unwrap_err();
    let want = format!("failed to GET {url}/none with status 404 Not Found: no such file");
    assert_eq!((text(&error), error.kind()), (want, ErrorKind::NotFound));
    let error = client.download(&format!("{url}/loop")).await.unwrap_err();
    assert!(
        text(&error).contains("stopped after 10 redirects"),
        "{error:?}"
    );
    assert!(!error.is_transient());
    for bad in ["ftp://x/y", "http://user:hush@x/y", "http://"] {
        let error = client.download(bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
        assert!(!text(&error).contains("hush"));
    }
}
