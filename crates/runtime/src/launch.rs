//! Finds the program to execute, and explains why the kernel would not execute it.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::io::Errno;
use spec::{ErrorKind, WireError};

/// Exit code of a missing program.
const NOT_FOUND: i32 = 127;
/// Exit code of a program that cannot be executed.
const CANNOT_RUN: i32 = 126;

/// How much of a script's first line the kernel reads.
const SHEBANG_MAX: usize = 256;

/// Where programs are looked for when the environment does not tell.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds a program as Docker does: a name with a slash is a path, others are looked up in `PATH`.
///
/// To be called with the container's root and the process's working directory in force.
pub(crate) fn find(name: &str, env: &[String]) -> Result<CString, WireError> {
    let text =
        |path: &str| CString::new(path).map_err(|_| failure(name, "invalid argument", CANNOT_RUN));
    if name.contains('/') {
        check(name).map_err(|problem| problem.tell(name))?;
        return text(name);
    }
    let path = env
        .iter()
        .rev()
        .find_map(|v| v.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut denied = None;
    for dir in path.split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        let candidate = format!("{}/{name}", dir.trim_end_matches('/'));
        match check(&candidate) {
            Ok(()) if !name.is_empty() => return text(&candidate),
            Err(problem @ (Problem::NotExecutable | Problem::Refused(Errno::ACCESS))) => {
                denied.get_or_insert((candidate, problem));
            }
            _ => {}
        }
    }
    let mut error = failure(name, "executable file not found in $PATH", NOT_FOUND);
    if let Some((candidate, _)) = denied {
        let hint = format!("`{candidate}` is there but has no execute permission");
        error.source = Some(Box::new(WireError::new(ErrorKind::InvalidArgument, hint)));
    }
    Err(error)
}

/// What is wrong with a path as a program.
enum Problem {
    Missing(Errno),
    Directory,
    NotExecutable,
    Refused(Errno),
}

impl Problem {
    fn tell(&self, name: &str) -> WireError {
        match self {
            Self::Missing(errno) => {
                failure(name, &format!("stat {name}: {}", plain(*errno)), NOT_FOUND)
            }
            Self::Directory => failure(name, "is a directory", CANNOT_RUN),
            Self::NotExecutable => {
                let mut error = failure(name, "permission denied", CANNOT_RUN);
                let hint = "the file has no execute permission (chmod +x)";
                error.source = Some(Box::new(WireError::new(ErrorKind::InvalidArgument, hint)));
                error
            }
            Self::Refused(errno) => {
                failure(name, &format!("stat {name}: {}", plain(*errno)), CANNOT_RUN)
            }
        }
    }
}

fn check(path: &str) -> Result<(), Problem> {
    let stat = match rustix::fs::stat(path) {
        Ok(stat) => stat,
        Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => return Err(Problem::Missing(errno)),
        Err(errno) => return Err(Problem::Refused(errno)),
    };
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => Err(Problem::Directory),
        _ if stat.st_mode & 0o111 == 0 => Err(Problem::NotExecutable),
        _ => Ok(()),
    }
}

fn failure(name: &str, what: &str, code: i32) -> WireError {
    let kind = if code == NOT_FOUND {
        ErrorKind::NotFound
    } else {
        ErrorKind::InvalidArgument
    };
    WireError {
        exit_code: Some(code),
        ..WireError::new(kind, format!("exec: {name:?}: {what}"))
    }
}

/// The words that Docker's clients look for.
fn plain(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "no such file or directory".to_owned(),
        Errno::NOTDIR => "not a directory".to_owned(),
        Errno::ACCESS => "permission denied".to_owned(),
        Errno::PERM => "operation not permitted".to_owned(),
        Errno::NOEXEC => "exec format error".to_owned(),
        Errno::TOOBIG => "argument list too long".to_owned(),
        Errno::LOOP => "too many levels of symbolic links".to_owned(),
        Errno::TXTBSY => "text file busy".to_owned(),
        Errno::NOMEM => "cannot allocate memory".to_owned(),
        other => other.to_string(),
    }
}

/// Tells why the working directory cannot be entered, in runc's words, which clients look for.
pub(crate) fn cannot_enter(path: &str, errno: Errno) -> WireError {
    let missing = errno == Errno::NOENT;
    let kind = if missing {
        ErrorKind::NotFound
    } else {
        ErrorKind::InvalidArgument
    };
    let reason = plain(errno);
    let text = format!("chdir to cwd (\"{path}\") set in config.json failed: {reason}");
    WireError {
        exit_code: Some(if missing { NOT_FOUND } else { CANNOT_RUN }),
        ..WireError::new(kind, text)
    }
}

/// Tells why `execve` of an existing file failed, after looking into the file.
pub(crate) fn explain(name: &str, path: &Path, errno: Errno) -> WireError {
    let code = if errno == Errno::NOENT {
        NOT_FOUND
    } else {
        CANNOT_RUN
    };
    let mut error = failure(name, &plain(errno), code);
    if let Some(reason) = reason(path, errno) {
        error.source = Some(Box::new(WireError::new(error.kind, reason)));
    }
    error
}

fn reason(path: &Path, errno: Errno) -> Option<String> {
    // The process may be seccomp-confined or not allowed to read: then there is no explanation.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() {
        return (errno == Errno::ACCESS).then(|| "it is not a regular file".to_owned());
    }
    let mut head = Vec::new();
    (&file)
        .take(SHEBANG_MAX as u64)
        .read_to_end(&mut head)
        .ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        return script_reason(line, errno);
    }
    if head.starts_with(b"\x7fELF") {
        return elf_reason(&file, &head, errno);
    }
    match errno {
        Errno::NOEXEC if head.is_empty() => Some("the file is empty".to_owned()),
        Errno::NOEXEC => Some("it is neither a program nor a script with a `#!` line".to_owned()),
        Errno::ACCESS if meta.mode() & 0o111 == 0 => {
            Some("the file has no execute permission (chmod +x)".to_owned())
        }
        _ => None,
    }
}

