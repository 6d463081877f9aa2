//! The function `printf`.

use super::funcs;
use super::value::Val;

/// Go's `fmt.Sprintf`, for the verbs that make sense on these values.
pub(super) fn printf(format: &str, args: &[Val]) -> String {
    let mut out = String::new();
    let mut args_left = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
            flags.push(flag);
        }
        let mut digits = || -> Option<usize> {
            let mut text = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                text.push(digit);
            }
            text.parse().ok()
        };
        let width = digits().unwrap_or(0);
        let precision = match chars.next_if_eq(&'.') {
            Some(_) => {
                let mut text = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    text.push(digit);
                }
                Some(text.parse().unwrap_or(0))
            }
            None => None,
        };
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(arg) = args_left.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let body = verb_text(verb, &flags, precision, arg);
        pad(&mut out, &body, width, &flags, arg);
    }
    let extra: Vec<String> = args_left
        .map(|v| format!("{}={}", v.type_name(), v.print()))
        .collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn verb_text(verb: char, flags: &str, precision: Option<usize>, arg: &Val) -> String {
    let arg = arg.bare();
    let signed = |text: String| match flags.contains('+') && !text.starts_with('-') {
        true => format!("+{text}"),
        false => text,
    };
    match (verb, arg) {
        ('v', Val::Missing) => "<nil>".to_owned(),
        ('v', Val::Str(s)) if flags.contains('#') => funcs::quote(s),
        ('v', _) => arg.print(),
        ('s', Val::Str(s)) => match precision {
            Some(p) => s.chars().take(p).collect(),
            None => s.to_string(),
        },
        ('s', Val::List(_) | Val::Map(..) | Val::Struct(_)) => arg.print(),
        ('q', Val::Str(s)) => funcs::quote(s),
        ('q', Val::List(items)) => {
            let items: Vec<String> = items.iter().map(|v| verb_text('q', "", None, v)).collect();
            format!("[{}]", items.join(" "))
        }
        ('d', Val::Int(i)) => signed(i.to_string()),
        ('x', Val::Int(i)) => format!("{i:x}"),
        ('X', Val::Int(i)) => format!("{i:X}"),
        ('o', Val::Int(i)) => format!("{i:o}"),
        ('b', Val::Int(i)) => format!("{i:b}"),
        ('c', Val::Int(i)) => u32::try_from(*i)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or('\u{fffd}')
            .to_string(),
        ('x', Val::Str(s)) => s.bytes().map(|b| format!("{b:02x}")).collect(),
        ('f' | 'F', Val::Float(f)) => signed(format!("{f:.*}", precision.unwrap_or(6))),
        ('g', Val::Float(f)) => match precision {
            Some(p) => crate::units::general(*f, p),
            None => arg.print(),
        },
        ('e', Val::Float(f)) => exponent(&format!("{f:.*e}", precision.unwrap_or(6))),
        ('t', Val::Bool(b)) => b.to_string(),
        ('T', _) => arg.type_name().to_owned(),
        (_, Val::Missing) => format!("%!{verb}(<nil>)"),
        _ => format!("%!{verb}({}={})", arg.type_name(), arg.print()),
    }
}

// Go writes a sign and two digits at least.
fn exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

fn pad(out: &mut String, body: &str, width: usize, flags: &str, arg: &Val) {
    let missing = width.saturating_sub(body.chars().count());
    if flags.contains('-') {
        out.push_str(body);
        out.push_str(&" ".repeat(missing));
    } else if flags.contains('0') && matches!(arg, Val::Int(_) | Val::Float(_)) {
        let (sign, digits) = match body.strip_prefix(['-', '+']) {
            Some(digits) => (&body[..1], digits),
            None => ("", body),
        };
        out.push_str(&format!("{sign}{}{digits}", "0".repeat(missing)));
    } else {
        out.push_str(&" ".repeat(missing));
        out.push_str(body);
    }
}
