use pushgrid_store::BroadcastVersions;
use pushgrid_types::{BroadcastId, BroadcastVersion};
use rusqlite::{Connection, params};

use super::{Transaction, Write};
use crate::failure::Failure;

const READ: &str = "SELECT id, version FROM broadcast";
pub(super) const SET: &str = "INSERT OR REPLACE INTO broadcast (id, version) VALUES (?1, ?2)";
pub(super) const END: &str = "DELETE FROM broadcast WHERE id = ?1";

/// Sets the version of a broadcast.
#[derive(Debug)]
pub(crate) struct SetBroadcast {
    pub(crate) id: BroadcastId,
    pub(crate) version: BroadcastVersion,
}

/// Removes a broadcast. Answers whether there was one.
#[derive(Debug)]
pub(crate) struct RemoveBroadcast(pub(crate) BroadcastId);

impl Write for SetBroadcast {
    type Answer = ();

    fn adds(&self) -> bool {
        true
    }

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        let mut statement = transaction.connection.prepare_cached(SET)?;
        statement.execute(params![self.id.as_str(), self.version.as_str()])?;
        transaction.broadcast(self.id.clone(), Some(self.version.clone()));
        Ok(())
    }
}

impl Write for RemoveBroadcast {
    type Answer = bool;

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<bool, Failure> {
        let removed = transaction.connection.prepare_cached(END)?.execute(params![self.0.as_str()])? > 0;
        transaction.broadcast(self.0.clone(), None);
        Ok(removed)
    }
}

/// All versions, as of the last life.
pub(crate) fn broadcasts(connection: &Connection) -> Result<BroadcastVersions, Failure> {
    let mut versions = BroadcastVersions::default();
    let mut statement = connection.prepare(READ)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, version): (String, String) = (row.get(0)?, row.get(1)?);
        let (id, version) = id.parse().ok().zip(version.parse().ok()).ok_or_else(unreadable)?;
        if !versions.set(id, version) {
            return Err(unreadable());
        }
    }
    Ok(versions)
}

fn unreadable() -> Failure {
    Failure::corrupt("a broadcast cannot be read")
}
