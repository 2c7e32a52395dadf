//! Reads a write-ahead log frame by frame, and judges whether committed frames are lost: sound, doubtful or damaged.
//! Reasons in `wal`; changes nothing. Memory: one frame.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::format::{self, Checksum, FRAME_HEADER, FrameHeader, HEADER, Header, Order, Salts};
use super::ledger_page;

/// Offset of the page size in a database, in units of one octet; 1 stands for 65536.
const PAGE_SIZE_AT: u64 = 16;

/// More messages than ever stand on one page.
const MESSAGES: u64 = 512;

/// Input of an examination.
pub(super) struct Reading<'f, R> {
    pub(super) log: R,
    pub(super) database: &'f File,
    pub(super) same_boot: bool,
}

#[derive(Debug)]
pub(super) enum Examined {
    Sound { keep: Option<u64> },
    Doubtful(Found),
    Damaged(Found),
}

/// Frames behind the last replayable commit.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) frame: u64,
    pub(super) offset: u64,
    pub(super) frames: u64,
    pub(super) transactions: u64,
    pub(super) messages: Option<u64>,
    pub(super) id: String,
    pub(super) keep: u64,
}

/// State of the examination after each frame.
struct Examination<'f> {
    database: &'f File,
    order: Order,
    page_size: usize,
    salts: Salts,
    /// Running checksum stored in the previous frame.
    checksum: Checksum,
    /// Frames read.
    read: u64,
    /// Last frame of a replayable transaction.
    committed: u64,
    /// First unverifiable frame.
    bad: Option<u64>,
    /// Last frame of this generation.
    last: u64,
    /// Frames of this generation from the bad one on.
    frames: u64,
    /// Frames that end a transaction, from the bad one on.
    commits: u64,
    /// Messages accepted, by the account at `committed`, and at the newest commit of all.
    accepted: Option<u64>,
    newest: Option<u64>,
    /// The same as `newest`, from an unverifiable frame.
    unsure: Option<u64>,
    transaction: Transaction,
    /// Commit behind the bad frame that was synced before any later frame was written.
    synced: Option<u64>,
}

/// Transaction whose frames are being read.
#[derive(Default)]
struct Transaction {
    /// Set if one of the frames is unverifiable.
    broken: bool,
    /// Accepted messages, if a page of the account is among the frames.
    accepted: Option<u64>,
    /// The same, from an unverifiable frame.
    unsure: Option<u64>,
}

/// Reads the whole log and judges it.
pub(super) fn examine<R: Read>(mut reading: Reading<'_, R>) -> io::Result<Examined> {
    let mut octets = [0; HEADER];
    if !fill(&mut reading.log, &mut octets)? {
        return Ok(Examined::Sound { keep: None });
    }
    let header = Header::read(&octets);
    let Some(page_size) =
        header.map_or_else(|| page_size_of(reading.database), |it| Ok(Some(it.page_size)))?
    else {
        return Ok(Examined::Sound { keep: None });
    };
    let mut frame = vec![0; FRAME_HEADER + page_size];
    let mut examination: Option<Examination<'_>> = None;
    while fill(&mut reading.log, &mut frame)? {
        let examination = examination.get_or_insert_with(|| Examination {
            database: reading.database,
            order: header.map_or(Order::NATIVE, |header| header.order),
            page_size,
            // Without a header that can be trusted, the first frame names the generation.
            salts: header.map_or_else(|| Salts::read(&frame, 8), |header| header.salts),
            checksum: header.map_or_else(|| Checksum::read(&octets, 24), |header| header.checksum),
            read: 0,
            committed: 0,
            bad: header.is_none().then_some(0),
            last: 0,
            frames: 0,
            commits: 0,
            accepted: None,
            newest: None,
            unsure: None,
            transaction: Transaction { broken: header.is_none(), ..Transaction::default() },
            synced: None,
        });
        examination.take(&frame)?;
    }
    Ok(examination.map_or(Examined::Sound { keep: None }, |it| it.judge(reading.same_boot, header.is_some())))
}

