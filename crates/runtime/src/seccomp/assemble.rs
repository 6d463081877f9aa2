//! Instructions: sections, the search tree, and comparisons of 64-bit arguments.

use std::collections::BTreeMap;

use sys::seccomp::Instruction;

use super::numbers::Architecture;

/// What happens to one call: the first rule whose conditions all hold, or else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) rules: Vec<(Vec<Condition>, u32)>,
    pub(super) otherwise: u32,
}

/// A comparison of one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u32,
    /// Whether all 64 bits count. 32-bit programs have arguments of 32 bits, but the kernel shows the
    /// filter the upper halves of the registers, too, and such a program can fill them.
    pub(super) wide: bool,
    pub(super) operator: Operator,
    pub(super) value: u64,
}

/// How an argument is compared, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    MaskedEqual { mask: u64 },
}

// Opcodes of classic BPF, `linux/bpf_common.h`.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Bit that marks a call of the x32 convention.
const X32_BIT: u32 = 0x4000_0000;
const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ENOSYS: u32 = 0x0005_0000 | 38;

fn plain(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Joins sections behind the choice of the calling convention.
pub(super) fn program(sections: &[(Architecture, Vec<Instruction>)]) -> Vec<Instruction> {
    let mut out = vec![plain(LOAD, ARCH)];
    for (arch, section) in sections {
        let length = u32::try_from(section.len()).unwrap_or(u32::MAX);
        out.push(Instruction {
            code: JUMP_EQUAL,
            jt: 1,
            jf: 0,
            k: arch.audit(),
        });
        out.push(plain(JUMP, length));
        out.extend_from_slice(section);
    }
    out.push(plain(RETURN, RET_KILL_PROCESS));
    out
}

/// The part for one calling convention; `ranges` cover every number, lowest first.
pub(super) fn section(arch: Architecture, ranges: &[(u32, Decision)]) -> Vec<Instruction> {
    let mut out = vec![plain(LOAD, NUMBER)];
    if arch == Architecture::X86_64 {
        // x32 has numbers of its own above this bit; kernels are built without it, and a filter
        // that let it through would be a second door.
        out.push(Instruction {
            code: JUMP_GREATER_OR_EQUAL,
            jt: 0,
            jf: 1,
            k: X32_BIT,
        });
        out.push(plain(RETURN, RET_ENOSYS));
    }
    out.extend(tree(ranges));
    out
}

/// The search for the range that a number is in.
fn tree(ranges: &[(u32, Decision)]) -> Vec<Instruction> {
    let mut code = Backward::default();
    let entry = code.search(ranges);
    // The search begins with the instruction emitted last, except for a single shared return.
    if entry + 1 != code.instructions.len() {
        code.jump_to(entry);
    }
    code.instructions.reverse();
    code.instructions
}

/// Code that grows from its end to its beginning, so that every jump's target has its place before
/// the jump does. Places are counted from the end.
///
/// Returns are shared: nearly all calls of a profile end in one of two, and a program half as long
/// is loaded in half the time.
#[derive(Default)]
struct Backward {
    instructions: Vec<Instruction>,
    /// The nearest return of each value.
    returns: BTreeMap<u32, usize>,
}

impl Backward {
    fn push(&mut self, instruction: Instruction) -> usize {
        self.instructions.push(instruction);
        self.instructions.len() - 1
    }

    /// How far a jump that is emitted next would reach to get to a place.
    fn distance(&self, place: usize) -> usize {
        self.instructions.len() - place - 1
    }

    /// Emits the search and returns where it begins.
    fn search(&mut self, ranges: &[(u32, Decision)]) -> usize {
        let [(_, decision)] = ranges else {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let start = high.first().map_or(0, |(start, _)| *start);
            let (high, low) = (self.search(high), self.search(low));
            let (high, low) = self.bring_near(high, low);
            let near = |distance| u8::try_from(distance).expect("brought near above");
            let jump = Instruction {
                code: JUMP_GREATER_OR_EQUAL,
                jt: near(self.distance(high)),
                jf: near(self.distance(low)),
                k: start,
            };
            return self.push(jump);
        };
        if decision.rules.is_empty() {
            return self.shared_return(decision.otherwise);
        }
        for instruction in leaf(decision).into_iter().rev() {
            self.push(instruction);
        }
        self.instructions.len() - 1
    }

    fn shared_return(&mut self, value: u32) -> usize {
        if let Some(place) = self.returns.get(&value) {
            return *place;
        }
        let place = self.push(plain(RETURN, value));
        self.returns.insert(value, place);
        place
    }

    /// A conditional jump reaches 255 instructions: puts a stepping stone before what is farther.
    fn bring_near(&mut self, mut a: usize, mut b: usize) -> (usize, usize) {
        // One stone moves the other target by one, hence the margin.
        let limit = usize::from(u8::MAX) - 1;
        for place in [&mut a, &mut b] {
            if self.distance(*place) > limit {
                *place = self.jump_to(*place);
            }
        }
        (a, b)
    }

    /// Emits something that leads to a place and returns where it is.
    fn jump_to(&mut self, place: usize) -> usize {
        let target = self.instructions[place];
        if target.code == RETURN {
            let copy = self.push(target);
            self.returns.insert(target.k, copy);
            return copy;
        }
        let distance = u32::try_from(self.distance(place)).unwrap_or(u32::MAX);
        self.push(plain(JUMP, distance))
    }
}

fn leaf(decision: &Decision) -> Vec<Instruction> {
    let mut out = Vec::new();
    for (conditions, ret) in &decision.rules {
        let mut steps: Vec<Step> = conditions.iter().flat_map(compare).collect();
        steps.push(Step::End(*ret));
        resolve(&steps, &mut out);
    }
    out.push(plain(RETURN, decision.otherwise));
    out
}

/// Where a comparison goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// The next instruction.
    On,
    /// The condition holds: the next condition, or the rule's return.
    Holds,
    /// The rule does not match: the next rule.
    Fails,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Plain(Instruction),
    Jump {
        code: u16,
        k: u32,
        yes: To,
        no: To,
    },
    /// The last step of a condition has this behind it.
    Mark,
    End(u32),
}

