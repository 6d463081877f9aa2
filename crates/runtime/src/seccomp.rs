//! Compiles system call filters to the kernel's classic BPF.
//!
//! ```text
//! load arch ─► one section per calling convention ─► unknown convention: kill
//! section:  load number ─► binary search over ranges of equal decisions ─► return
//!                                      └► a call with conditions: compare arguments ─► return
//! ```
//!
//! A range tree needs seven comparisons for any call where a list of rules needs hundreds, and the
//! program of Docker's default profile is about 300 instructions long. Numbers above the newest
//! call that a profile names fail with `ENOSYS`, not with the profile's error: that is what lets a C
//! library fall back to an older call. See [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html).

mod assemble;
mod numbers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use spec::runtime::{LinuxSeccomp, SeccompRule};
use sys::seccomp::Instruction;

use assemble::{Condition, Decision, Operator};
use numbers::Architecture;

/// A profile that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    /// A word the profile format does not have.
    #[error("unknown seccomp {what} `{name}`")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// What it said.
        name: String,
    },
    /// A word of the format that cannot be done here.
    #[error("seccomp {what} `{name}` is not supported")]
    Unsupported {
        /// Which field.
        what: &'static str,
        /// What it said.
        name: String,
    },
    /// A condition on an argument that system calls do not have.
    #[error("seccomp rule for `{name}` compares argument {index}: calls have arguments 0 to 5")]
    Argument {
        /// The call.
        name: String,
        /// The argument.
        index: u32,
    },
    /// More instructions than the kernel takes.
    #[error("seccomp filter has {length} instructions, the kernel takes 4096")]
    TooLong {
        /// How many.
        length: usize,
    },
}

/// `BPF_MAXINSNS` of the kernel.
const MAX_INSTRUCTIONS: usize = 4096;

const RET_ERRNO: u32 = 0x0005_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const ENOSYS: u32 = 38;

/// Translates a profile. Names that an architecture does not have are skipped there, as Docker does.
pub fn compile(profile: &LinuxSeccomp) -> Result<Vec<Instruction>, SeccompError> {
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut sections = Vec::new();
    for arch in architectures(profile)? {
        let calls = decide(profile, arch, default)?;
        sections.push((arch, assemble::section(arch, &fill(&calls, default))));
    }
    let program = assemble::program(&sections);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong {
            length: program.len(),
        });
    }
    Ok(program)
}

fn architectures(profile: &LinuxSeccomp) -> Result<Vec<Architecture>, SeccompError> {
    if profile.architectures.is_empty() {
        return Ok(vec![Architecture::NATIVE]);
    }
    let mut found = Vec::new();
    for name in &profile.architectures {
        match numbers::architecture(name) {
            Some(Some(arch)) if !found.contains(&arch) => found.push(arch),
            // x32 shares its convention with x86-64 and is refused there; foreign machines' names
            // are in every published profile and cannot matter here.
            Some(_) => {}
            None => {
                return Err(SeccompError::Unknown {
                    what: "architecture",
                    name: name.clone(),
                });
            }
        }
    }
    Ok(found)
}

/// Translates an action's name to the filter's return value.
fn action(name: &str, errno: Option<u32>) -> Result<u32, SeccompError> {
    let data = errno.unwrap_or(1) & 0xffff;
    Ok(match name {
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ERRNO" => RET_ERRNO | data,
        "SCMP_ACT_TRACE" => RET_TRACE | data,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_NOTIFY" => {
            return Err(SeccompError::Unsupported {
                what: "action",
                name: name.to_owned(),
            });
        }
        _ => {
            return Err(SeccompError::Unknown {
                what: "action",
                name: name.to_owned(),
            });
        }
    })
}

/// What the profile says of each call it names, by number.
fn decide(
    profile: &LinuxSeccomp,
    arch: Architecture,
    default: u32,
) -> Result<BTreeMap<u32, Decision>, SeccompError> {
    let mut calls: BTreeMap<u32, Decision> = BTreeMap::new();
    for rule in &profile.syscalls {
        let ret = action(&rule.action, rule.errno_ret)?;
        let conditions = conditions(rule, arch)?;
        for number in rule.names.iter().filter_map(|name| arch.number(name)) {
            let call = calls.entry(number).or_insert_with(|| Decision {
                rules: Vec::new(),
                otherwise: default,
            });
            if conditions.is_empty() {
                call.otherwise = ret;
            } else {
                call.rules.push((conditions.clone(), ret));
            }
        }
    }
    Ok(calls)
}

fn conditions(rule: &SeccompRule, arch: Architecture) -> Result<Vec<Condition>, SeccompError> {
    rule.args
        .iter()
        .map(|arg| {
            if arg.index > 5 {
                let name = rule.names.first().cloned().unwrap_or_default();
                return Err(SeccompError::Argument {
                    name,
                    index: arg.index,
                });
            }
            let operator = match arg.op.as_str() {
                "SCMP_CMP_EQ" => Operator::Equal,
                "SCMP_CMP_NE" => Operator::NotEqual,
                "SCMP_CMP_LT" => Operator::Less,
                "SCMP_CMP_LE" => Operator::LessOrEqual,
                "SCMP_CMP_GT" => Operator::Greater,
                "SCMP_CMP_GE" => Operator::GreaterOrEqual,
                "SCMP_CMP_MASKED_EQ" => Operator::MaskedEqual { mask: arg.value },
                other => {
                    let name = other.to_owned();
                    return Err(SeccompError::Unknown {
                        what: "operator",
                        name,
                    });
                }
            };
            let value = match operator {
                Operator::MaskedEqual { .. } => arg.value_two,
                _ => arg.value,
            };
            Ok(Condition {
                argument: arg.index,
                wide: arch.is_wide(),
                operator,
                value,
            })
        })
        .collect()
}

/// Turns decisions on single calls into ranges that cover every number, lowest first.
fn fill(calls: &BTreeMap<u32, Decision>, default: u32) -> Vec<(u32, Decision)> {
    let plain = |ret| Decision {
        rules: Vec::new(),
        otherwise: ret,
    };
    let mut ranges: Vec<(u32, Decision)> = Vec::new();
    let mut push = |start: u32, decision: Decision| {
        if ranges.last().is_none_or(|(_, last)| *last != decision) {
            ranges.push((start, decision));
        }
    };
    let mut next = 0;
    for (&number, decision) in calls {
        if number > next {
            push(next, plain(default));
        }
        push(number, decision.clone());
        next = number + 1;
    }
    let unknown = match default & 0xffff_0000 {
        RET_ERRNO => RET_ERRNO | ENOSYS,
        _ => default,
    };
    push(next, plain(unknown));
    ranges
}
