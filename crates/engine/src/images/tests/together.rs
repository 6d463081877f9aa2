//! Many pulls and removals of images that share layers, at once.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// Clients, and what each of them does.
const CLIENTS: usize = 8;
const ROUNDS: usize = 40;

/// Names of the files that are content of a store.
fn content(root: &Path) -> Vec<String> {
    let of = |name: &str| {
        let entries = std::fs::read_dir(root.join("store").join(name)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .map(|file| format!("{name}/{}", file.display()))
            .collect::<Vec<_>>()
    };
    let all = [
        "blobs/sha256",
        "layers",
        "images",
        "names",
        "partial",
        "ingest",
        "trash",
    ];
    all.into_iter().flat_map(of).collect()
}

/// Images that share layers, some of them all.
fn put_images(registry: &TestRegistry) -> Vec<Reference> {
    let shared = [TestLayer::new("low", 60_000), TestLayer::new("high", 9000)];
    let own = ["a", "b", "c"].map(|name| TestLayer::new(name, 3000));
    let put = |number: usize| {
        let name = name(registry, &format!("many:{number}"));
        let mut layers: Vec<&TestLayer> = shared[..=number % 2].iter().collect();
        layers.extend(own.get(number));
        put_image(registry, &name, "amd64", &layers);
        name
    };
    (0..5).map(put).collect()
}

/// Removes an image, unless another client was faster.
async fn remove(fixture: &Fixture, name: &Reference) {
    let (store, name) = (fixture.store().clone(), name.clone());
    let remove = move || match store.image_of(&name) {
        Some(id) => store.remove_image(id).map(drop),
        None => Ok(()),
    };
    match tokio::task::spawn_blocking(remove).await.unwrap() {
        Ok(()) | Err(store::Error::NoSuchImage { .. }) => {}
        Err(error) => panic!("{}", spec::error::chain(&error)),
    }
}

/// Pulls and removes at once; `leaves` says how long a client waits in a round before it leaves.
async fn come_and_go(leaves: fn(usize) -> Option<Duration>) -> (Arc<Fixture>, Vec<Reference>) {
    let (registry, fixture) = (TestRegistry::start().await, Arc::new(Fixture::new()));
    let names = put_images(&registry);
    let clients = (0..CLIENTS).map(|client| {
        let (fixture, names) = (Arc::clone(&fixture), names.clone());
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let name = &names[(client * 3 + round * (client % 3 + 1)) % names.len()];
                let patience = leaves(client + round).unwrap_or(Duration::MAX);
                if let Ok(Err(error)) = tokio::time::timeout(patience, fixture.pull(name)).await {
                    panic!("{client} {round}: {}", spec::error::chain(&error));
                }
                remove(&fixture, name).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    (fixture, names)
}

/// Waits until nothing is left but what is wanted.
async fn assert_empty(fixture: &Fixture, names: &[Reference], wanted: &str) {
    let left = || {
        let mut left = content(fixture._dir.path());
        left.retain(|path| wanted.is_empty() || !path.starts_with(wanted));
        left
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !left().is_empty() && Instant::now() < deadline {
        // What a client left at the last moment is published nevertheless.
        for name in names {
            remove(fixture, name).await;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(left(), Vec::<String>::new());
    assert_eq!(fixture.store().fsck().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_of_images_that_came_and_went_at_once() {
    let (fixture, _) = come_and_go(|_| None).await;
    assert_empty(&fixture, &[], "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_leave_in_the_middle_cost_the_others_nothing() {
    let leaves =
        |number: usize| (!number.is_multiple_of(3)).then(|| Duration::from_millis(number as u64));
    let (fixture, names) = come_and_go(leaves).await;
    // What came of a layer is kept for the next client.
    assert_empty(&fixture, &names, "partial/").await;
}
