//! Mailbox over the file: changes go to the committer, reads to the readers, usage is answered from memory.
//! Invariant: a damaged page keeps back only the messages on the page, and holds up no other user agent.

use std::sync::Arc;

use async_trait::async_trait;
use pushgrid_store::{ErrorKind, Mailbox, Page, PageLimit, PageStart, StoreError, Stored, Usage};
use pushgrid_types::{Message, MessageId, Outcome, Sequence, Timestamp, Urgency, UserAgentId};
use rusqlite::{Connection, params};

use crate::Embedded;
use crate::failure::Failure;
use crate::row::{self, message_columns};
use crate::write::{Expire, Settle, Store};

/// Messages of one urgency for a page. The index covers expiry, so only rows of the page are read.
pub(crate) const PAGE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM message INDEXED BY message_of_user_agent \
     WHERE stored = 1 AND user_agent = ?1 AND urgency = ?2 AND seq > ?3 AND expires_at > ?4 ORDER BY seq LIMIT ?5"
);

/// Sequences of the same messages, from the index alone.
pub(crate) const SEQUENCES: &str = "SELECT seq FROM message INDEXED BY message_of_user_agent
    WHERE stored = 1 AND user_agent = ?1 AND urgency = ?2 AND seq > ?3 AND expires_at > ?4 ORDER BY seq LIMIT ?5";

/// A stored message by its id.
pub(crate) const BY_ID: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM message INDEXED BY message_by_id WHERE stored = 1 AND user_agent = ?1 AND id = ?2"
);

const ONE: &str = concat!("SELECT ", message_columns!(), " FROM message WHERE seq = ?1");

/// Messages searched for a page when some are unreadable: more than one user agent may have.
const SOUGHT: usize = 20_000;

/// Octets of the queue for each message or id, beyond those held by the caller anyway.
const ENTRY_OCTETS: usize = 64;

#[async_trait]
impl Mailbox for Embedded {
    async fn store(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError> {
        let octets = messages.len() * ENTRY_OCTETS;
        // A message without a sequence was never accepted: its caller is at fault, not the file.
        let are_accepted = messages.iter().all(|message| message.sequence > Sequence(0));
        match self.change(Store(messages.clone()), octets).await {
            Err(error) if error.kind == ErrorKind::Corrupt && are_accepted => {
                self.store_apart(messages).await
            }
            answer => answer,
        }
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        start: PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Page, StoreError> {
        self.check_open()?;
        // Most user agents have nothing waiting, and the usage in memory says so.
        if self.shared().usages.of(user_agent) == Usage::default() {
            return Ok(Page::EMPTY);
        }
        let damage = Arc::clone(&self.shared().damage);
        let asked = Asked { user_agent, start, now, limit };
        self.shared()
            .readers
            .run(move |connection| match page(connection, &asked) {
                Err(failure) if failure.kind == ErrorKind::Corrupt => {
                    damage.note(&failure);
                    page_around_damage(connection, &asked)
                }
                page => page,
            })
            .await
    }

    async fn message(&self, user_agent: UserAgentId, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.check_open()?;
        if self.shared().usages.of(user_agent) == Usage::default() {
            return Ok(None);
        }
        let damage = Arc::clone(&self.shared().damage);
        let read = self.shared().readers.run(move |connection| {
            let found = find(connection, user_agent, id);
            if let Err(failure) = &found
                && failure.kind == ErrorKind::Corrupt
            {
                damage.note(failure);
            }
            found
        });
        read.await
    }

    async fn settle(
        &self,
        user_agent: UserAgentId,
        ended: Vec<(MessageId, Outcome)>,
    ) -> Result<Vec<bool>, StoreError> {
        self.check_open()?;
        // Without waiting messages nothing can end, however many ids a user agent makes up: no transaction is begun.
        if self.shared().usages.of(user_agent) == Usage::default() {
            return Ok(vec![false; ended.len()]);
        }
        let octets = ended.len() * ENTRY_OCTETS;
        self.change(Settle { user_agent, ended }, octets).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.check_open()?;
        // As a rule nothing is due, and a look in memory spares a transaction.
        if self.shared().usages.due(now, 1).is_empty() {
            return Ok(0);
        }
        match self.change(Expire { now, limit, only: None }, ENTRY_OCTETS).await {
            Err(error) if error.kind == ErrorKind::Corrupt => self.expire_apart(now, limit).await,
            answer => answer,
        }
    }

    async fn usage(&self, user_agent: UserAgentId) -> Result<Usage, StoreError> {
        self.check_open()?;
        Ok(self.shared().usages.of(user_agent))
    }
}

impl Embedded {
    /// Refuses reads as soon as changes are refused.
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.shared().queue.is_closed() { Err(StoreError::plain(ErrorKind::Closed)) } else { Ok(()) }
    }
}

impl Embedded {
    /// Stores each message in a separate change, so a damaged page keeps back only the messages on the page, which
    /// stay in the log and can be neither moved nor ended.
    async fn store_apart(&self, messages: Vec<Arc<Message>>) -> Result<Vec<Stored>, StoreError> {
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages {
            let answer = match self.change(Store(vec![message]), ENTRY_OCTETS).await {
                Err(error) if error.kind == ErrorKind::Corrupt => Some(Stored::Kept),
                answer => answer?.into_iter().next(),
            };
            answers.push(answer.ok_or_else(|| StoreError::plain(ErrorKind::Corrupt))?);
        }
        Ok(answers)
    }

