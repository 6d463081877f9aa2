//! Capabilities as Docker's client sends them: in one spelling, in order, each once.

use std::collections::BTreeSet;

const ALL: &str = "ALL";

/// What is added and what is dropped: adding wins, and all of them stand for each.
pub(super) fn effective(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let (add, mut drop) = (spelled(add), spelled(drop));
    drop.retain(|name| !add.contains(name));
    (add.into_iter().collect(), drop.into_iter().collect())
}

fn spelled(names: &[String]) -> BTreeSet<String> {
    let one = |name: &String| {
        let upper = name.trim().to_ascii_uppercase();
        if upper == ALL || upper.starts_with("CAP_") {
            upper
        } else {
            format!("CAP_{upper}")
        }
    };
    let names: BTreeSet<String> = names.iter().map(one).collect();
    if names.contains(ALL) {
        BTreeSet::from([ALL.to_owned()])
    } else {
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_one_way() {
        let of = |add: &[&str], drop: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            let (add, drop) = effective(&own(add), &own(drop));
            (add.join(" "), drop.join(" "))
        };
        let both = |add: &str, drop: &str| (add.to_owned(), drop.to_owned());
        assert_eq!(
            of(&["sys_time", "CAP_NET_ADMIN", "net_admin"], &["chown"]),
            both("CAP_NET_ADMIN CAP_SYS_TIME", "CAP_CHOWN")
        );
        assert_eq!(of(&["all", "x"], &["All"]), both("ALL", ""));
        assert_eq!(of(&["chown"], &["ALL"]), both("CAP_CHOWN", "ALL"));
        assert_eq!(
            of(&["chown"], &["CAP_CHOWN", "kill"]),
            both("CAP_CHOWN", "CAP_KILL")
        );
    }
}
