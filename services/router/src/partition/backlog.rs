use pushgrid_store::PageStart;
use pushgrid_types::{Message, Sequence, Urgency};

/// Set of urgencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Levels(u8);

impl Levels {
    const ALL: Self = Self((1 << Urgency::ALL.len()) - 1);

    /// Urgencies from `urgency` on upwards.
    pub(super) const fn from(urgency: Urgency) -> Self {
        Self(Self::ALL.0 & (u8::MAX << urgency.level()))
    }

    pub(super) const fn contains(self, urgency: Urgency) -> bool {
        self.0 & (1 << urgency.level()) != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn insert(&mut self, urgency: Urgency) {
        self.0 |= 1 << urgency.level();
    }

    const fn remove(&mut self, urgency: Urgency) {
        self.0 &= !(1 << urgency.level());
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// State of a mailbox towards a session: what of it may not have been sent on the session.
///
/// The one place that knows the order in which a mailbox is read: by urgency, then by sequence (RFC 8030 section 5.3
/// leaves the order to the service). Each urgency has a place of its own: everything of this urgency that was stored
/// up to there has been sent on the session, or has ended.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Least urgency that the user agent takes. What is below stays in the mailbox.
    min_urgency: Urgency,
    /// Urgencies of which stored messages may be unsent.
    unsent: Levels,
    places: [Sequence; Urgency::ALL.len()],
    reading: Option<Box<Reading>>,
}

/// Page being read.
#[derive(Debug)]
pub(super) struct Reading {
    /// Urgencies that were asked for.
    asked: Levels,
    /// Messages of an urgency at or after its sequence are ignored, for earlier ones were still on the way out of the
    /// log or into the mailbox.
    bounds: [Sequence; Urgency::ALL.len()],
    /// Read position of the log when the read began: what is stored later is not before it.
    read_to: Sequence,
    /// Urgencies of messages on the way into the mailbox, when the read began: an empty page does not end their
    /// backlog.
    storing: Levels,
    /// Urgencies of messages stored since the read began.
    again: Levels,
    /// Urgencies whose place has been set back since the read began: what the page has of them is not used.
    stale: Levels,
}

impl Backlog {
    /// Everything may be unsent, as at the beginning of a session.
    pub(super) const fn new(min_urgency: Urgency) -> Self {
        Self { min_urgency, unsent: Levels::ALL, places: [Sequence(0); Urgency::ALL.len()], reading: None }
    }

    pub(super) const fn set_min_urgency(&mut self, min_urgency: Urgency) {
        self.min_urgency = min_urgency;
    }

    /// True while a page is being read.
    pub(super) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// True when everything in the mailbox has been sent on the session.
    pub(super) const fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    /// True when a message of this urgency is next: the user agent takes it, and nothing as urgent or more may be
    /// unsent.
    pub(super) fn is_next(&self, urgency: Urgency) -> bool {
        self.takes(urgency) && self.unsent.and(Levels::from(urgency)).is_empty()
    }

    /// True if the user agent takes messages of this urgency.
    pub(super) fn takes(&self, urgency: Urgency) -> bool {
        //= RFC 8030 section 5.3
        //# A push service MUST NOT deliver push messages with lower urgency than the value indicated by the user
        //# agent in its monitoring request.
        urgency >= self.min_urgency
    }

    /// True if there is something to read: unsent messages that the user agent takes, and no read under way.
    pub(super) fn is_to_be_read(&self) -> bool {
        self.reading.is_none() && !self.unsent.and(Levels::from(self.min_urgency)).is_empty()
    }

    /// Notes a message on the way into the mailbox, which the session has not been sent.
    pub(super) fn stores(&mut self, urgency: Urgency) {
        self.unsent.insert(urgency);
        if let Some(reading) = &mut self.reading {
            reading.again.insert(urgency);
        }
    }

    /// Moves past a message sent or ended.
    pub(super) fn pass(&mut self, message: &Message) {
        let place = self.place(message.urgency);
        *place = (*place).max(message.sequence);
    }

    /// Moves back before a message that was sent, and is stored for later.
    pub(super) fn put_back(&mut self, urgency: Urgency, sequence: Sequence) {
        let place = self.place(urgency);
        *place = (*place).min(Sequence(sequence.0.saturating_sub(1)));
        self.unsent.insert(urgency);
        if let Some(reading) = &mut self.reading {
            reading.stale.insert(urgency);
        }
    }

    /// Begins a read. `storing` are the unsent messages on the way into the mailbox, `log_bound` the first sequence
    /// that may be stored while older ones are still in the log, and `read_to` the place up to which the log was read.
    pub(super) fn read(
        &mut self,
        storing: impl Iterator<Item = (Urgency, Sequence)>,
        log_bound: Sequence,
        read_to: Sequence,
    ) -> PageStart {
        let asked = Levels::from(self.min_urgency);
        let mut reading = Reading {
            asked,
            bounds: [log_bound; Urgency::ALL.len()],
            read_to,
            storing: Levels::default(),
            again: Levels::default(),
            stale: Levels::default(),
        };
        for (urgency, sequence) in storing {
            reading.storing.insert(urgency);
            let bound = &mut reading.bounds[usize::from(urgency.level())];
            *bound = (*bound).min(sequence);
        }
        self.reading = Some(Box::new(reading));
        PageStart { min_urgency: self.min_urgency, after: self.places }
    }

    /// Takes the read under way; its page has failed, or is dealt with by [`Self::found`].
    pub(super) const fn end_read(&mut self) -> Option<Box<Reading>> {
        self.reading.take()
    }

    /// Takes in what the page says of those who are not there: of urgencies above that of its `first` message nothing
    /// is stored that could have been found. `None`, at the end of a last page: of no urgency is anything else.
    pub(super) fn found(&mut self, reading: &Reading, first: Option<Urgency>) {
        // Those that the user agent takes no more have been passed over.
        let min_urgency = self.min_urgency;
        let nothing_of = |urgency: &Urgency| {
            reading.asked.contains(*urgency)
                && urgency >= &min_urgency
                && first.is_none_or(|first| first < *urgency)
                && !reading.stale.contains(*urgency)
        };
        for urgency in Urgency::ALL.into_iter().filter(nothing_of) {
            let seen_to = reading.bound(urgency).min(reading.read_to);
            let place = self.place(urgency);
            *place = (*place).max(Sequence(seen_to.0.saturating_sub(1)));
            if !reading.storing.contains(urgency) && !reading.again.contains(urgency) {
                self.unsent.remove(urgency);
            }
        }
    }

    const fn place(&mut self, urgency: Urgency) -> &mut Sequence {
        &mut self.places[urgency.level() as usize]
    }
}

impl Reading {
    /// First sequence of this urgency that is ignored.
    pub(super) const fn bound(&self, urgency: Urgency) -> Sequence {
        self.bounds[urgency.level() as usize]
    }

    /// True if something was stored since the read began.
    pub(super) const fn is_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// True if what the page has of this urgency is not to be used.
    pub(super) const fn is_stale(&self, urgency: Urgency) -> bool {
        self.stale.contains(urgency)
    }
}
