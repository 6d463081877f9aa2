//! `docs/compat.md` says what the table of routes says.

use daemon::router::Support;
use daemon::routes::ROUTES;

#[test]
fn the_document_has_every_route() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compat.md");
    let document = std::fs::read_to_string(path).unwrap();
    for route in ROUTES {
        let state = match route.support {
            Support::Done => "done".to_owned(),
            Support::Partial(what) => format!("partial: {what}"),
            Support::Refused => "refused".to_owned(),
        };
        let row = format!("| {} | `{}` | {state} |\n", route.method, route.pattern);
        assert!(document.contains(&row), "missing: {row}");
    }
    let rows = document.lines().filter(|l| l.contains(" | `/")).count();
    assert_eq!(rows, ROUTES.len());
}
