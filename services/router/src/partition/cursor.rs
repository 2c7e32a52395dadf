use pushgrid_types::{Message, Sequence};

/// Place of a session in the mailbox of its user agent: everything stored up to there has been sent on the
/// session, or has ended.
///
/// The one place that knows the order in which a mailbox is read: by sequence. Reading by urgency takes a
/// place for each level here (ARCHITECTURE, "Decided, and to be built").
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor(Sequence);

impl Cursor {
    /// Moves past a message sent or ended.
    pub(super) fn pass(&mut self, message: &Message) {
        self.0 = self.0.max(message.sequence);
    }

    /// Sequence after which the next page begins.
    pub(super) const fn after(self) -> Sequence {
        self.0
    }
}
