//! Room to grow: the bound of the file, and the reserve that lets messages end on a full disk.
//!
//! Deleting needs room as well: changed pages go to the write-ahead log first, and the log begins anew only when all
//! of it is in the file, which may have to grow for that. So a *reserve* of the disk is kept, and the file may grow
//! by no more than the reserve until the log has been moved. When the disk is full the reserve is given up, the log
//! is moved, and changes that end a message are written over the log's own octets from then on. Changes that add
//! something are refused until pages of the file are free again, or the disk has room for a new reserve.
//!
//! A reader, such as a backup, keeps the log from beginning anew for as long as it reads. Nobody waits for it: while
//! the disk has much more than the file has yet to grow by, the bound is raised without moving the log.
//!
//! Invariant: pages that the file has yet to grow by, when the write-ahead log is moved, are no more than the reserve
//! has octets for, or half of what the disk had when the bound was raised.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pushgrid_types::cast::saturating;
use rusqlite::Connection;

use crate::failure::Failure;
use crate::reserve::Reserve;
use crate::schema;

/// Octets of the reserve: half as much again as the write-ahead log has when the committer moves it by itself.
const RESERVE: u64 = 48 << 20;

/// Pages beyond the bound, to end messages and to move them from the log to the mailbox.
const SPARE: u64 = 1024;

/// Most free pages required before messages are taken again.
const FREE: u64 = 256;

/// Pause between two looks for a disk that has room again.
const AGAIN: Duration = Duration::from_secs(1);

/// Longest wait for the log to be moved, before changes that add something are refused.
const SOON: Duration = Duration::from_millis(100);

/// Time without a refusal after which a shortage is reported as over.
const QUIET: Duration = Duration::from_secs(10);

/// The committer's view of the disk.
#[derive(Debug)]
pub(crate) struct Room {
    reserve: Reserve,
    /// Octets of a page.
    page: u64,
    /// Most pages of the file.
    limit: u64,
    /// Pages of the file when the write-ahead log was last moved.
    in_file: u64,
    /// Raised bound, in pages, while the log is not moved; 0 once it is.
    raised: u64,
    /// Set while changes that add something are refused.
    refusing: bool,
    /// Copy of `refusing` for the handles.
    full: Arc<AtomicBool>,
    /// Time of the last look at the disk.
    looked_at: Instant,
    shortage: Option<Shortage>,
}

/// Shortage of room, logged once when it begins and once when it is over.
#[derive(Debug)]
struct Shortage {
    refused: u64,
    last: Instant,
}

impl Room {
    /// Takes the reserve in `directory`, sets the bound of `writer`, and moves the write-ahead log of a crash.
    pub(crate) fn open(
        directory: &Path,
        writer: &Connection,
        file_octets: Option<u64>,
        full: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let page = pragma(writer, "page_size")?.max(1);
        let most = file_octets.unwrap_or(u64::MAX);
        let mut room = Self {
            reserve: Reserve::new(directory, RESERVE.min(most)),
            page,
            limit: most / page,
            in_file: 0,
            raised: 0,
            refusing: false,
            full,
            looked_at: Instant::now(),
            shortage: None,
        };
        if !room.reserve.take() {
            tracing::warn!("the disk has no room for a reserve: the database does not grow until it has");
        }
        if !room.move_log(writer) {
            // Somebody reads, or the disk is full. The bound holds all the same.
            room.in_file = pragma(writer, "page_count")?;
            room.set_bound(writer, 0);
        }
        Ok(room)
    }

    /// True if changes that add something may be tried.
    pub(crate) fn admits(&mut self, writer: &Connection) -> bool {
        if self.refusing && (self.has_free_pages(writer) || self.look_again(writer)) {
            self.admit_again(writer);
        }
        !self.refusing
    }

    fn admit_again(&mut self, writer: &Connection) {
        self.set_refusing(false);
        self.set_bound(writer, 0);
    }

