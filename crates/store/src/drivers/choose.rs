//! Choosing a driver: what was asked for, or what works; tried on the data root, never guessed.

use std::os::fd::AsFd;
use std::path::Path;

use super::Driver;
use crate::store::io;
use crate::trash::Scratch;
use crate::{Error, Result, Store};

/// A driver and why it is the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The driver.
    pub driver: Driver,
    /// For the log.
    pub reason: String,
    /// It is not the one that would be best.
    pub second_best: bool,
}

impl Store {
    /// Chooses the driver for new snapshots: the one that was asked for, else overlay2 where it
    /// works, else vfs.
    ///
    /// # Errors
    ///
    /// The one that was asked for does not work here: [`Error::Unsupported`].
    pub fn choose_driver(&self, asked: Option<Driver>) -> Result<Choice> {
        let choice = match asked {
            Some(driver) => {
                self.probe(driver).map_err(|error| Error::Unsupported {
                    what: format!(
                        "storage driver {driver} does not work on `{}`: {}",
                        self.layout().root().display(),
                        spec::error::chain(&error)
                    ),
                })?;
                Choice {
                    driver,
                    reason: "it was asked for, and works here".to_owned(),
                    second_best: false,
                }
            }
            None => match self.probe(Driver::Overlay2) {
                Ok(()) => Choice {
                    driver: Driver::Overlay2,
                    reason: "overlayfs works on the data root".to_owned(),
                    second_best: false,
                },
                Err(error) => Choice {
                    driver: Driver::Vfs,
                    reason: format!(
                        "overlayfs does not work on the data root: {}",
                        spec::error::chain(&error)
                    ),
                    second_best: true,
                },
            },
        };
        self.inner.state().driver = choice.driver;
        Ok(choice)
    }

    /// The driver that new snapshots have.
    pub fn driver(&self) -> Driver {
        self.inner.state().driver
    }

    /// The driver that a snapshot has.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSnapshot`].
    pub fn driver_of(&self, key: &str) -> Result<Driver> {
        self.snapshot_record(key).map(|record| record.driver)
    }

    fn probe(&self, driver: Driver) -> Result<()> {
        let scratch = Scratch::create(self.layout())?;
        match driver {
            Driver::Vfs => Ok(()),
            Driver::Btrfs => match sys::btrfs::is_btrfs(scratch.path()) {
                true => {
                    let made = sys::btrfs::create(scratch.path(), "base".as_ref());
                    made.map_err(failed("make a subvolume"))
                }
                false => Err(Error::Unsupported {
                    what: "the data root is not on a btrfs".to_owned(),
                }),
            },
            Driver::Overlay2 => probe_overlay(scratch.path(), None),
            Driver::Erofs => {
                let lower = scratch.path().join("image");
                std::fs::create_dir(&lower).map_err(io("make", &lower))?;
                let image = scratch.path().join("layer.erofs");
                super::images::make(&lower, &image, [0; 16])
                    .map_err(|source| Error::Erofs { source })?;
                probe_overlay(scratch.path(), Some((&image, &lower)))
            }
        }
    }
}

/// Mounts an overlay and removes a name of its lower layer, which makes a whiteout.
fn probe_overlay(scratch: &Path, image: Option<(&Path, &Path)>) -> Result<()> {
    let make = |name: &str| {
        let path = scratch.join(name);
        std::fs::create_dir(&path).map_err(io("make", &path))?;
        Ok::<_, Error>(path)
    };
    let (lower, upper, work) = (make("lower")?, make("upper")?, make("work")?);
    let file = lower.join("file");
    std::fs::File::create(&file).map_err(io("make", &file))?;
    let mut lowers = vec![lower];
    lowers.extend(image.map(|(_, place)| place.to_owned()));
    let probed = sys::mntns::private(|| {
        if let Some((image, place)) = image {
            sys::mount::cover_with_erofs(image, place)?;
        }
        let root = sys::mount::overlay(&sys::mount::Overlay {
            lowers: &lowers,
            upper: &upper,
            work: &work,
            volatile: false,
        })?;
        rustix::fs::unlinkat(root.as_fd(), "file", rustix::fs::AtFlags::empty())
            .map_err(|errno| sys::Error::new("unlinkat in an overlay", errno))
    });
    probed.map_err(failed("mount it"))
}

fn failed(action: &'static str) -> impl FnOnce(sys::Error) -> Error {
    move |source| Error::Sys {
        action: action.to_owned(),
        source,
    }
}
