//! Loop devices: a file as a block device. See loop(4).
//!
//! Devices are made with automatic release: the kernel frees one with its last user, so that no
//! crash leaves any behind.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;

use crate::{Error, Result};

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// Others take free devices too: so often another one is asked for.
const TRIES: usize = 64;

/// `struct loop_info64`, of which only the flags are of use here.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`, Linux 5.8.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo>() == 232);
const _: () = assert!(size_of::<LoopConfig>() == 304);

/// A loop device; freed with its last user, of which this is one.
#[derive(Debug)]
pub struct Loop {
    /// `/dev/loop7`.
    pub path: PathBuf,
    /// Keeps it while nothing else does.
    pub device: OwnedFd,
}

/// Makes a file a block device.
///
/// # Errors
///
/// No loop devices, no permission.
pub fn attach(image: &File) -> Result<Loop> {
    let control = open("/dev/loop-control")?;
    for _ in 0..TRIES {
        // SAFETY: this request takes no argument; the descriptor is open for the call.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        if number < 0 {
            return Err(last("ioctl(LOOP_CTL_GET_FREE)"));
        }
        let path = format!("/dev/loop{number}");
        let device = match open(&path) {
            Ok(device) => device,
            // Somebody removed it in between.
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NXIO) => continue,
            Err(error) => return Err(error),
        };
        // Reading around the page cache of the file halves the memory; not every file system can.
        for flags in [LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, LO_FLAGS_AUTOCLEAR] {
            match configure(&device, image, flags) {
                Ok(()) => {
                    return Ok(Loop {
                        path: path.into(),
                        device: device.into(),
                    });
                }
                Err(error) if error.errno() == Errno::INVAL => {}
                Err(error) if error.errno() == Errno::BUSY => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(Error::new("ioctl(LOOP_CONFIGURE)", Errno::BUSY))
}

fn configure(device: &File, image: &File, flags: u32) -> Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(image.as_fd().as_raw_fd()).unwrap_or(u32::MAX),
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            sizelimit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` is a loop_config as the kernel defines it and outlives the call; both
    // descriptors are open.
    let status = unsafe {
        libc::ioctl(
            device.as_raw_fd(),
            LOOP_CONFIGURE as _,
            std::ptr::from_ref(&config),
        )
    };
    if status < 0 {
        return Err(last("ioctl(LOOP_CONFIGURE)"));
    }
    Ok(())
}

fn open(path: &str) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Error::new(format!("open(`{path}`)"), errno)
        })
}

fn last(call: &str) -> Error {
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    Error::new(call, errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_file_is_a_device_until_its_last_user_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let image = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        image.set_len(1 << 20).unwrap();
        let made = attach(&image).unwrap();
        let device = OpenOptions::new().write(true).open(&made.path).unwrap();
        device.write_all_at(b"hello", 4096).unwrap();
        device.sync_all().unwrap();
        let mut bytes = [0; 5];
        image.read_exact_at(&mut bytes, 4096).unwrap();
        assert_eq!(&bytes, b"hello");
        let name = made.path.file_name().unwrap().to_str().unwrap().to_owned();
        drop((made, device));
        let backing = format!("/sys/block/{name}/loop/backing_file");
        let ours = || {
            std::fs::read_to_string(&backing)
                .is_ok_and(|text| text.trim() == path.to_str().unwrap())
        };
        // The kernel frees it in its own time.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while ours() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(!ours());
    }
}
