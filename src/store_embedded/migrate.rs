//! Lifting older schemas.

use std::io::Write;
use std::path::Path;

use domain::{Code, Error, Result};

use crate::{
    archive,
    blobs::io_error,
    commit::store_error,
    keys,
};

/// One step from a schema version to the next.
pub struct Migration {
    /// The version it leads to.
    pub to: u32,
    pub name: &'static str,
    /// Writes its changes into the batch; they are applied together with the new version, or not at all.
    pub run: fn(&sled::Tree, &mut sled::Batch) -> Result<()>,
}

/// Every migration, in order. A new one goes to the end, with `SCHEMA_VERSION` raised to its `to`.
pub const MIGRATIONS: &[Migration] = &[];

/// The version a list of migrations leads to.
fn newest(migrations: &[Migration]) -> u32 {
    migrations.last().map_or(1, |m| m.to)
}

/// Brings `tree` to the newest version. An export is taken into `exports` first.
///
/// # Errors
/// `store_corrupt` when the schema is newer than this program.
pub fn run(db: &sled::Db, tree: &sled::Tree, migrations: &[Migration], exports: &Path) -> Result<()> {
    let version = tree.get(keys::SCHEMA).map_err(store_error)?.and_then(|v| v.as_ref().try_into().ok()).map_or(0, u32::from_be_bytes);
    let newest = newest(migrations);
    if version > newest {
        let why = format!("the data was written by a newer version of Filbert (schema {version}, this one knows {newest}); run that version");
        return Err(Error::new(Code::StoreCorrupt, why));
    }
    let due: Vec<&Migration> = migrations.iter().filter(|m| m.to > version).collect();
    if due.is_empty() {
        return Ok(());
    }
    let dump = tempfile::NamedTempFile::new_in(exports).map_err(io_error)?;
    let mut out = std::io::BufWriter::new(dump.as_file());
    let records = archive::dump(tree, &mut out)?;
    out.flush().map_err(io_error)?;
    drop(out);
    archive::pack(dump.path(), records, None, &exports.join(format!("before-schema-{}-{}.filbert", newest, uuid::Uuid::now_v7())))?;
    for migration in due {
        tracing::info!(to = migration.to, name = migration.name, "migrating the store");
        let mut batch = sled::Batch::default();
        (migration.run)(tree, &mut batch)?;
        batch.insert(keys::SCHEMA, &migration.to.to_be_bytes());
        tree.apply_batch(batch).map_err(store_error)?;
        db.flush().map_err(store_error)?;
    }
    Ok(())
}
