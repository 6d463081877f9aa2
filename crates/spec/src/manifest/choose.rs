//! Which entry of an index fits a platform.
//!
//! The order is that of containerd's `platforms.Only`, which Docker uses: the platform itself,
//! then its variants downwards, then the 32-bit platform that the processor also runs.

use super::{Descriptor, Index};
use crate::Platform;

/// ARM variants that a 64-bit processor runs, best first.
const ARM_VARIANTS: [u32; 4] = [8, 7, 6, 5];

pub(super) fn candidates<'i>(index: &'i Index, wanted: &Platform) -> Vec<&'i Descriptor> {
    let order = order(wanted);
    let mut fitting: Vec<(usize, &Descriptor)> = index
        .images()
        .filter_map(|entry| match entry.platform() {
            None => Some((usize::MAX, entry)),
            Some(found) => order
                .iter()
                .position(|fits| *fits == found)
                .map(|rank| (rank, entry)),
        })
        .collect();
    fitting.sort_by_key(|(rank, _)| *rank);
    fitting.into_iter().map(|(_, entry)| entry).collect()
}

/// Everything that runs on a platform, best first.
fn order(wanted: &Platform) -> Vec<Platform> {
    let make = |architecture: &str, variant: &str| {
        // Through the constructor, which brings variants into their normal form.
        Platform::new(&wanted.os, architecture, variant)
    };
    let mut order = vec![wanted.clone()];
    let number = wanted
        .variant
        .strip_prefix('v')
        .and_then(|text| text.parse::<u32>().ok());
    match wanted.architecture.as_str() {
        "amd64" => {
            let below = (1..number.unwrap_or(1).min(10)).rev();
            order.extend(below.map(|level| make("amd64", &format!("v{level}"))));
            order.push(make("386", ""));
        }
        "arm" => {
            let mine = number.unwrap_or(7);
            let below = ARM_VARIANTS.into_iter().filter(|level| *level < mine);
            order.extend(below.map(|level| make("arm", &format!("v{level}"))));
        }
        "arm64" => {
            if !wanted.variant.is_empty() {
                order.push(make("arm64", ""));
            }
            order.extend(ARM_VARIANTS.map(|level| make("arm", &format!("v{level}"))));
        }
        _ => {}
    }
    order
}
