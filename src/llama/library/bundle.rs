//! Model files carried inside the executable.
//!
//! Layout: the executable, then every file from a multiple of 4,096 bytes on, then an index as JSON, its length as eight
//! bytes (little endian) and sixteen bytes that say what this is. The loader of the system looks at the front only.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use domain::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MARK: &[u8; 16] = b"filbert-bundle-1";
const PAGE: u64 = 4096;

/// One file inside the executable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundled {
    pub file: String,
    /// Where it begins in the executable, in bytes.
    pub offset: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// What lies in `exe`; nothing for one that was built without models.
///
/// Errors: `invalid_model_file` for a cut-off or damaged index.
pub fn index(exe: &Path) -> Result<Vec<Bundled>> {
    let mut file = File::open(exe).map_err(Error::internal)?;
    let size = file.seek(SeekFrom::End(0)).map_err(Error::internal)?;
    let mut tail = [0u8; 24];
    if size < 24 {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::End(-24)).and_then(|_| file.read_exact(&mut tail)).map_err(Error::internal)?;
    if &tail[8..] != MARK {
        return Ok(Vec::new());
    }
    let length = u64::from_le_bytes(tail[..8].try_into().map_err(Error::internal)?);
    let damaged = || Error::new(Code::InvalidModelFile, format!("the models inside `{}` are damaged; download the executable again", exe.display()));
    if length > size - 24 || length > 1 << 20 {
        return Err(damaged());
    }
    let mut text = vec![0; length as usize];
    file.seek(SeekFrom::Start(size - 24 - length)).and_then(|_| file.read_exact(&mut text)).map_err(Error::internal)?;
    let all: Vec<Bundled> = serde_json::from_slice(&text).map_err(|_| damaged())?;
    let fits = |b: &Bundled| b.offset.checked_add(b.bytes).is_some_and(|end| end <= size - 24 - length) && super::check_file_name(&b.file).is_ok();
    if all.iter().all(fits) { Ok(all) } else { Err(damaged()) }
}

/// Writes `exe` and the model files to `target`, as one executable. A bundle inside `exe` is left behind.
///
/// Errors: `internal_server_error` when a file cannot be read or written.
pub fn write(exe: &Path, models: &[PathBuf], target: &Path) -> Result<Vec<Bundled>> {
    use std::os::unix::fs::PermissionsExt;
    let inside = index(exe)?;
    let part = target.with_extension("part");
    let mut out = File::create(&part).map_err(Error::internal)?;
    let source = File::open(exe).map_err(Error::internal)?;
    let own = inside.first().map_or(u64::MAX, |b| b.offset);
    let mut at = std::io::copy(&mut source.take(own), &mut out).map_err(Error::internal)?;
    let mut all = Vec::new();
    for path in models {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        super::check_file_name(&name)?;
        let pad = at.next_multiple_of(PAGE) - at;
        out.write_all(&vec![0; pad as usize]).map_err(Error::internal)?;
        at += pad;
        let (bytes, sha256) = copy_hashed(&mut File::open(path).map_err(Error::internal)?, &mut out)?;
        all.push(Bundled { file: name, offset: at, bytes, sha256 });
        at += bytes;
    }
    let text = serde_json::to_vec(&all).map_err(Error::internal)?;
    out.write_all(&text).and_then(|()| out.write_all(&(text.len() as u64).to_le_bytes())).and_then(|()| out.write_all(MARK)).map_err(Error::internal)?;
    out.set_permissions(std::fs::Permissions::from_mode(0o755)).and_then(|()| out.sync_all()).map_err(Error::internal)?;
    std::fs::rename(&part, target).map_err(Error::internal)?;
    Ok(all)
}