    /// Expires the messages of each user agent in a separate change. A user agent with messages on a damaged page is
    /// not tried again: such messages are never delivered late, for every page of the mailbox leaves out expired
    /// messages.
    async fn expire_apart(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut ended = 0;
        for user_agent in self.shared().usages.due(now, limit) {
            let expire = Expire { now, limit, only: Some(user_agent) };
            match self.change(expire, ENTRY_OCTETS).await {
                Err(error) if error.kind == ErrorKind::Corrupt => self.shared().usages.set_aside(user_agent),
                answer => ended += answer?,
            }
        }
        Ok(ended)
    }
}

/// Arguments of a page.
struct Asked {
    user_agent: UserAgentId,
    start: PageStart,
    now: Timestamp,
    limit: PageLimit,
}

fn page(connection: &Connection, asked: &Asked) -> Result<Page, Failure> {
    let mut page = Draft::new(asked.limit);
    let mut statement = connection.prepare_cached(PAGE)?;
    for place in asked.start.places() {
        let mut rows = statement.query(asked.at(place, asked.limit.messages))?;
        while let Some(row) = rows.next()? {
            if page.add(row::message(row)?) {
                return Ok(page.finish(false));
            }
        }
    }
    Ok(page.finish(true))
}

fn find(connection: &Connection, user_agent: UserAgentId, id: MessageId) -> Result<Option<Message>, Failure> {
    let mut statement = connection.prepare_cached(BY_ID)?;
    let mut rows = statement.query(params![user_agent.as_octets(), id.as_octets()])?;
    rows.next()?.map(row::message).transpose()
}

/// Reads each message by itself, and leaves out unreadable ones.
fn page_around_damage(connection: &Connection, asked: &Asked) -> Result<Page, Failure> {
    let mut statement = connection.prepare_cached(SEQUENCES)?;
    let mut sequences: Vec<i64> = Vec::new();
    for place in asked.start.places() {
        for sequence in statement.query_map(asked.at(place, SOUGHT), |row| row.get(0))? {
            sequences.push(sequence?);
        }
    }
    let mut page = Draft::new(asked.limit);
    let mut statement = connection.prepare_cached(ONE)?;
    for sequence in sequences {
        let read = statement.query_row(params![sequence], |row| Ok(row::message(row)));
        match read.map_err(Failure::from).and_then(|message| message) {
            Ok(message) => {
                if page.add(message) {
                    break;
                }
            }
            Err(failure) if failure.kind == ErrorKind::Corrupt => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(page.finish(false))
}

impl Asked {
    /// Parameters for up to `messages` messages of one urgency after its place.
    fn at(&self, (urgency, after): (Urgency, Sequence), messages: usize) -> impl rusqlite::Params + use<> {
        let (after, now) = (row::to_integer(after.0), row::to_integer(self.now.as_millis()));
        (self.user_agent.as_octets().to_vec(), urgency.level(), after, now, row::octets(messages))
    }
}

/// Page under construction.
struct Draft {
    messages: Vec<Message>,
    octets: usize,
    limit: PageLimit,
}

impl Draft {
    fn new(limit: PageLimit) -> Self {
        Self { messages: Vec::new(), octets: 0, limit }
    }

    fn finish(self, is_last: bool) -> Page {
        Page { messages: self.messages, is_last }
    }

    /// Adds a message. True if the page is full.
    fn add(&mut self, message: Message) -> bool {
        self.octets += message.content.body.len();
        self.messages.push(message);
        self.octets >= self.limit.octets || self.messages.len() >= self.limit.messages
    }
}
