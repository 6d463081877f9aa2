//! Which device nodes the processes of a group may open: v1 files, or a program on v2.

use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Cgroup, write};
use crate::bpf::{self, Instruction};
use crate::{Error, Result};

/// Kind of device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds, every number.
    All,
    /// Character device.
    Char,
    /// Block device.
    Block,
}

/// One rule; later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// Kind of node.
    pub kind: DeviceKind,
    /// Major number, all when absent.
    pub major: Option<u32>,
    /// Minor number, all when absent.
    pub minor: Option<u32>,
    /// Opening for reading.
    pub read: bool,
    /// Opening for writing.
    pub write: bool,
    /// Making the node.
    pub mknod: bool,
}

impl fmt::Display for DeviceRule {
    /// Writes the form of the v1 files: `c 1:3 rwm`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            DeviceKind::All => return f.write_str("a"),
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (letter, wanted) in [('r', self.read), ('w', self.write), ('m', self.mknod)] {
            if wanted {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

impl Cgroup {
    /// Denies every device, then applies the rules in order. To be called once for a group.
    pub fn set_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        if let Some(dir) = self.v2() {
            return attach_program(dir, rules);
        }
        let Some(dir) = self.controller("devices") else {
            return Err(Error::new(
                "find the cgroup controller `devices`",
                Errno::NODEV,
            ));
        };
        write(dir, "devices.deny", "a")?;
        for rule in rules {
            let file = if rule.allow {
                "devices.allow"
            } else {
                "devices.deny"
            };
            write(dir, file, &rule.to_string())?;
        }
        Ok(())
    }
}

/// Loads the program of the rules and attaches it to a v2 directory.
fn attach_program(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let group = rustix::fs::open(dir, flags, Mode::empty())
        .map_err(|e| Error::new(format!("open(`{}`)", dir.display()), e))?;
    let program = bpf::load_device_program(&program(rules))?;
    bpf::attach_device_program(group.as_fd(), program.as_fd())
}

// Numbers of `struct bpf_cgroup_dev_ctx`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MKNOD | READ | WRITE;

// Opcodes of eBPF.
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const EXIT: u8 = 0x95;

// Registers. 1 is the context at first, then scratch.
const RESULT: u8 = 0;
const SCRATCH: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn op(code: u8, to: u8, from: u8, offset: i16, operand: i32) -> Instruction {
    Instruction {
        code,
        registers: from << 4 | to,
        offset,
        operand,
    }
}

/// The program that decides as the rules say: the last rule that matches wins, none means no.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut out = vec![
        // The first word has the kind in its low half and the access in its high half.
        op(LOAD_WORD, KIND, SCRATCH, 0, 0),
        op(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        op(AND, KIND, 0, 0, 0xffff),
        op(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        op(LOAD_WORD, MAJOR, SCRATCH, 4, 0),
        op(LOAD_WORD, MINOR, SCRATCH, 8, 0),
    ];
    for rule in rules.iter().rev() {
        out.extend(block(rule));
    }
    out.extend([op(MOVE, RESULT, 0, 0, 0), op(EXIT, 0, 0, 0, 0)]);
    out
}

/// One rule: tests that leave it when it does not match, then the answer.
fn block(rule: &DeviceRule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    match rule.kind {
        DeviceKind::All => {}
        DeviceKind::Char => tests.push(op(JUMP_NOT_EQUAL, KIND, 0, 0, CHAR)),
        DeviceKind::Block => tests.push(op(JUMP_NOT_EQUAL, KIND, 0, 0, BLOCK)),
    }
    let bit = |wanted: bool, bit: i32| if wanted { bit } else { 0 };
    let mask = bit(rule.mknod, MKNOD) | bit(rule.read, READ) | bit(rule.write, WRITE);
    if mask != ALL && rule.kind != DeviceKind::All {
        tests.push(op(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0));
        tests.push(op(AND, SCRATCH, 0, 0, mask));
        // Allowing needs all that is asked for, denying any of it.
        tests.push(if rule.allow {
            op(JUMP_NOT_EQUAL_REGISTER, SCRATCH, ACCESS, 0, 0)
        } else {
            op(JUMP_EQUAL, SCRATCH, 0, 0, 0)
        });
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            tests.push(op(JUMP_NOT_EQUAL, register, 0, 0, number.cast_signed()));
        }
    }
    let length = tests.len();
    for (index, test) in tests.iter_mut().enumerate() {
        if matches!(
            test.code,
            JUMP_EQUAL | JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER
        ) {
            // Over the tests that follow and the two instructions of the answer.
            test.offset = i16::try_from(length - index + 1).unwrap_or(i16::MAX);
        }
    }
    tests.extend([
        op(MOVE, RESULT, 0, 0, i32::from(rule.allow)),
        op(EXIT, 0, 0, 0, 0),
    ]);
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        allow: bool,
        kind: DeviceKind,
        numbers: (Option<u32>, Option<u32>),
        access: &str,
    ) -> DeviceRule {
        DeviceRule {
            allow,
            kind,
            major: numbers.0,
            minor: numbers.1,
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        }
    }

