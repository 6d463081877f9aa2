//! Registries that send too much: refused soon, in little memory.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::content::{self, Blob, Builder, Compression, Family, digest, media};
use tests::{Hostile, Own, Reply, clients, host};

/// How long anything that is refused may take.
const BOUND: Duration = Duration::from_secs(45);

/// Peak memory of a daemon, in kB; set back before by writing 5 to `clear_refs`.
fn peak(own: &Own) -> u64 {
    let pid = own.daemon().pid().expect("it runs");
    host::peak_kb(pid).expect("it runs")
}

fn calm(own: &Own) -> u64 {
    host::reset_peak(own.daemon().pid().expect("it runs"));
    peak(own)
}

clients! {
    fn huge_documents_are_refused_in_little_memory(case) {
        let Some(own) = Own::start(case.client(), &[]) else {
            return;
        };
        let hostile = Hostile::start();
        let image = content::simple("huge");
        let padded = |size: usize| {
            let text = image.manifest.value().to_string();
            let space = size - text.len();
            Blob::new(
                media::OCI_MANIFEST,
                text.replacen('{', &format!("{{{}", " ".repeat(space)), 1),
            )
        };
        hostile.forge_manifest("e2e/huge", "four", &padded((4 << 20) + 1));
        hostile.forge_manifest("e2e/huge", "sixty", &padded(60 << 20));
        hostile.forge_manifest("e2e/huge", "endless", &padded(1 << 20));
        hostile.on("/manifests/endless", Reply::real().endless());
        let many = image.clone().with_manifest(|manifest| {
            let layer = manifest["layers"][0].clone();
            manifest["layers"] = Value::Array(vec![layer; 100_000]);
        });
        hostile.serve("e2e/huge", "many", &many.content());
        let few = image.clone().with_manifest(|manifest| {
            let layer = manifest["layers"][0].clone();
            manifest["layers"] = Value::Array(vec![layer; 20_000]);
        });
        hostile.serve("e2e/huge", "few", &few.content());
        let before = calm(&own);
        for tag in ["four", "sixty", "endless", "many", "few"] {
            let begin = Instant::now();
            own.cmd(&["pull", &hostile.reference(&format!("e2e/huge:{tag}"))]).exits(1);
            assert!(begin.elapsed() < BOUND, "{tag}: {:?}", begin.elapsed());
        }
        let more = peak(&own).saturating_sub(before);
        assert!(more < 48 << 10, "{more} kB more");
        hostile.behave();
        hostile.serve("e2e/huge", "good", &image.content());
        own.cmd(&["pull", &hostile.reference("e2e/huge:good")]).ok();
        own.remove_images();
        own.retire();
    }

    fn a_layer_that_is_a_bomb_is_stopped(case) {
        let Some(own) = Own::start(case.client(), &[]) else {
            return;
        };
        let hostile = Hostile::start();
        let zeros = vec![0; 64 << 20];
        let bomb = Builder::new(Family::Oci).file("zeros", &zeros, Compression::Zstd).build();
        // What is said to be the archive is another: found out in the end, at bounded cost.
        let bomb = bomb.with_config(|c| c["rootfs"]["diff_ids"][0] = digest(b"no").into());
        hostile.serve("e2e/bomb", "one", &bomb.content());
        let before = calm(&own);
        own.cmd(&["pull", &hostile.reference("e2e/bomb:one")]).exits(1);
        let more = peak(&own).saturating_sub(before);
        assert!(more < 64 << 10, "{more} kB more");
        own.remove_images();
        own.retire();
    }
}
