//! Asking the user for a line, perhaps without showing it.

use std::io::{self, BufRead, Write};

use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::exit::Failure;

/// Shows a message on stdout and reads a line, trimmed; empty at the end of the input.
///
/// An interrupt ends the command without a word, with the terminal as it was.
pub async fn line(app: &App, message: &str) -> Result<String, Failure> {
    app.put(message)?;
    app.flush()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // The thread is left behind by a signal: it waits for a line that nobody wants any more.
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        read = read => {
            let line = read.map_err(|error| Failure::new(error.to_string()))??;
            Ok(line.trim().to_owned())
        }
        _ = interrupt.recv() => Err(ended()),
        _ = terminate.recv() => Err(ended()),
    }
}

fn ended() -> Failure {
    let _ = writeln!(io::stdout());
    Failure::code(0)
}