    /// What a program answers, by an interpreter of the few operations it uses.
    fn ask(program: &[Instruction], kind: i32, access: i32, major: i64, minor: i64) -> i64 {
        let context = [i64::from(access << 16 | kind), major, minor];
        let mut r = [0i64; 11];
        let mut at = 0usize;
        loop {
            let i = program[at];
            at += 1;
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let operand = i64::from(i.operand);
            let jump = match i.code {
                LOAD_WORD => {
                    r[to] = context[usize::try_from(i.offset).unwrap() / 4];
                    false
                }
                AND => {
                    r[to] &= operand;
                    false
                }
                SHIFT_RIGHT => {
                    r[to] >>= operand;
                    false
                }
                MOVE => {
                    r[to] = operand;
                    false
                }
                MOVE_REGISTER => {
                    r[to] = r[from];
                    false
                }
                JUMP_EQUAL => r[to] == operand,
                JUMP_NOT_EQUAL => r[to] != operand,
                JUMP_NOT_EQUAL_REGISTER => r[to] != r[from],
                EXIT => return r[0],
                other => panic!("opcode {other:#x}"),
            };
            if jump {
                at += usize::try_from(i.offset).unwrap();
            }
        }
    }

    #[test]
    fn v1_text() {
        let rule = rule(true, DeviceKind::Char, (Some(1), None), "rm");
        assert_eq!(rule.to_string(), "c 1:* rm");
    }

    #[test]
    fn the_program_decides_as_the_rules() {
        let rules = [
            rule(true, DeviceKind::Char, (None, None), "m"),
            rule(true, DeviceKind::Char, (Some(1), Some(3)), "rwm"),
            rule(true, DeviceKind::Char, (Some(136), None), "rw"),
            rule(true, DeviceKind::Block, (Some(8), None), "r"),
            rule(false, DeviceKind::Char, (Some(136), Some(7)), "w"),
        ];
        let program = program(&rules);
        for (kind, access, major, minor, allowed) in [
            (CHAR, MKNOD, 10, 229, 1),
            (CHAR, READ, 10, 229, 0),
            (CHAR, READ | WRITE, 1, 3, 1),
            (CHAR, READ | WRITE | MKNOD, 1, 3, 1),
            (CHAR, READ | WRITE, 1, 5, 0),
            (BLOCK, READ, 1, 3, 0),
            (CHAR, READ | WRITE, 136, 5, 1),
            (CHAR, READ, 136, 7, 1),
            (CHAR, READ | WRITE, 136, 7, 0),
            (BLOCK, READ, 8, 1, 1),
            (BLOCK, READ | WRITE, 8, 1, 0),
            (BLOCK, MKNOD, 8, 1, 0),
        ] {
            let answer = ask(&program, kind, access, major, minor);
            assert_eq!(answer, allowed, "{kind} {access} {major}:{minor}");
        }
        assert_eq!(ask(&super::program(&[]), CHAR, READ, 1, 3), 0);
    }
}