/// Writes the files that `dir` lacks; each is checked, then renamed into place. A file that was deleted by hand stays
/// away (see [`set_aside`]). Returns how many were written.
///
/// Errors: `storage_full`, `invalid_model_file` when what lies in the executable has changed.
pub fn unpack(exe: &Path, dir: &Path) -> Result<usize> {
    let mut written = 0;
    for bundled in index(exe)? {
        let target = dir.join(&bundled.file);
        if target.exists() || marker(dir, &bundled.file).exists() {
            continue;
        }
        let mut source = File::open(exe).map_err(Error::internal)?;
        source.seek(SeekFrom::Start(bundled.offset)).map_err(Error::internal)?;
        let part = super::tempfile_beside(dir)?;
        let mut out = File::create(&part.0).map_err(super::io)?;
        let (_, sha256) = copy_hashed(&mut source.take(bundled.bytes), &mut out)?;
        if sha256 != bundled.sha256 {
            return Err(Error::new(Code::InvalidModelFile, format!("`{}` inside this executable is damaged; download the executable again", bundled.file)));
        }
        out.sync_all().map_err(super::io)?;
        std::fs::rename(&part.0, &target).map_err(super::io)?;
        written += 1;
    }
    Ok(written)
}

/// Remembers that a file was deleted on purpose, so that the next start does not bring it back.
pub fn set_aside(dir: &Path, file: &str) -> Result<()> {
    std::fs::write(marker(dir, file), b"").map_err(super::io)
}

fn marker(dir: &Path, file: &str) -> PathBuf {
    dir.join(format!(".{file}.deleted"))
}

/// SHA-256 of a file, in hexadecimal. Errors: `internal_server_error`.
pub fn sha256(path: &Path) -> Result<String> {
    Ok(copy_hashed(&mut File::open(path).map_err(Error::internal)?, &mut std::io::sink())?.1)
}

fn copy_hashed(from: &mut impl Read, to: &mut impl Write) -> Result<(u64, String)> {
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = from.read(&mut buffer).map_err(super::io)?;
        if n == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..n]);
        to.write_all(&buffer[..n]).map_err(super::io)?;
        bytes += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_carried_inside_an_executable_come_out_as_they_went_in_and_stay_away_once_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("exe"), vec![7u8; 10_001]).unwrap();
        std::fs::write(at("a.gguf"), vec![1u8; 5000]).unwrap();
        std::fs::write(at("b.gguf"), b"two").unwrap();
        assert_eq!(index(&at("exe")).unwrap(), []);
        let all = write(&at("exe"), &[at("a.gguf"), at("b.gguf")], &at("one")).unwrap();
        assert!(all.iter().all(|b| b.offset % PAGE == 0) && index(&at("one")).unwrap() == all);
        let models = at("models");
        std::fs::create_dir(&models).unwrap();
        assert_eq!(unpack(&at("one"), &models).unwrap(), 2);
        assert_eq!(std::fs::read(models.join("a.gguf")).unwrap(), vec![1u8; 5000]);
        std::fs::remove_file(models.join("a.gguf")).unwrap();
        set_aside(&models, "a.gguf").unwrap();
        assert_eq!(unpack(&at("one"), &models).unwrap(), 0);
        // Bundling a bundle replaces what was inside.
        assert_eq!(write(&at("one"), &[at("b.gguf")], &at("again")).unwrap().len(), 1);
        assert!(std::fs::metadata(at("again")).unwrap().len() < 20_000);
    }

    #[test]
    fn a_damaged_bundle_is_refused_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("exe"), b"program").unwrap();
        std::fs::write(at("a.gguf"), vec![1u8; 5000]).unwrap();
        let all = write(&at("exe"), &[at("a.gguf")], &at("one")).unwrap();
        let whole = std::fs::read(at("one")).unwrap();
        let models = at("models");
        std::fs::create_dir(&models).unwrap();
        let mut changed = whole.clone();
        changed[all[0].offset as usize + 17] ^= 1;
        std::fs::write(at("one"), &changed).unwrap();
        assert_eq!(unpack(&at("one"), &models).unwrap_err().code, Code::InvalidModelFile);
        let mut index_cut = whole[..4000].to_vec();
        index_cut.extend_from_slice(&whole[whole.len() - 24..]);
        std::fs::write(at("one"), &index_cut).unwrap();
        assert_eq!(unpack(&at("one"), &models).unwrap_err().code, Code::InvalidModelFile);
        assert_eq!(std::fs::read_dir(&models).unwrap().count(), 0);
    }
}
