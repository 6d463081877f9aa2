//! `--security-opt`: Docker's words for filters and labels.

use super::profile::Profile;
use crate::{Error, Result};

/// Which system call filter is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeccompChoice {
    /// Docker's default.
    Default,
    /// None.
    Unconfined,
    /// The one in [`Security::profile`].
    Own,
}

/// What the options say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Security {
    /// System call filter.
    pub(crate) seccomp: SeccompChoice,
    /// A filter of the user's.
    pub(crate) profile: Option<Profile>,
    /// Privileges cannot be gained; `None` leaves it to the daemon.
    pub(crate) no_new_privileges: Option<bool>,
    /// The control groups of the container can be changed from inside.
    pub(crate) writable_cgroups: bool,
    /// What is accepted but has no effect on this host.
    pub(crate) warnings: Vec<String>,
}

impl Security {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// An option that does not exist, in Docker's words, or a profile that does not parse.
    pub(crate) fn parse(options: &[String]) -> Result<Self> {
        let mut security = Self {
            seccomp: SeccompChoice::Default,
            profile: None,
            no_new_privileges: None,
            writable_cgroups: false,
            warnings: Vec::new(),
        };
        for option in options {
            security.apply(option)?;
        }
        Ok(security)
    }

    fn apply(&mut self, option: &str) -> Result<()> {
        if option == "no-new-privileges" {
            self.no_new_privileges = Some(true);
            return Ok(());
        }
        // Docker reads `key=value`, and `key:value` from old clients.
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .ok_or_else(|| Error::invalid(format!("invalid --security-opt 1: \"{option}\"")))?;
        match (key, value) {
            ("seccomp", "unconfined") => self.seccomp = SeccompChoice::Unconfined,
            ("seccomp", "builtin" | "") => self.seccomp = SeccompChoice::Default,
            ("seccomp", text) => {
                let profile = Profile::parse(text)?;
                self.seccomp = if profile.is_empty() {
                    SeccompChoice::Unconfined
                } else {
                    SeccompChoice::Own
                };
                self.profile = Some(profile).filter(|p| !p.is_empty());
            }
            ("no-new-privileges", "true") => self.no_new_privileges = Some(true),
            ("no-new-privileges", "false") => self.no_new_privileges = Some(false),
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("writable-cgroups", "true") => self.writable_cgroups = true,
            ("writable-cgroups", "false") => self.writable_cgroups = false,
            ("apparmor", _) => self.warnings.push(
                "AppArmor profiles are not yet supported: the container runs without one"
                    .to_owned(),
            ),
            ("label", _) => self.warnings.push(
                "SELinux labels are not yet supported: the container runs without one".to_owned(),
            ),
            _ => {
                return Err(Error::invalid(format!(
                    "invalid --security-opt 2: \"{option}\""
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<Security> {
        Security::parse(&options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let security = parse(&["seccomp=unconfined", "no-new-privileges"]).unwrap();
        assert_eq!(security.seccomp, SeccompChoice::Unconfined);
        assert_eq!(security.no_new_privileges, Some(true));
        assert_eq!(
            parse(&["no-new-privileges:false"])
                .unwrap()
                .no_new_privileges,
            Some(false)
        );
        let own = parse(&[r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#]).unwrap();
        assert_eq!(own.seccomp, SeccompChoice::Own);
        assert!(own.profile.is_some());
        // Docker filters nothing with it either.
        let empty = parse(&["seccomp={}"]).unwrap();
        assert_eq!(empty.seccomp, SeccompChoice::Unconfined);
    }

    #[test]
    fn nonsense_is_refused() {
        for (option, text) in [
            ("nonsense", "invalid --security-opt 1: \"nonsense\""),
            ("a=b", "invalid --security-opt 2: \"a=b\""),
        ] {
            assert_eq!(parse(&[option]).unwrap_err().to_string(), text);
        }
        assert!(parse(&["seccomp={"]).is_err());
    }
}
