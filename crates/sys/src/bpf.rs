//! Programs that decide about device access of a v2 control group. See bpf(2), `BPF_CGROUP_DEVICE`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::{Error, Result};

/// One eBPF instruction, as the kernel wants it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source register in the high half.
    pub registers: u8,
    /// Distance of a jump or of memory.
    pub offset: i16,
    /// Operand.
    pub operand: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Groups below may have programs of their own; access needs the consent of all.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The first fields of `union bpf_attr` for loading.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

const _: () = assert!(size_of::<Load>() == 48);

/// The first fields of `union bpf_attr` for attaching.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

const _: () = assert!(size_of::<Attach>() == 16);

/// Has the kernel verify and load a device program.
///
/// # Errors
/// `EINVAL` or `EACCES` when the verifier refuses it, `EPERM` without the right to load programs.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd> {
    let count = u32::try_from(program.len())
        .map_err(|_| Error::new("bpf(PROG_LOAD) of a huge program", Errno::TOOBIG))?;
    let attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: count,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: `attr` is the beginning of a bpf_attr of the size given; it names `count` instructions
    // and a C string, which all outlive the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attr,
            size_of::<Load>(),
        )
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel returned a new descriptor, which nobody else knows; it is close-on-exec.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_error(format!("bpf(PROG_LOAD, {count} instructions)"))),
    }
}

/// Attaches a device program to a group; it stays while the group exists.
pub fn attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let attr = Attach {
        target_fd: group.as_raw_fd().unsigned_abs(),
        attach_bpf_fd: program.as_raw_fd().unsigned_abs(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attr` is the beginning of a bpf_attr of the size given and outlives the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attr,
            size_of::<Attach>(),
        )
    };
    if status != 0 {
        return Err(last_error(format!(
            "bpf(PROG_ATTACH, cgroup {})",
            group.as_raw_fd()
        )));
    }
    Ok(())
}

fn last_error(call: String) -> Error {
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    Error::new(call, errno)
}
