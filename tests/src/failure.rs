//! Tells a failure when it happens.
//!
//! The test runner prints what failed tests say at its very end. In the log of a run that was cut
//! off, or of which only a part is kept, the reason stands beside the test this way: once at the
//! panic, and once more when the test's thread ends, which is where the runner says `FAILED`.

use std::cell::RefCell;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::Once;

/// How much of a message is told; the whole follows at the end.
const SHORT: usize = 1000;

/// The last words of a thread, told when it ends.
struct LastWords(RefCell<String>);

impl Drop for LastWords {
    fn drop(&mut self) {
        tell(&self.0.borrow());
    }
}

thread_local! {
    static LAST_WORDS: LastWords = const { LastWords(RefCell::new(String::new())) };
}

/// From now on, panics of this process are told in one line at once, past the runner's capture.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let text = line(thread.name().unwrap_or("a thread"), info);
            tell(&text);
            // A thread that is ending already has told it.
            let _ = LAST_WORDS.try_with(|words| words.0.replace(text));
            usual(info);
        }));
    });
}

fn line(thread: &str, info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("it does not say why");
    let message: String = message.chars().take(SHORT).collect();
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    format!("{thread} panicked at {place}: {}\n", message.replace('\n', " | "))
}

/// Writes past the runner's capture, which takes only what goes through std's handles.
fn tell(text: &str) {
    let owned = std::io::stderr().as_fd().try_clone_to_owned();
    // A runner that closed its end wants to hear nothing.
    let _ = owned.and_then(|fd| std::fs::File::from(fd).write_all(text.as_bytes()));
}
