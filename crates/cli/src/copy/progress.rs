//! How much was copied, on a terminal's standard error.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::app::{is_terminal, say};
use crate::units::human_size3;

/// How often the figure is drawn.
const TICK: Duration = Duration::from_millis(75);
const SAVE: &str = "\x1b[s";
const RESTORE: &str = "\x1b[u";
const ERASE_LINE: &str = "\x1b[2K";
const HIDE: &str = "\x1b[?25l";
const SHOW: &str = "\x1b[?25h";

/// Counts bytes and shows them; says nothing where it is quiet.
#[derive(Debug, Clone)]
pub struct Progress {
    bytes: Arc<AtomicU64>,
    quiet: bool,
}

impl Progress {
    /// Begins at nothing.
    pub fn new(quiet: bool) -> Self {
        Self {
            bytes: Arc::default(),
            quiet,
        }
    }

    /// So many bytes more.
    pub fn add(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn shown(&self) -> String {
        human_size3(self.bytes.load(Ordering::Relaxed) as f64)
    }

    /// Runs a copy and shows it; `header` says which way, `to` where it went.
    pub async fn watch<T, E>(
        &self,
        header: &str,
        to: &str,
        copy: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if self.quiet {
            return copy.await;
        }
        let drawn = is_terminal(io::stderr());
        if drawn {
            draw(&format!(
                "{SAVE}Preparing to copy...{HIDE}{RESTORE}{ERASE_LINE}{header}0B"
            ));
        }
        tokio::pin!(copy);
        let mut last = String::new();
        let done = loop {
            tokio::select! {
                done = &mut copy => break done,
                () = tokio::time::sleep(TICK), if drawn => {
                    let now = self.shown();
                    if now != last {
                        draw(&format!("\x1b[{}G\x1b[0K{now}", header.len() + 1));
                        last = now;
                    }
                }
            }
        };
        if drawn {
            draw(&format!("{SHOW}{RESTORE}{ERASE_LINE}"));
        }
        if done.is_ok() {
            say(&format!("Successfully copied {} to {to}", self.shown()));
        }
        done
    }
}

// There is nobody to tell when a terminal cannot be drawn on.
fn draw(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