/// Compares an argument of 32 bits.
fn compare_half(condition: &Condition) -> Vec<Step> {
    let low = |value: u64| (value & 0xffff_ffff) as u32;
    let (code, yes, no) = match condition.operator {
        Operator::Equal | Operator::MaskedEqual { .. } => (JUMP_EQUAL, To::Holds, To::Fails),
        Operator::NotEqual => (JUMP_EQUAL, To::Fails, To::Holds),
        Operator::Greater => (JUMP_GREATER, To::Holds, To::Fails),
        Operator::GreaterOrEqual => (JUMP_GREATER_OR_EQUAL, To::Holds, To::Fails),
        Operator::Less => (JUMP_GREATER_OR_EQUAL, To::Fails, To::Holds),
        Operator::LessOrEqual => (JUMP_GREATER, To::Fails, To::Holds),
    };
    let mut steps = vec![Step::Plain(plain(LOAD, ARGUMENTS + 8 * condition.argument))];
    if let Operator::MaskedEqual { mask } = condition.operator {
        steps.push(Step::Plain(plain(AND, low(mask))));
    }
    let k = low(condition.value);
    steps.extend([Step::Jump { code, k, yes, no }, Step::Mark]);
    steps
}

/// Compares a 64-bit argument with the 32-bit operations there are: high half, then low half.
fn compare(condition: &Condition) -> Vec<Step> {
    if !condition.wide {
        return compare_half(condition);
    }
    let low_at = ARGUMENTS + 8 * condition.argument;
    let halves = |value: u64| ((value >> 32) as u32, (value & 0xffff_ffff) as u32);
    let (high, low) = halves(condition.value);
    let load = |at| Step::Plain(plain(LOAD, at));
    let jump = |code, k, yes, no| Step::Jump { code, k, yes, no };
    // For orderings: `yes` when the high halves already decide, else compare the low halves.
    let ordered = |above: To, below: To, code: u16, yes: To, no: To| {
        vec![
            load(low_at + 4),
            jump(JUMP_GREATER, high, above, To::On),
            jump(JUMP_EQUAL, high, To::On, below),
            load(low_at),
            jump(code, low, yes, no),
            Step::Mark,
        ]
    };
    match condition.operator {
        Operator::Equal => vec![
            load(low_at + 4),
            jump(JUMP_EQUAL, high, To::On, To::Fails),
            load(low_at),
            jump(JUMP_EQUAL, low, To::Holds, To::Fails),
            Step::Mark,
        ],
        Operator::NotEqual => vec![
            load(low_at + 4),
            jump(JUMP_EQUAL, high, To::On, To::Holds),
            load(low_at),
            jump(JUMP_EQUAL, low, To::Fails, To::Holds),
            Step::Mark,
        ],
        Operator::MaskedEqual { mask } => {
            let (mask_high, mask_low) = halves(mask);
            vec![
                load(low_at + 4),
                Step::Plain(plain(AND, mask_high)),
                jump(JUMP_EQUAL, high, To::On, To::Fails),
                load(low_at),
                Step::Plain(plain(AND, mask_low)),
                jump(JUMP_EQUAL, low, To::Holds, To::Fails),
                Step::Mark,
            ]
        }
        Operator::Greater => ordered(To::Holds, To::Fails, JUMP_GREATER, To::Holds, To::Fails),
        Operator::GreaterOrEqual => ordered(
            To::Holds,
            To::Fails,
            JUMP_GREATER_OR_EQUAL,
            To::Holds,
            To::Fails,
        ),
        Operator::Less => ordered(
            To::Fails,
            To::Holds,
            JUMP_GREATER_OR_EQUAL,
            To::Fails,
            To::Holds,
        ),
        Operator::LessOrEqual => ordered(To::Fails, To::Holds, JUMP_GREATER, To::Fails, To::Holds),
    }
}

/// Gives the jumps of one rule their distances.
fn resolve(steps: &[Step], out: &mut Vec<Instruction>) {
    let mut position = Vec::with_capacity(steps.len());
    let mut length = 0usize;
    for step in steps {
        position.push(length);
        length += usize::from(!matches!(step, Step::Mark));
    }
    for (index, step) in steps.iter().enumerate() {
        match *step {
            Step::Plain(instruction) => out.push(instruction),
            Step::Mark => {}
            Step::End(ret) => out.push(plain(RETURN, ret)),
            Step::Jump { code, k, yes, no } => {
                let mark = (index..steps.len())
                    .find(|i| matches!(steps[*i], Step::Mark))
                    .map_or(length, |i| position[i]);
                let distance = |to: To| {
                    let target = match to {
                        To::On => position[index] + 1,
                        To::Holds => mark,
                        To::Fails => length,
                    };
                    // At most six conditions of six instructions each.
                    u8::try_from(target - position[index] - 1).unwrap_or(u8::MAX)
                };
                out.push(Instruction {
                    code,
                    jt: distance(yes),
                    jf: distance(no),
                    k,
                });
            }
        }
    }
}
