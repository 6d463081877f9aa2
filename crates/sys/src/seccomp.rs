//! Loads system call filters into the kernel. See seccomp(2).

use rustix::io::Errno;

use crate::{Error, Result};

/// One instruction of a classic BPF program, as the kernel wants it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions skipped when a condition holds.
    pub jt: u8,
    /// Instructions skipped when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// Log every action but "allow".
pub const FLAG_LOG: u32 = libc::SECCOMP_FILTER_FLAG_LOG as u32;
/// Do not turn off speculation.
pub const FLAG_SPEC_ALLOW: u32 = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;
/// Load it into all threads.
pub const FLAG_TSYNC: u32 = libc::SECCOMP_FILTER_FLAG_TSYNC as u32;

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Loads a filter for this thread and its descendants, for ever.
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` in force and without "no new privileges"; `EINVAL` when the
/// program is not valid or longer than 4096 instructions.
pub fn load(program: &[Instruction], flags: u32) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| {
        Error::new(
            format!("seccomp({} instructions)", program.len()),
            Errno::INVAL,
        )
    })?;
    let argument = Program {
        length,
        instructions: program.as_ptr(),
    };
    // SAFETY: `argument` is a sock_fprog whose list has the length it tells; both outlive the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const argument,
        )
    };
    if status != 0 {
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        return Err(Error::new(
            format!("seccomp(SET_MODE_FILTER, {length} instructions)"),
            errno,
        ));
    }
    Ok(())
}
