//! Removals at the same time: whoever takes the last name away takes the image away.

use std::sync::Barrier;

use tests::http::Connection;
use tests::{api, image, tarball::Tarball};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

api! {
    fn the_last_of_several_names_takes_the_image_along(case) {
        if case.is_reference() {
            // Only we promise it.
            return;
        }
        for round in 0..20 {
            let repository = case.name(&format!("r{round}"));
            let layer = Tarball::default().file("f", 0o644, repository.as_bytes()).finish();
            let archive = image::saved(&format!("{repository}:a"), &[layer]);
            let socket = case.target().socket();
            let mut connection = Connection::open(socket).expect("it answers");
            let loaded = connection.upload("POST", "/images/load", archive.as_slice());
            assert_eq!(loaded.expect("it answers").status, 200);
            let found = case.api("GET", &format!("/images/{repository}:a/json"), None);
            let id = found.json()["Id"].as_str().expect("an id").to_owned();
            for tag in &NAMES[1..] {
                let path = format!("/images/{repository}:a/tag?repo={repository}&tag={tag}");
                assert_eq!(case.api("POST", &path, None).status, 201);
            }
            let all_are_there = Barrier::new(NAMES.len());
            std::thread::scope(|scope| {
                for tag in NAMES {
                    let (repository, all_are_there) = (&repository, &all_are_there);
                    scope.spawn(move || {
                        let mut connection = Connection::open(socket).expect("it answers");
                        all_are_there.wait();
                        let path = format!("/images/{repository}:{tag}");
                        let removed = connection.exchange("DELETE", &path, &[], b"");
                        assert_eq!(removed.expect("it answers").status, 200, "{tag}");
                    });
                }
            });
            assert_eq!(case.api("GET", &format!("/images/{id}/json"), None).status, 404, "{round}");
        }
    }
}
