//! `stats`: samples of many containers, shown once or drawn over and over.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use api::client::{Client, ClientError, Query, Request, escape};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::stats::{Figures, KIND, TABLE, Usage, row};
use crate::output::{render, short_id, text};
use crate::tree::Run;

/// How often the screen is drawn.
const REDRAW: Duration = Duration::from_millis(500);
/// How long a container may be silent before its figures are taken away.
const SILENCE: Duration = Duration::from_secs(2);

type Board = Rc<RefCell<Vec<Usage>>>;

/// `stats`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let given = flags.str("format");
        let format = if given.is_empty() {
            app.config.text("statsFormat")
        } else {
            given
        };
        let format = if matches!(format, "" | "table") {
            TABLE
        } else {
            format
        };
        let trunc = !flags.bool("no-trunc");
        let watch_all = flags.args.is_empty();
        let names = match watch_all {
            true => running(&app.client, flags.bool("all")).await?,
            false => flags.args.clone(),
        };
        if flags.bool("no-stream") {
            let usages = join_all(names.iter().map(|name| once(&app.client, name))).await;
            let failed: Vec<String> = usages
                .iter()
                .filter_map(|u| Some(u.as_ref().err()?.to_string()))
                .collect();
            if !watch_all {
                Failure::join(failed)?;
            }
            let rows: Vec<_> = usages
                .iter()
                .flatten()
                .map(|usage| row(usage, trunc))
                .collect();
            return app.put(render(&KIND, format, &rows)?);
        }
        if !watch_all {
            // An unknown name ends it before anything is drawn.
            let found = join_all(
                names
                    .iter()
                    .map(|name| super::each::inspect(&app.client, name)),
            )
            .await;
            let failed: Vec<String> = found
                .iter()
                .filter_map(|f| Some(f.as_ref().err()?.to_string()))
                .collect();
            Failure::join(failed)?;
        }
        LocalSet::new()
            .run_until(live(
                app,
                names,
                watch_all,
                flags.bool("all"),
                format,
                trunc,
            ))
            .await
    })
}

async fn running(client: &Client, all: bool) -> Result<Vec<String>, ClientError> {
    let mut query = Query::new();
    query.add_flag("all", all);
    let list = client
        .json(Request::get("/containers/json").query(&query))
        .await?;
    let ids = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| short_id(text(c, "Id")).to_owned());
    Ok(ids.collect())
}

fn usage(asked: &str, sample: &Value) -> Usage {
    Usage {
        asked: asked.to_owned(),
        name: text(sample, "name").to_owned(),
        id: text(sample, "id").to_owned(),
        figures: Some(Figures::of(sample)),
    }
}

async fn once(client: &Client, name: &str) -> Result<Usage, ClientError> {
    let path = format!("/containers/{}/stats", escape(name));
    let sample = client
        .json(Request::get(path).query(&Query::new().with("stream", "0")))
        .await?;
    Ok(usage(name, &sample))
}

async fn live(
    app: &App,
    names: Vec<String>,
    watch_all: bool,
    all: bool,
    format: &str,
    trunc: bool,
) -> Result<(), Failure> {
    let board: Board = Rc::default();
    for name in names {
        collect(&app.client, &board, name);
    }
    if watch_all {
        tokio::task::spawn_local(follow(app.client.clone(), Rc::clone(&board), all));
    }
    // The first picture waits for the first figures, but not for ever.
    let deadline = Instant::now() + SILENCE;
    while Instant::now() < deadline && board.borrow().iter().any(|usage| usage.figures.is_none()) {
        sleep(Duration::from_millis(20)).await;
    }
    loop {
        let rows: Vec<_> = board
            .borrow()
            .iter()
            .map(|usage| row(usage, trunc))
            .collect();
        let text = render(&KIND, format, &rows)?;
        // From the top left, each line cleared to its end, then the rest of the screen.
        let mut screen = "\x1b[H".to_owned();
        for line in text.lines() {
            screen.push_str(line);
            screen.push_str("\x1b[K\n");
        }
        screen.push_str("\x1b[J");
        app.put(screen)?;
        app.flush()?;
        if rows.is_empty() && !watch_all {
            return Ok(());
        }
        sleep(REDRAW).await;
    }
}

fn collect(client: &Client, board: &Board, name: String) {
    if board.borrow().iter().any(|usage| usage.asked == name) {
        return;
    }
    board.borrow_mut().push(Usage {
        asked: name.clone(),
        ..Usage::default()
    });
    let (client, board) = (client.clone(), Rc::clone(board));
    tokio::task::spawn_local(async move {
        // A container that goes takes its line along.
        let _ = sample(&client, &board, &name).await;
        board.borrow_mut().retain(|usage| usage.asked != name);
    });
}

async fn sample(client: &Client, board: &Board, name: &str) -> Result<(), ClientError> {
    let path = format!("/containers/{}/stats", escape(name));
    let request = Request::get(path).query(&Query::new().with("stream", "1"));
    let mut samples = client.send(request).await?.json_stream();
    loop {
        let next = timeout(SILENCE, samples.next()).await;
        let mut board = board.borrow_mut();
        let Some(slot) = board.iter_mut().find(|usage| usage.asked == name) else {
            return Ok(());
        };
        match next {
            Ok(sample) => match sample? {
                Some(sample) => *slot = usage(name, &sample),
                None => return Ok(()),
            },
            Err(_) => slot.figures = None,
        }
    }
}

// Containers that come are added, those that go are taken away.
async fn follow(client: Client, board: Board, all: bool) {
    let filters = json!({"type": {"container": true}}).to_string();
    let request = Request::get("/events").query(&Query::new().with("filters", filters));
    let Ok(response) = client.send(request).await else {
        return;
    };
    let mut events = response.json_stream();
    while let Ok(Some(event)) = events.next().await {
        let id = event
            .pointer("/Actor/ID")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let id = short_id(id).to_owned();
        match text(&event, "Action") {
            "create" if all => collect(&client, &board, id),
            "start" => collect(&client, &board, id),
            "die" if !all => board.borrow_mut().retain(|usage| usage.asked != id),
            "destroy" => board.borrow_mut().retain(|usage| usage.asked != id),
            _ => {}
        }
    }
}
