//! A write-ahead log that is damaged, and one that only looks so.

use std::fs;
use std::path::{Path, PathBuf};

use pushgrid_store::{End, EventLog, LogConsumer};
use pushgrid_types::{DropReason, Message, Outcome, Sequence};
use tempfile::TempDir;

use super::{Home, message, subscription};
use crate::wal::{self, LostLog, State};
use crate::{Embedded, EmbeddedConfig, OpenError, backup, directory, recovery};

const FRAME: usize = 24 + 4096;
const HEADER: usize = 32;

/// Offsets within a frame: page, size of the database, salts, checksum, and the page itself.
const PARTS: [usize; 5] = [3, 7, 10, 18, 24 + 4000];

/// Files of a store whose process was killed.
struct Remains(TempDir);

impl Remains {
    fn of(home: &Home) -> Self {
        let copy = TempDir::new().unwrap();
        for name in [directory::DATABASE_FILE, "pushgrid.sqlite-wal", "lock"] {
            fs::copy(home.directory.path().join(name), copy.path().join(name)).unwrap();
        }
        Self(copy)
    }

    fn database(&self) -> PathBuf {
        self.0.path().join(directory::DATABASE_FILE)
    }

    fn log(&self) -> PathBuf {
        wal::path_of(&self.database())
    }

    fn frames(&self) -> usize {
        (usize::try_from(fs::metadata(self.log()).unwrap().len()).unwrap() - HEADER) / FRAME
    }

    fn flip(&self, at: usize) {
        let mut octets = fs::read(self.log()).unwrap();
        octets[at] ^= 1;
        fs::write(self.log(), octets).unwrap();
    }

    fn examine(&self, same_boot: bool) -> State {
        wal::examine(&self.database(), same_boot).unwrap()
    }

    fn open(&self) -> Result<Embedded, OpenError> {
        Embedded::open(&EmbeddedConfig::at(self.0.path()))
    }

    fn open_without(&self, loss: &str) -> Result<Embedded, OpenError> {
        let accept_loss = Some(loss.to_owned());
        Embedded::open(&EmbeddedConfig { accept_loss, ..EmbeddedConfig::at(self.0.path()) })
    }

    /// Pretends another boot of the machine.
    fn boot(&self) {
        fs::write(self.0.path().join("lock"), "00000000-0000-4000-8000-000000000000\n").unwrap();
    }
}

/// Store with `messages` messages, each in a transaction of its own.
async fn with_messages(messages: u64) -> Home {
    let home = Home::new();
    for label in 0..messages {
        home.append(message(subscription(1), label)).await;
    }
    home
}

/// Ends messages without waiting for a sync.
async fn acknowledge(home: &Home, sequences: impl IntoIterator<Item = u64>) {
    let mut consumer = home.store.consumer().unwrap();
    let logged = consumer.next(1000).await.unwrap();
    for sequence in sequences {
        let ended = logged.iter().find(|message| message.sequence.0 == sequence).unwrap();
        let before = home.store.commits();
        consumer.settle(vec![End::of(ended, Outcome::Delivered)]);
        while home.store.commits() == before {
            tokio::task::yield_now().await;
        }
    }
}

fn frame(number: usize) -> usize {
    HEADER + (number - 1) * FRAME
}