impl Examination<'_> {
    fn take(&mut self, octets: &[u8]) -> io::Result<()> {
        self.read += 1;
        let header = FrameHeader::read(octets);
        let present = header.salts == self.salts;
        let sound = present && self.checksum.verifies(self.order, octets, &header);
        self.checksum = header.checksum;
        if !sound {
            self.bad.get_or_insert(self.read);
            self.transaction.broken = true;
        }
        if !present {
            return Ok(());
        }
        self.last = self.read;
        self.frames += u64::from(self.bad.is_some());
        if let Some(accepted) = ledger_page::accepted(&octets[FRAME_HEADER..]) {
            if sound {
                self.transaction.accepted = Some(accepted);
            } else {
                self.transaction.unsure = Some(accepted);
            }
            if self.accepted.is_none() {
                self.accepted = Some(self.accepted_in_database(header.page)?);
            }
        }
        if header.commits {
            self.commit(sound);
        }
        Ok(())
    }

    /// Takes in the end of a transaction.
    fn commit(&mut self, sound: bool) {
        let Transaction { broken, accepted, unsure } = std::mem::take(&mut self.transaction);
        if self.bad.is_none() {
            self.committed = self.read;
            self.accepted = accepted.or(self.accepted);
            return;
        }
        self.commits += 1;
        // An acknowledgement changes the account. So a transaction that leaves the account alone is none, and neither
        // is one that has accepted a message.
        let known = self.newest.or(self.accepted);
        let has_accepted = accepted.is_some_and(|now| known.is_some_and(|before| now > before));
        let is_no_acknowledgement = sound && !broken && accepted.is_none();
        if has_accepted || is_no_acknowledgement {
            self.synced.get_or_insert(self.read);
        }
        self.newest = accepted.or(self.newest);
        self.unsure = unsure.or(self.unsure);
    }

    /// Messages accepted behind the part that can be replayed. An unverified frame counts if there is nothing better,
    /// and if so many messages can have found room.
    fn messages(&self) -> Option<u64> {
        let before = self.accepted.unwrap_or(0);
        let unsure = self.unsure.filter(|unsure| unsure.saturating_sub(before) <= self.frames * MESSAGES);
        self.newest.or(unsure).map(|newest| newest.saturating_sub(before))
    }

    /// Accepted messages by the account in the database, valid until the log changes it.
    fn accepted_in_database(&self, page: u32) -> io::Result<u64> {
        let mut octets = vec![0; self.page_size];
        let at = u64::from(page.saturating_sub(1)) * self.page_size as u64;
        match self.database.read_exact_at(&mut octets, at) {
            Ok(()) => Ok(ledger_page::accepted(&octets).unwrap_or(0)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn judge(self, same_boot: bool, has_header: bool) -> Examined {
        let offset = |frame: u64| match frame.checked_sub(1) {
            Some(before) => HEADER as u64 + before * (FRAME_HEADER + self.page_size) as u64,
            None => 0,
        };
        let keep = if has_header { offset(self.committed + 1) } else { 0 };
        let Some(bad) = self.bad.filter(|_| self.commits > 0) else {
            return Examined::Sound { keep: (self.last > self.committed).then_some(keep) };
        };
        let Salts(salts) = self.salts;
        let found = Found {
            frame: bad,
            offset: offset(bad),
            frames: self.frames,
            transactions: self.commits,
            messages: self.messages(),
            id: format!("log-{:016x}-{bad}", u64::from_be_bytes(salts)),
            keep,
        };
        // In one boot a frame behind the bad one proves that the bad one had been written whole.
        let written = same_boot && self.last > bad;
        let synced = self.synced.is_some_and(|commit| self.last > commit);
        if written || synced || !has_header { Examined::Damaged(found) } else { Examined::Doubtful(found) }
    }
}

/// Fills `octets` from `reader`. False if the input ends before.
fn fill(reader: &mut impl Read, octets: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(octets) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn page_size_of(database: &File) -> io::Result<Option<usize>> {
    let mut octets = [0; 2];
    match database.read_exact_at(&mut octets, PAGE_SIZE_AT) {
        Ok(()) => Ok(format::page_size(match u16::from_be_bytes(octets) {
            1 => 65536,
            other => u32::from(other),
        })),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
