use pushgrid_types::{ClockOffset, KeptTime, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Transaction, Write};
use crate::failure::Failure;
use crate::row;

const READ: &str = "SELECT boot, shift, ahead, seen FROM clock WHERE only = 0";
const KEEP: &str = "INSERT OR REPLACE INTO clock (only, boot, shift, ahead, seen) VALUES (0, ?1, ?2, ?3, ?4)";

/// Keeps where the clock is, for the next life.
#[derive(Debug)]
pub(crate) struct KeepTime(pub(crate) KeptTime);

impl Write for KeepTime {
    type Answer = ();

    fn apply(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        let KeptTime { boot, shift, ahead, seen } = &self.0;
        let seen = row::to_integer(seen.as_millis());
        let values = params![boot, shift.as_micros(), ahead.as_micros(), seen];
        transaction.connection.prepare_cached(KEEP)?.execute(values)?;
        Ok(())
    }
}

/// Clock of the last life, as last kept.
pub(crate) fn kept_time(connection: &Connection) -> Result<Option<KeptTime>, Failure> {
    let read = connection.query_row(READ, [], |row| {
        let (shift, ahead) = (row.get(1)?, row.get(2)?);
        Ok((row.get(0)?, ClockOffset::from_micros(shift), ClockOffset::from_micros(ahead), row.get(3)?))
    });
    let Some((boot, shift, ahead, seen)) = read.optional()? else { return Ok(None) };
    Ok(Some(KeptTime { boot, shift, ahead, seen: Timestamp::from_millis(row::to_unsigned(seen)?) }))
}