#[tokio::test]
async fn one_octet_that_is_wrong_anywhere_is_found_and_what_is_lost_is_counted() {
    let home = with_messages(10).await;
    let remains = Remains::of(&home);
    let whole = fs::read(remains.log()).unwrap();
    let last = remains.frames();
    assert!(last > 20, "{last} frames are too few to show anything");
    for number in 1..=last {
        for part in PARTS {
            let mut octets = whole.clone();
            octets[frame(number) + part] ^= 1;
            fs::write(remains.log(), octets).unwrap();
            let state = remains.examine(true);
            match state {
                State::Damaged(found) => {
                    assert_eq!((found.frame, found.offset), (number as u64, frame(number) as u64));
                    assert!(found.transactions > 0 && found.messages.unwrap_or(0) <= 10, "{found:?}");
                    // The only copy of the account may be what is damaged.
                    assert!(found.messages.is_some() || found.transactions == 1, "{found:?}");
                }
                // What was written last may as well be unfinished.
                State::Doubtful(_) | State::Sound { keep: Some(_) } if number == last => {}
                other => panic!("frame {number} of {last}, octet {part}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn without_knowing_the_boot_a_synced_transaction_behind_the_damage_proves_it() {
    let home = with_messages(20).await;
    let remains = Remains::of(&home);
    let last = remains.frames();
    let whole = fs::read(remains.log()).unwrap();
    let mut proven = 0;
    for number in 1..=last {
        let mut octets = whole.clone();
        octets[frame(number) + 2000] ^= 1;
        fs::write(remains.log(), octets).unwrap();
        match remains.examine(false) {
            State::Damaged(_) => proven = number,
            State::Doubtful(_) => assert!(number + 10 > last, "frame {number} of {last} is doubtful"),
            State::Sound { .. } => panic!("frame {number} of {last} is not missed"),
        }
    }
    assert!(proven + 10 > last, "the last frame that is proven damaged is {proven} of {last}");
}

#[tokio::test]
async fn acknowledgements_that_a_loss_of_power_took_are_no_damage() {
    let home = with_messages(20).await;
    let before = Remains::of(&home).frames();
    acknowledge(&home, 1..=10).await;
    let remains = Remains::of(&home);
    assert!(remains.frames() > before + 10, "each acknowledgement is a transaction");
    let missing = before + 3;
    let mut octets = fs::read(remains.log()).unwrap();
    octets[frame(missing)..frame(missing + 1)].fill(0);
    fs::write(remains.log(), octets).unwrap();
    assert!(matches!(remains.examine(false), State::Doubtful(_)), "the pages were not synced");
    assert!(matches!(remains.examine(true), State::Damaged(_)), "without a loss of power they were there");
    remains.boot();
    let store = remains.open().unwrap();
    let account = store.ledger().snapshot();
    assert!(account.adds_up() && account.accepted == 20, "{account:?}");
}

#[tokio::test]
async fn a_log_that_ends_anywhere_is_an_ordinary_crash() {
    let home = with_messages(10).await;
    let remains = Remains::of(&home);
    let whole = fs::read(remains.log()).unwrap();
    let salts = |from: usize| &whole[from..from + 8];
    let newest = frame(remains.frames());
    assert_eq!(salts(16), salts(newest + 8), "the log ends with what was written last, not with the opening");
    for octets in (0..whole.len()).step_by(500) {
        fs::write(remains.log(), &whole[..octets]).unwrap();
        for same_boot in [true, false] {
            let state = remains.examine(same_boot);
            assert!(matches!(state, State::Sound { .. }), "{octets} of {}: {state:?}", whole.len());
        }
    }
    // The last write of a process that is killed: the header of a frame without its page.
    let mut octets = whole.clone();
    let last = octets.len() - 4096;
    octets[last..].fill(0);
    fs::write(remains.log(), octets).unwrap();
    assert!(matches!(remains.examine(true), State::Doubtful(_)));
    assert_eq!(remains.open().unwrap().ledger().snapshot().accepted, 9);
}

#[tokio::test]
async fn frames_of_an_earlier_generation_are_an_ordinary_crash() {
    let home = with_messages(200).await;
    let moved: (i64, i64) = {
        let connection = home.connection();
        let checkpoint = "PRAGMA wal_checkpoint(RESTART)";
        connection.query_row(checkpoint, [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
    };
    assert_eq!(moved.0, moved.1, "all of the log is in the file");
    home.append(message(subscription(1), 1000)).await;
    let remains = Remains::of(&home);
    assert!(remains.frames() > 200, "the earlier frames are still there");
    for same_boot in [true, false] {
        assert_eq!(remains.examine(same_boot), State::Sound { keep: None });
    }
    assert_eq!(remains.open().unwrap().ledger().snapshot().accepted, 201);
}

fn refused(remains: &Remains) -> LostLog {
    match remains.open() {
        Err(OpenError::DamagedLog(lost)) => *lost,
        other => panic!("not refused: {other:?}"),
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = names.filter(|path| !path.ends_with("lock")).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_damaged_log_is_refused_until_its_loss_is_accepted_and_then_booked() {
    let home = with_messages(50).await;
    let remains = Remains::of(&home);
    remains.flip(frame(remains.frames() / 2) + 500);
    let before = files(remains.0.path());
    let lost = refused(&remains);
    assert_eq!(files(remains.0.path()), before, "nothing was changed");
    remains.open_without("log-of-another-time").expect_err("another loss was accepted");
    let text = OpenError::DamagedLog(Box::new(lost.clone())).to_string();
    assert!(text.contains("restore") && text.contains(&format!("accept_loss={}", lost.id)), "{text}");

    let store = remains.open_without(&lost.id).unwrap();
    let account = store.ledger().snapshot();
    let dropped = account.ended[Outcome::Dropped(DropReason::Damaged).index()];
    assert!(account.adds_up(), "{account:?}");
    assert_eq!((account.accepted, Some(dropped)), (50, lost.messages), "{account:?}");
    assert!(dropped > 10 && account.pending > 10, "{account:?}");
    let next = store.append(message(subscription(1), 99)).await.unwrap();
    assert_eq!(next, Sequence(51), "no sequence is given twice");
    let (lost_ever, damage) = (store.lost(), store.damage());
    store.close().await;
    assert_eq!((lost_ever, damage.borrow().as_ref()), (dropped, None));
    let store = remains.open().expect("it was accepted once");
    assert_eq!(store.lost(), dropped, "the loss stays on the books");
    let copy = format!("pushgrid.sqlite-wal.{}", lost.id);
    assert!(remains.0.path().join(copy).exists(), "the damaged log is kept");
}

/// Begins a start that accepts the loss, and ends it before the database is opened.
fn begin_without(remains: &Remains, loss: &str) {
    let mut lock = directory::take(remains.0.path()).unwrap();
    drop(recovery::prepare(&remains.database(), &mut lock, Some(loss)).unwrap());
}

#[tokio::test]
async fn a_loss_that_was_accepted_is_booked_by_the_next_start_when_the_first_does_not_come_to_it() {
    let home = with_messages(50).await;
    for is_cut in [true, false] {
        let remains = Remains::of(&home);
        remains.flip(frame(remains.frames() / 2) + 500);
        let whole = fs::read(remains.log()).unwrap();
        let lost = refused(&remains);
        begin_without(&remains, &lost.id);
        assert!(fs::read(remains.log()).unwrap().len() < whole.len(), "the damaged part is cut off");
        if !is_cut {
            fs::write(remains.log(), &whole).unwrap();
            remains.boot();
        }
        for start in 0..3 {
            let store = remains.open().unwrap();
            let account = store.ledger().snapshot();
            let dropped = account.ended[Outcome::Dropped(DropReason::Damaged).index()];
            assert_eq!((account.accepted, Some(dropped)), (50, lost.messages), "start {start}: {account:?}");
            assert!(account.adds_up() && store.lost() == dropped, "start {start}: {account:?}");
            store.close().await;
        }
    }
}

#[tokio::test]
async fn two_losses_that_no_start_has_come_to_are_both_booked() {
    let home = with_messages(50).await;
    let remains = Remains::of(&home);
    remains.flip(frame(remains.frames() - 10) + 500);
    let first = refused(&remains);
    begin_without(&remains, &first.id);
    remains.flip(frame(remains.frames() / 2) + 500);
    let second = refused(&remains);
    let store = remains.open_without(&second.id).unwrap();
    let account = store.ledger().snapshot();
    let dropped = account.ended[Outcome::Dropped(DropReason::Damaged).index()];
    assert_eq!(
        (account.accepted, Some(dropped)),
        (50, first.messages.zip(second.messages).map(|(a, b)| a + b))
    );
    assert!(account.adds_up(), "{account:?}");
}

#[tokio::test]
async fn a_copy_of_a_store_whose_accepted_loss_is_not_booked_yet_has_it_booked() {
    let home = with_messages(50).await;
    let remains = Remains::of(&home);
    remains.flip(frame(remains.frames() / 2) + 500);
    let lost = refused(&remains);
    begin_without(&remains, &lost.id);
    let copy = TempDir::new().unwrap();
    let file = copy.path().join(directory::DATABASE_FILE);
    backup::back_up(remains.0.path(), &file, &mut |_| {}).unwrap();
    let store = Embedded::open(&EmbeddedConfig::at(copy.path())).unwrap();
    assert_eq!(Some(store.lost()), lost.messages);
}

#[tokio::test]
async fn damage_that_was_found_once_is_found_in_the_next_boot() {
    let home = with_messages(10).await;
    let remains = Remains::of(&home);
    let last = remains.frames();
    remains.flip(frame(last - 1) + 500);
    let found = refused(&remains);
    let note = fs::read_to_string(remains.0.path().join("lock")).unwrap();
    assert!(!note.contains('-'), "the note does not depend on the boot: {note}");
    assert_eq!(refused(&remains), found);
}

#[tokio::test]
async fn a_log_whose_header_is_damaged_is_refused() {
    let home = with_messages(10).await;
    for at in [0, 9, 13, 17, 25] {
        let remains = Remains::of(&home);
        remains.boot();
        remains.flip(at);
        let lost = refused(&remains);
        assert_eq!((lost.frame, lost.messages), (0, Some(10)), "octet {at}");
        let account = remains.open_without(&lost.id).unwrap().ledger().snapshot();
        assert!(account.adds_up() && account.accepted == 10, "octet {at}: {account:?}");
    }
}

#[tokio::test]
async fn a_log_whose_database_is_gone_is_refused() {
    let home = with_messages(10).await;
    for empty in [true, false] {
        let remains = Remains::of(&home);
        if empty { fs::write(remains.database(), "") } else { fs::remove_file(remains.database()) }.unwrap();
        let refused = remains.open().unwrap_err();
        assert!(matches!(refused, OpenError::NoDatabase { .. }), "{refused:?}");
        assert!(fs::metadata(remains.log()).unwrap().len() > 0, "the log is left alone");
        let account = remains.open_without("database").unwrap().ledger().snapshot();
        assert_eq!(account.accepted, 0);
    }
}

#[tokio::test]
async fn a_transaction_that_is_not_whole_at_the_end_is_lost_to_a_crash_and_to_nothing_else() {
    let home = Home::new();
    let mut appends = Vec::new();
    for label in 0..64 {
        let (store, sent) = (home.store.clone(), message(subscription(1), label));
        appends.push(tokio::spawn(async move { store.append(Message { ..sent }).await.unwrap() }));
    }
    for append in appends {
        append.await.unwrap();
    }
    let remains = Remains::of(&home);
    let last = remains.frames();
    remains.boot();
    remains.flip(frame(last - 1) + 500);
    let account = remains.open().unwrap().ledger().snapshot();
    assert!(account.adds_up() && account.accepted < 64, "{account:?}");
    let copy = remains.0.path().join("pushgrid.sqlite-wal.doubtful");
    assert!(copy.exists(), "what cannot be told for sure is kept");
}
