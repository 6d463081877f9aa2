//! A pseudo-terminal with a client on it, as a person at a keyboard.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::{DEADLINE, exit_code};
use crate::wait::poll;

/// A client on a terminal of its own. Dropping it kills the client.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts the command with a new terminal as its controlling one.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal can be had");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("the terminal is ours");
        resize(&master, columns, rows);
        let path = ptsname(&master, Vec::new()).expect("it has a name").into_string();
        let path = path.expect("it is ASCII");
        let slave = File::options().read(true).write(true).open(path).expect("it can be opened");

        // setsid makes its standard input the controlling terminal: that needs no code between
        // fork and exec, which std only allows as unsafe.
        let mut wrapped = Command::new("setsid");
        wrapped.arg("--ctty").arg("--wait").arg(command.get_program()).args(command.get_args());
        wrapped.env_clear();
        for (key, value) in command.get_envs() {
            wrapped.env(key, value.unwrap_or_default());
        }
        if let Some(dir) = command.get_current_dir() {
            wrapped.current_dir(dir);
        }
        let clone = || slave.try_clone().expect("descriptors are left");
        wrapped.stdin(clone()).stdout(clone()).stderr(clone());
        let child = wrapped.spawn().expect("setsid of util-linux is installed");

        let master = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let mut reader = master.try_clone().expect("descriptors are left");
        let sink = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                sink.lock().expect("no panic while held").extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            master,
            child,
            screen,
        }
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal takes input");
    }

    /// Everything that was on the screen so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no panic while held")).into_owned()
    }

    /// Waits until the screen has shown `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let seen = poll(DEADLINE, || self.screen().contains(text).then_some(()));
        assert!(seen.is_some(), "`{text}` was never shown; the screen was\n{}", self.screen());
    }

    /// Changes the size of the window.
    pub fn resize(&self, columns: u16, rows: u16) {
        resize(&self.master, columns, rows);
    }

    /// Waits for the client to end and returns its exit code.
    #[track_caller]
    pub fn finish(mut self) -> i32 {
        let status = poll(DEADLINE, || self.child.try_wait().ok().flatten());
        match status {
            Some(status) => exit_code(status),
            None => panic!("the client still runs; the screen was\n{}", self.screen()),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail when it has ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(master: &impl AsFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).expect("a terminal has a size");
}
