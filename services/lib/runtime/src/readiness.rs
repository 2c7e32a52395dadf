use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether a process can take work: a set of latches, one for each thing that has to be there first.
///
/// Guarantee: asking does no I/O and waits for nothing. A readiness without latches is not ready: nothing has been
/// started yet. As many latches are kept as were made; a role makes a handful when it starts.
#[derive(Clone, Default)]
pub struct Readiness {
    latches: Arc<Mutex<Vec<State>>>,
}

struct State {
    name: &'static str,
    /// Why it is not ready; `None` when it is.
    waiting: Option<String>,
    /// What is worth knowing of it although it is ready.
    note: Option<String>,
}

/// One thing that has to be there. It is not ready until it says so, and keeps what it said last when it is dropped.
pub struct Latch {
    latches: Arc<Mutex<Vec<State>>>,
    position: usize,
}

impl Readiness {
    /// Without latches, so not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new latch, which is not ready. `name` is shown to the operator.
    pub fn latch(&self, name: &'static str) -> Latch {
        let mut states = lock(&self.latches);
        states.push(State { name, waiting: Some("starting".to_owned()), note: None });
        Latch { latches: Arc::clone(&self.latches), position: states.len() - 1 }
    }

    /// Whether there are latches, and all of them are ready.
    pub fn is_ready(&self) -> bool {
        let states = lock(&self.latches);
        !states.is_empty() && states.iter().all(|state| state.waiting.is_none())
    }

    /// The latches that are not ready, in the order in which they were made, and why.
    pub fn waiting_for(&self) -> Vec<(&'static str, String)> {
        let states = lock(&self.latches);
        if states.is_empty() {
            return vec![("start", "nothing has been started".to_owned())];
        }
        states.iter().filter_map(|state| Some((state.name, state.waiting.clone()?))).collect()
    }

    /// What is worth knowing of latches that are ready, in the order in which they were made.
    pub fn notes(&self) -> Vec<(&'static str, String)> {
        lock(&self.latches).iter().filter_map(|state| Some((state.name, state.note.clone()?))).collect()
    }
}

impl Latch {
    /// Says that it is ready.
    pub fn ready(&self) {
        self.set(None);
    }

    /// Says that it is not ready (any more), and why, in words that anyone may see.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    /// Says, or says no longer, what an operator should know of it: something is slower than usual, and why.
    pub fn note(&self, note: Option<String>) {
        lock(&self.latches)[self.position].note = note;
    }

    fn set(&self, waiting: Option<String>) {
        lock(&self.latches)[self.position].waiting = waiting;
    }
}

/// No code panics while it holds the lock, so what a poisoned one guards is whole.
fn lock(latches: &Mutex<Vec<State>>) -> MutexGuard<'_, Vec<State>> {
    latches.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("waiting_for", &self.waiting_for()).finish()
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("name", &lock(&self.latches)[self.position].name).finish()
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
