//! What CNI programs were told and answered, until they have taken it back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::driver::kept::Record;

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Added {
    pub version: u32,
    pub container: String,
    pub interface: String,
    #[serde(default)]
    pub args: String,
    /// What the endpoint asked of programs that can do it.
    #[serde(default)]
    pub runtime: Value,
    /// The configuration as it was: `DEL` gets the same as `ADD`.
    pub list: Value,
    /// What the last program answered; `None` until all have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

impl Record for Added {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::kept::Kept;

    #[test]
    fn the_first_version_is_still_read() {
        let text = r#"{"version":1,"container":"c","interface":"eth0","args":"K=V",
            "runtime":{"mac":"02:00:00:00:00:01"},"list":{"name":"n"},"result":{"ips":[]}}"#;
        let added: Added = serde_json::from_str(text).unwrap();
        assert_eq!((added.version, added.args.as_str()), (1, "K=V"));
        assert_eq!(added.result, Some(serde_json::json!({"ips": []})));
        let dir = tempfile::tempdir().unwrap();
        let state = Kept::<Added>::new(dir.path().join("cni"));
        assert_eq!(state.all(), [""; 0]);
        state.write("k", &added).unwrap();
        assert_eq!(state.read("k").unwrap(), Some(added));
        let path = |key: &str| dir.path().join("cni").join(format!("{key}.json"));
        std::fs::write(path("bad"), "{").unwrap();
        std::fs::write(path("new"), text.replace(":1,", ":2,")).unwrap();
        for damaged in ["bad", "new"] {
            assert_eq!(state.read(damaged).unwrap(), None);
            assert!(!path(damaged).exists());
        }
        assert_eq!(state.all(), ["k"]);
        state.remove("k").unwrap();
        state.remove("k").unwrap();
        assert_eq!(state.read("k").unwrap(), None);
    }
}
