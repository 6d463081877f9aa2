//! What a freshly forked supervisor changes about itself.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use shim::protocol::SOCKET_FILE;

/// The kernel should rather kill anything else: we hold the exit status and the log.
const OOM_SCORE: &[u8] = b"-999";

/// Becomes independent of daemon and zygote.
pub fn detach() -> sys::Result<()> {
    sys::signal::reset_dispositions();
    // A reader that is gone is told by EPIPE; a signal would end us, and the container with us.
    sys::signal::ignore(rustix::process::Signal::PIPE.as_raw())?;
    sys::signal::unblock_all()?;
    rustix::process::setsid().map_err(|e| sys::Error::new("setsid()", e))?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // The title is for people who look at the process list; it has no other use.
    let _ = rustix::thread::set_name(c"corten-shim");
    lower_oom_score();
    for number in 0..3 {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())
            .map_err(|e| sys::Error::new("open(`/dev/null`)", e))?;
        sys::signal::place(null, number)?;
    }
    Ok(())
}

fn lower_oom_score() {
    // Needs CAP_SYS_RESOURCE; without it we are as likely a victim as any process.
    if let Ok(mut file) = OpenOptions::new()
        .write(true)
        .open("/proc/self/oom_score_adj")
    {
        let _ = file.write_all(OOM_SCORE);
    }
}

/// Opens the run directory and listens in it.
pub fn listen(run_dir: &Path) -> sys::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(run_dir, flags, Mode::empty())
        .map_err(|e| sys::Error::new(format!("open(`{}`)", run_dir.display()), e))?;
    let listener = sys::fdpass::listen(dir.as_fd(), SOCKET_FILE)?;
    Ok((dir, listener))
}
