//! The terminal: its size, raw mode, and giving it back.

use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;

use rustix::termios::{self, InputModes, LocalModes, OptionalActions, Termios};

// What the terminal was before raw mode: restored at every way out of the program.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Width and height of a terminal.
pub fn size(stream: impl AsFd) -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0 || size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Raw mode of stdin, ended by dropping it.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Puts stdin into raw mode; `None` when it is no terminal.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !termios::isatty(&stdin) {
            return Ok(None);
        }
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        if let Ok(mut saved) = SAVED.lock() {
            saved.get_or_insert(before);
        }
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self(())))
    }
}

/// Input that is not shown, ended by dropping it.
#[derive(Debug)]
pub struct Silent(());

impl Silent {
    /// Hides what is typed.
    ///
    /// # Errors
    ///
    /// When stdin is no terminal.
    pub fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(&stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent
            .local_modes
            .insert(LocalModes::ICANON | LocalModes::ISIG);
        silent.input_modes.insert(InputModes::ICRNL);
        if let Ok(mut saved) = SAVED.lock() {
            saved.get_or_insert(before);
        }
        termios::tcsetattr(&stdin, OptionalActions::Now, &silent)?;
        Ok(Self(()))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        restore();
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was; nothing to do when it was never taken.
pub fn restore() {
    let saved = SAVED.lock().ok().and_then(|mut saved| saved.take());
    if let Some(before) = saved {
        // The terminal may be gone, and with it the need.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}
