//! The ids for which a connection asks, in one word of memory: nearly all connections of a node ask for the same one.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use pushgrid_types::BroadcastId;

/// Ids that one connection may ask for. Deployed user agents ask for one.
const MAX: usize = 8;

/// Sets that are shared. Those beyond are kept by each connection for itself.
const SHARED: usize = 64;

/// Ids for which a connection asks, in the order of asking: at least one, at most [`MAX`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked(Box<[BroadcastId]>);

/// Marks of ids of an [`Asked`], by their places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Due(u8);

/// Sets of ids, each once.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<HashSet<Arc<Asked>>>);

impl Asked {
    fn place(&self, id: &BroadcastId) -> Option<usize> {
        self.0.iter().position(|asked| asked == id)
    }

    pub(crate) fn has(&self, id: &BroadcastId) -> bool {
        self.place(id).is_some()
    }

    /// The ids that are marked.
    pub(crate) fn marked(&self, due: Due) -> Vec<BroadcastId> {
        let marked = self.0.iter().enumerate().filter(|(place, _)| due.0 & (1 << place) != 0);
        marked.map(|(_, id)| id.clone()).collect()
    }
}

impl Due {
    /// Marks `id`, if `asked` has it. Tells whether it has.
    pub(crate) fn mark(&mut self, asked: &Asked, id: &BroadcastId) -> bool {
        let place = asked.place(id);
        self.0 |= place.map_or(0, |place| 1 << place);
        place.is_some()
    }

    pub(crate) const fn any(self) -> bool {
        self.0 != 0
    }
}

impl Table {
    /// The set of `present` with as many of `more` as have room, behind the present ones.
    pub(crate) fn with(&self, present: Option<&Asked>, more: &[BroadcastId]) -> Arc<Asked> {
        let mut ids: Vec<BroadcastId> = present.map(|asked| asked.0.to_vec()).unwrap_or_default();
        for id in more {
            if ids.len() < MAX && !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        let asked = Asked(ids.into());
        let mut shared = self.0.lock();
        if let Some(known) = shared.get(&asked) {
            return Arc::clone(known);
        }
        let asked = Arc::new(asked);
        if shared.len() >= SHARED {
            // Sets of which the last connection has gone.
            shared.retain(|set| Arc::strong_count(set) > 1);
        }
        if shared.len() < SHARED {
            shared.insert(Arc::clone(&asked));
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: impl IntoIterator<Item = usize>) -> Vec<BroadcastId> {
        names.into_iter().map(|name| format!("a/{name}").parse().unwrap()).collect()
    }

    #[test]
    fn sets_are_shared_and_forgotten_when_nobody_has_them() {
        let table = Table::default();
        let all: Vec<_> = (0..SHARED + 5).map(|name| table.with(None, &ids([name]))).collect();
        assert!(Arc::ptr_eq(&all[3], &table.with(None, &ids([3]))));
        assert!(!Arc::ptr_eq(&all[SHARED], &table.with(None, &ids([SHARED]))), "there is a bound");
        drop(all);
        let one = table.with(None, &ids([1000]));
        assert!(Arc::ptr_eq(&one, &table.with(None, &ids([1000]))));
        assert_eq!(table.0.lock().len(), 1);
    }

    #[test]
    fn a_set_grows_up_to_its_bound_and_marks_stay_at_their_ids() {
        let table = Table::default();
        let first = table.with(None, &ids([7, 3, 7]));
        let mut due = Due::default();
        assert!(due.mark(&first, &ids([3])[0]));
        assert!(!due.mark(&first, &ids([4])[0]));
        let more = table.with(Some(&first), &ids(0..100));
        assert_eq!(more.0.len(), MAX);
        assert!(more.has(&ids([7])[0]) && !more.has(&ids([99])[0]));
        assert!(due.mark(&more, &more.0[MAX - 1]));
        assert_eq!(more.marked(due), [ids([3])[0].clone(), more.0[MAX - 1].clone()]);
    }
}