    /// Moves the write-ahead log into the file, without waiting for readers. True if a transaction that found no room
    /// is worth another attempt.
    pub(crate) fn move_log(&mut self, writer: &Connection) -> bool {
        let moved = schema::without_waiting(writer, || {
            writer.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0))
        });
        let moved = matches!(moved, Ok(0));
        if moved {
            self.log_begins_anew(writer);
        }
        moved
    }

    /// Moves the log, waiting a little for short reads and for a pass of the checkpointer.
    pub(crate) fn move_log_soon(&mut self, writer: &Connection) -> bool {
        let end = Instant::now() + SOON;
        while !self.refusing && Instant::now() < end {
            if self.move_log(writer) {
                return true;
            }
            std::thread::sleep(SOON / 20);
        }
        false
    }

    /// Lets the file grow although the log cannot be moved now, if the disk has twice the octets of the growth. False
    /// otherwise, or if the file may not grow.
    pub(crate) fn raise_bound(&mut self, writer: &Connection) -> bool {
        let Ok(pages) = pragma(writer, "page_count") else { return false };
        let growth = self.reserve.octets() / self.page;
        let bound = pages.saturating_add(growth).min(self.limit);
        let octets = bound.saturating_sub(self.in_file).saturating_mul(self.page);
        if bound <= pages || self.reserve.free_octets().is_none_or(|free| free / 2 < octets) {
            return false;
        }
        self.raised = bound;
        self.set_bound(writer, 0);
        true
    }

    /// Raises the bound again by the octets of the reserve; called once all of the write-ahead log has been moved.
    pub(crate) fn log_begins_anew(&mut self, writer: &Connection) {
        self.in_file = pragma(writer, "page_count").unwrap_or(self.in_file);
        self.raised = 0;
        if !self.refusing {
            self.set_bound(writer, 0);
        }
    }

    /// Enters a shortage: from now on only changes that end messages are written.
    pub(crate) fn run_out(&mut self, writer: &Connection, failure: &Failure) {
        self.set_refusing(true);
        self.raised = 0;
        self.set_bound(writer, SPARE);
        // There is nothing new to see before a pause.
        self.looked_at = Instant::now();
        if self.shortage.is_none() {
            tracing::error!(
                error = %failure,
                "no room: messages and subscriptions are refused until others have ended, the disk has room, or standalone.max_size is raised"
            );
            self.shortage = Some(Shortage { refused: 0, last: Instant::now() });
        }
    }

    /// Gives the reserve up, so that the write-ahead log can be moved. False if given up before.
    pub(crate) fn give_up_reserve(&mut self, writer: &Connection) -> bool {
        let given_up = self.reserve.give_up();
        if given_up {
            self.looked_at = Instant::now();
            self.move_log(writer);
        }
        given_up
    }

    /// Counts refused changes.
    pub(crate) fn refused(&mut self, changes: usize) {
        if let Some(shortage) = &mut self.shortage {
            shortage.refused += saturating::<u64>(changes);
            shortage.last = Instant::now();
        }
    }

    /// Takes a reserve again, admits again once there is room, and reports the end of a shortage; called after every
    /// batch.
    pub(crate) fn look_after(&mut self, writer: &Connection) {
        if (self.refusing || !self.reserve.is_held()) && self.look_again(writer) {
            self.admit_again(writer);
        }
        if let Some(shortage) = &self.shortage
            && !self.refusing
            && shortage.last.elapsed() >= QUIET
        {
            tracing::info!(refused = shortage.refused, "there is room again");
            self.shortage = None;
        }
    }

    fn set_refusing(&mut self, refusing: bool) {
        self.refusing = refusing;
        self.full.store(refusing, Ordering::Relaxed);
    }

    /// True if the disk has room for a reserve, or the cause of the last refusal is over, and the file can grow.
    fn look_again(&mut self, writer: &Connection) -> bool {
        if self.looked_at.elapsed() < AGAIN {
            return false;
        }
        self.looked_at = Instant::now();
        if !self.reserve.is_held() && !self.reserve.take() {
            return false;
        }
        (self.move_log(writer) || self.raise_bound(writer))
            && pragma(writer, "page_count")
                .is_ok_and(|pages| pages.saturating_add(self.enough(pages)) <= self.limit)
    }

    fn has_free_pages(&self, writer: &Connection) -> bool {
        let pages = pragma(writer, "page_count").unwrap_or(u64::MAX);
        pragma(writer, "freelist_count").is_ok_and(|free| free >= self.enough(pages))
    }

    /// Free pages required before messages are taken again, so that they are not taken and refused by turns; fewer
    /// for a file that a small disk keeps small.
    fn enough(&self, pages: u64) -> u64 {
        (self.limit / 16).min(pages / 4).clamp(1, FREE)
    }

    /// Sets the bound of the file. Without a reserve the file does not grow.
    fn set_bound(&self, writer: &Connection, spare: u64) {
        let Ok(pages) = pragma(writer, "page_count") else { return };
        let growth = self.reserve.octets() / self.page;
        let bound = self.in_file.saturating_add(growth).max(self.raised);
        let bound = bound.min(self.limit).max(pages).saturating_add(spare);
        let bound = saturating::<i64>(bound);
        if let Err(error) = writer.pragma_update(None, "max_page_count", bound) {
            tracing::error!(%error, "the bound of the database could not be set");
        }
    }
}

fn pragma(connection: &Connection, name: &str) -> Result<u64, Failure> {
    let value: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
    crate::row::to_unsigned(value)
}
