//! Signals: handed on to a container, or a reason to give the terminal back.

use std::io;

use api::client::{Client, Query, Request};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal;

/// What has a terminal of its own.
#[derive(Debug, Clone)]
pub enum Target {
    /// A container, by id.
    Container(String),
    /// An exec, by id.
    Exec(String),
}

// Those that Docker hands on and that may be caught; a child's end and a broken pipe are ours.
const FORWARDED: [(i32, &str); 14] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (18, "CONT"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (24, "XCPU"),
    (28, "WINCH"),
    (30, "PWR"),
];

/// Hands every signal we get on to a container, for as long as the program runs.
pub fn forward(client: &Client, container: &str) -> io::Result<()> {
    for (number, name) in FORWARDED {
        let mut stream = signal(SignalKind::from_raw(number))?;
        let (client, container) = (client.clone(), container.to_owned());
        let task = async move {
            while stream.recv().await.is_some() {
                let path = format!("/containers/{container}/kill");
                let query = Query::new().with("signal", name);
                // A container that has just ended gets no signal.
                let _ = client.send(Request::post(path).query(&query)).await;
            }
        };
        drop(tokio::spawn(task));
    }
    Ok(())
}

/// Waits for a signal that ends the program, and returns its number.
pub(super) async fn deadly() -> i32 {
    let streams = [SignalKind::hangup(), SignalKind::terminate()].map(signal);
    let [Ok(mut hangup), Ok(mut terminate)] = streams else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = hangup.recv() => 1,
        _ = terminate.recv() => 15,
    }
}

/// Tells the other side our terminal's size, now and whenever it changes.
pub async fn watch_size(client: &Client, target: Target) -> io::Result<()> {
    let mut changes = signal(SignalKind::window_change())?;
    // Right after a start the other side may not be there yet: some more tries in the background.
    let done = tell_size(client, &target).await;
    let client = client.clone();
    let task = async move {
        if !done {
            for attempt in 1..=10 {
                tokio::time::sleep(std::time::Duration::from_millis(10 * attempt)).await;
                if tell_size(&client, &target).await {
                    break;
                }
            }
        }
        while changes.recv().await.is_some() {
            tell_size(&client, &target).await;
        }
    };
    drop(tokio::spawn(task));
    Ok(())
}

async fn tell_size(client: &Client, target: &Target) -> bool {
    let Some((width, height)) = terminal::size(io::stdout()) else {
        return true;
    };
    let path = match target {
        Target::Container(id) => format!("/containers/{id}/resize"),
        Target::Exec(id) => format!("/exec/{id}/resize"),
    };
    let query = Query::new()
        .with("h", height.to_string())
        .with("w", width.to_string());
    client.send(Request::post(path).query(&query)).await.is_ok()
}
