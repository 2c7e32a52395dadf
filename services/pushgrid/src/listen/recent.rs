use std::collections::VecDeque;

use pushgrid_types::limits::FIREFOX_RECENT_MESSAGES;

/// Ids of the messages printed last: a redelivery carries the same id, and is not printed again.
#[derive(Default)]
pub(super) struct Recent(VecDeque<String>);

impl Recent {
    pub(super) fn has(&self, version: &str) -> bool {
        self.0.iter().any(|known| known == version)
    }

    pub(super) fn add(&mut self, version: &str) {
        if self.0.len() == FIREFOX_RECENT_MESSAGES {
            self.0.pop_front();
        }
        self.0.push_back(version.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hundred_are_known_and_older_ones_are_not() {
        let mut recent = Recent::default();
        for version in 0..=FIREFOX_RECENT_MESSAGES {
            recent.add(&version.to_string());
        }
        assert!(!recent.has("0") && recent.has("1") && recent.has("100"));
    }
}
