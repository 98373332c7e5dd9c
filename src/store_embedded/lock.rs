//! One process a directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use domain::{Code, Error, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::blobs::io_error;

/// Held for as long as the store is open; the system lets go of it when the process ends, however it ends.
pub struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// Errors: `conflict` naming the process that has it.
    pub fn take(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io_error)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                let write = |held: &mut Flock<File>| {
                    held.set_len(0)?;
                    held.seek(SeekFrom::Start(0))?;
                    writeln!(held, "{}", std::process::id())
                };
                write(&mut held).map_err(io_error)?;
                Ok(Self(held))
            }
            Err((mut file, _)) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let folder = path.parent().unwrap_or(path).display();
                Err(Error::new(Code::Conflict, format!("the data directory `{folder}` is in use by process {}; stop it, or choose another directory with `--data`", pid.trim())))
            }
        }
    }
}
