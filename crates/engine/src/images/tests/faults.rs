//! What registries do wrong, and clients that leave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::registry::Fault;
use super::*;

/// Longest wait for something that must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for a condition.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, wait).await;
    assert!(waited.is_ok(), "{what} did not happen");
}

fn asked(registry: &TestRegistry, digest: Digest) -> usize {
    let digest = digest.to_string();
    let state = registry.state();
    let blobs = state.requests.iter().filter(|r| r.starts_with("GET"));
    blobs.filter(|r| r.contains(&digest)).count()
}

#[tokio::test]
async fn a_download_that_is_cut_goes_on_where_it_was() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let name = name(&registry, "cut:1");
    let layer = TestLayer::new("a", 400_000);
    put_image(&registry, &name, "amd64", &[&layer]);
    let cut = Fault::Cut {
        times: 5,
        after: 60_000,
    };
    registry.fault(layer.digest(), cut);
    fixture.pull(&name).await.unwrap();
    let path = format!("GET /v2/cut/blobs/{}", layer.digest());
    let requests = registry.take_requests(&path);
    let starts: Vec<usize> = requests
        .iter()
        .map(|r| match r.rsplit_once("bytes=") {
            Some((_, range)) => range
                .trim_end_matches('-')
                .split('-')
                .next()
                .unwrap()
                .parse()
                .unwrap(),
            None => 0,
        })
        .collect();
    assert_eq!(starts, [0, 60_000, 120_000, 180_000, 240_000, 300_000]);
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_nothing_stays() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let name = name(&registry, "wrong:1");
    let layer = TestLayer::new("a", 5000);
    put_image(&registry, &name, "amd64", &[&layer]);
    registry.fault(layer.digest(), Fault::Wrong);
    let error = fixture.pull(&name).await.unwrap_err();
    let text = spec::error::chain(&error);
    assert!(text.contains(&layer.digest().to_string()), "{text}");
    assert!(fixture.store().image_of(&name).is_none());
    assert!(fixture.store().images().is_empty());
    assert!(asked(&registry, layer.digest()) <= 2);
    registry.state().faults.clear();
    fixture.pull(&name).await.unwrap();
}

#[tokio::test]
async fn a_lying_diff_id_is_refused() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let name = name(&registry, "diff:1");
    let layer = TestLayer {
        diff: Digest::of(b"something else"),
        ..TestLayer::new("a", 5000)
    };
    put_image(&registry, &name, "amd64", &[&layer]);
    let error = fixture.pull(&name).await.unwrap_err();
    let text = spec::error::chain(&error);
    assert!(text.contains(&layer.digest().to_string()), "{text}");
    assert!(fixture.store().images().is_empty());
}

#[tokio::test]
async fn a_shared_layer_is_fetched_once_and_outlives_the_first_client() {
    let (registry, fixture) = (TestRegistry::start().await, Arc::new(Fixture::new()));
    let go = Arc::new(Notify::new());
    let layer = TestLayer::new("shared", 100_000);
    registry.fault(layer.digest(), Fault::Held(Arc::clone(&go)));
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for client in 0..8 {
        let name = name(&registry, &format!("many:{}", client % 4));
        put_image(&registry, &name, "amd64", &[&layer]);
        let (fixture, counter) = (Arc::clone(&fixture), Arc::clone(&waiting));
        clients.push(tokio::spawn(async move {
            let (send, lines) = mpsc::channel(4);
            let pull = pull::pull(&fixture.hub, PullRequest::new(name), send);
            tokio::join!(pull, count_downloads(lines, &counter)).0
        }));
        let all = || waiting.load(Ordering::Relaxed) == client + 1;
        until("another client's download", all).await;
    }
    let first = clients.remove(0);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    go.notify_one();
    for client in clients {
        client.await.unwrap().unwrap();
    }
    assert_eq!(asked(&registry, layer.digest()), 1);
}

/// Counts this client once it has heard of a download.
async fn count_downloads(mut lines: mpsc::Receiver<Progress>, clients: &AtomicUsize) {
    let mut counted = false;
    while let Some(line) = lines.recv().await {
        let is_download = matches!(line, Progress::Step { action, .. } if action == "Downloading");
        if is_download && !counted {
            counted = true;
            clients.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn what_the_last_client_leaves_is_taken_up_by_the_next() {
    let (registry, fixture) = (TestRegistry::start().await, Arc::new(Fixture::new()));
    let name = name(&registry, "left:1");
    let layer = TestLayer::new("a", 200_000);
    put_image(&registry, &name, "amd64", &[&layer]);
    let never = Arc::new(Notify::new());
    registry.fault(layer.digest(), Fault::Held(never));
    let (pulling, named) = (Arc::clone(&fixture), name.clone());
    let (send, mut lines) = mpsc::channel(4);
    let client = tokio::spawn(async move {
        let request = PullRequest::new(named);
        pull::pull(&pulling.hub, request, send).await
    });
    // Half of it has come.
    let half = layer.gzip.len() as u64 / 2;
    loop {
        let line = tokio::time::timeout(DEADLINE, lines.recv()).await.unwrap();
        if let Some(Progress::Step { current, .. }) = line
            && current == half
        {
            break;
        }
    }
    client.abort();
    registry.state().faults.clear();
    fixture.pull(&name).await.unwrap();
    let requests = registry.take_requests(&format!("GET /v2/left/blobs/{}", layer.digest()));
    let last = requests.last().unwrap();
    assert!(last.contains(&format!("bytes={half}-")), "{requests:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_ends_its_pull() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let name = name(&registry, "gone:1");
    put_image(&registry, &name, "amd64", &[&TestLayer::new("a", 10)]);
    let (send, receive) = mpsc::channel(1);
    drop(receive);
    let error = pull::pull(&fixture.hub, PullRequest::new(name), send).await;
    let kind = spec::Classify::kind(&error.unwrap_err());
    assert_eq!(kind, spec::ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_layer_larger_than_it_says_is_refused() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let name = name(&registry, "large:1");
    let layer = TestLayer::new("a", 5000);
    put_image(&registry, &name, "amd64", &[&layer]);
    let key = ("large".to_owned(), layer.digest());
    let mut longer = layer.gzip.clone();
    longer.extend_from_slice(&[0; 100]);
    registry.state().blobs.insert(key, longer.into());
    let error = fixture.pull(&name).await.unwrap_err();
    let text = spec::error::chain(&error);
    assert!(text.contains(&layer.digest().to_string()), "{text}");
    assert!(matches!(error, Error::Shared(_)));
}