/// `line` is what follows `#!`.
fn script_reason(line: &[u8], errno: Errno) -> Option<String> {
    let line = line.split(|c| *c == b'\n').next().unwrap_or(line);
    let crlf = line.ends_with(b"\r");
    let text = String::from_utf8_lossy(line);
    let interpreter = text
        .trim_matches([' ', '\t'])
        .split([' ', '\t'])
        .next()
        .unwrap_or("");
    if interpreter.trim_end().is_empty() {
        return Some("its first line, `#!`, names no interpreter".to_owned());
    }
    if crlf && matches!(errno, Errno::NOENT | Errno::ACCESS | Errno::NOEXEC) {
        return Some(format!(
            "its first line ends in CRLF (a Windows line ending), so the interpreter is taken to be \
             `{}\\r`",
            interpreter.trim_end_matches('\r')
        ));
    }
    match errno {
        Errno::NOENT => Some(format!("its interpreter `{interpreter}` is missing")),
        Errno::ACCESS => Some(match check(interpreter) {
            Err(Problem::Directory) => format!("its interpreter `{interpreter}` is a directory"),
            Err(_) => format!("its interpreter `{interpreter}` cannot be executed"),
            Ok(()) => "the file system may be mounted noexec".to_owned(),
        }),
        Errno::NOEXEC => Some(format!(
            "its interpreter `{interpreter}` is no program for this machine"
        )),
        Errno::LOOP => Some("its interpreters are scripts nested too deeply".to_owned()),
        _ => None,
    }
}

fn elf_reason(file: &File, head: &[u8], errno: Errno) -> Option<String> {
    let elf = Elf::read(head)?;
    if elf.machine != NATIVE && !(NATIVE == 62 && elf.machine == 3) {
        return Some(format!(
            "the program is for {}, this machine is {}",
            machine(elf.machine),
            machine(NATIVE)
        ));
    }
    match errno {
        Errno::NOENT => {
            let interpreter = elf.interpreter(file)?;
            Some(format!(
                "its interpreter (dynamic loader) `{interpreter}` is missing"
            ))
        }
        Errno::ACCESS => {
            let interpreter = elf.interpreter(file);
            match interpreter.filter(|path| check(path).is_err()) {
                Some(path) => Some(format!("its interpreter `{path}` cannot be executed")),
                None => Some("no execute permission for this user, or mounted noexec".to_owned()),
            }
        }
        Errno::NOEXEC => Some("the program file is damaged or of an unknown form".to_owned()),
        _ => None,
    }
}

/// ELF machine number of this build.
const NATIVE: u16 = if cfg!(target_arch = "aarch64") {
    183
} else {
    62
};

/// The fields of an ELF header that matter here.
struct Elf {
    wide: bool,
    big_endian: bool,
    machine: u16,
    headers_at: u64,
    header_size: u16,
    header_count: u16,
}

/// Program header that names the interpreter.
const PT_INTERP: u64 = 3;

impl Elf {
    fn read(head: &[u8]) -> Option<Self> {
        let wide = *head.get(4)? == 2;
        let big_endian = *head.get(5)? == 2;
        let number = |at: usize, size: usize| number(head, at, size, big_endian);
        let half = |at: usize| number(at, 2).and_then(|n| u16::try_from(n).ok());
        Some(Self {
            wide,
            big_endian,
            machine: half(18)?,
            headers_at: if wide { number(32, 8)? } else { number(28, 4)? },
            header_size: half(if wide { 54 } else { 42 })?,
            header_count: half(if wide { 56 } else { 44 })?,
        })
    }

    fn interpreter(&self, file: &File) -> Option<String> {
        for index in 0..u64::from(self.header_count).min(128) {
            let mut header = [0u8; 56];
            let size = if self.wide { 56 } else { 32 };
            let at = self
                .headers_at
                .checked_add(index * u64::from(self.header_size))?;
            file.read_exact_at(&mut header[..size], at).ok()?;
            let number = |at: usize, size: usize| number(&header, at, size, self.big_endian);
            if number(0, 4)? != PT_INTERP {
                continue;
            }
            let (offset, length) = if self.wide {
                (number(8, 8)?, number(32, 8)?)
            } else {
                (number(4, 4)?, number(16, 4)?)
            };
            let mut path = vec![0u8; usize::try_from(length).ok()?.min(4096)];
            file.read_exact_at(&mut path, offset).ok()?;
            let end = path.iter().position(|c| *c == 0).unwrap_or(path.len());
            return Some(String::from_utf8_lossy(&path[..end]).into_owned());
        }
        None
    }
}

fn number(bytes: &[u8], at: usize, size: usize, big_endian: bool) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    Some(if big_endian {
        field.iter().fold(0, add)
    } else {
        field.iter().rev().fold(0, add)
    })
}

fn machine(number: u16) -> String {
    let name = match number {
        3 => "x86 (386)",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "PowerPC 64 (ppc64le)",
        22 => "s390x",
        40 => "ARM (arm)",
        62 => "x86-64 (amd64)",
        183 => "ARM 64 (arm64)",
        243 => "RISC-V (riscv64)",
        258 => "LoongArch (loong64)",
        other => return format!("machine {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
