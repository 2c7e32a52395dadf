//! Readiness of a process: one latch for each part required before work is taken.
//!
//! Invariant: no question does I/O or waits. Reasons and notes are public, so hold no secret.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// Readiness of a process to take work: a set of latches, one for each required part.
///
/// Guarantee: asking does no I/O and does not wait. A readiness without latches is not ready: nothing has been
/// started yet. The set keeps every latch ever made; a role makes a handful at the start.
#[derive(Clone, Default)]
pub struct Readiness {
    latches: Arc<Mutex<Vec<State>>>,
}

struct State {
    name: &'static str,
    /// Reason for not being ready; `None` when ready.
    waiting: Option<String>,
    /// Remark for the operator, also while ready.
    note: Option<String>,
}

/// One required part of a process. Not ready until set so; a dropped latch keeps its last state.
pub struct Latch {
    latches: Arc<Mutex<Vec<State>>>,
    position: usize,
}

impl Readiness {
    /// A readiness without latches, so not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new latch, which is not ready. `name` is shown to the operator.
    pub fn latch(&self, name: &'static str) -> Latch {
        let mut states = self.latches.lock();
        states.push(State { name, waiting: Some("starting".to_owned()), note: None });
        Latch { latches: Arc::clone(&self.latches), position: states.len() - 1 }
    }

    /// True when there are latches, and all are ready.
    pub fn is_ready(&self) -> bool {
        let states = self.latches.lock();
        !states.is_empty() && states.iter().all(|state| state.waiting.is_none())
    }

    /// The latches not ready, in the order of creation, with the reasons.
    pub fn waiting_for(&self) -> Vec<(&'static str, String)> {
        let states = self.latches.lock();
        if states.is_empty() {
            return vec![("start", "nothing has been started".to_owned())];
        }
        states.iter().filter_map(|state| Some((state.name, state.waiting.clone()?))).collect()
    }

    /// The notes of latches, in the order of creation.
    pub fn notes(&self) -> Vec<(&'static str, String)> {
        self.latches.lock().iter().filter_map(|state| Some((state.name, state.note.clone()?))).collect()
    }
}

impl Latch {
    /// Makes the latch ready.
    pub fn ready(&self) {
        self.set(None);
    }

    /// Makes the latch not ready, for a reason fit for anybody to see.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    /// Sets or clears a note for the operator: something is slower than usual, and why. Readiness stays as it is.
    pub fn note(&self, note: Option<String>) {
        self.latches.lock()[self.position].note = note;
    }

    fn set(&self, waiting: Option<String>) {
        self.latches.lock()[self.position].waiting = waiting;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("waiting_for", &self.waiting_for()).finish()
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("name", &self.latches.lock()[self.position].name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_when_every_latch_has_said_so() {
        let readiness = Readiness::new();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.waiting_for()[0].0, "start");

        let (store, log) = (readiness.latch("store"), readiness.latch("log"));
        store.ready();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.waiting_for(), [("log", "starting".to_owned())]);
        log.ready();
        assert!(readiness.is_ready());
        assert!(readiness.waiting_for().is_empty());
    }

    #[test]
    fn a_note_does_not_take_the_readiness_away() {
        let readiness = Readiness::new();
        let store = readiness.latch("store");
        store.ready();
        store.note(Some("catching up".to_owned()));
        assert!(readiness.is_ready());
        assert_eq!(readiness.notes(), [("store", "catching up".to_owned())]);
        store.note(None);
        assert!(readiness.notes().is_empty());
    }

    #[test]
    fn a_latch_can_close_again_and_says_why() {
        let readiness = Readiness::new();
        let store = readiness.latch("store");
        store.ready();
        store.not_ready("the disk is full");
        assert!(!readiness.is_ready());
        assert_eq!(readiness.waiting_for(), [("store", "the disk is full".to_owned())]);
        drop(store);
        assert!(!readiness.is_ready());
    }
}
