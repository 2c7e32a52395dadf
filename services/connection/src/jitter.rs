//! Random numbers, and moments spread over a time.

use std::time::Duration;

use pushgrid_types::Rng;
use pushgrid_types::cast::saturating;

/// Random number from 0 to 1.
pub(crate) fn fraction(rng: &dyn Rng) -> f64 {
    let mut octets = [0; 4];
    rng.fill(&mut octets);
    f64::from(u32::from_le_bytes(octets)) / f64::from(u32::MAX)
}

/// Moment at which the one at `index` of `count` is due: evenly over the time, each at a random moment
/// of its share.
pub(crate) fn share(over: Duration, index: usize, count: usize, rng: &dyn Rng) -> Duration {
    if over.is_zero() {
        return Duration::ZERO;
    }
    let share = over.as_secs_f64() / to_f64(count);
    Duration::from_secs_f64(share * (to_f64(index) + fraction(rng)))
}

fn to_f64(count: usize) -> f64 {
    f64::from(saturating::<u32>(count))
}

#[cfg(test)]
mod tests {
    use pushgrid_types::SystemRng;

    use super::*;

    #[test]
    fn the_moments_are_spread_evenly_and_rise() {
        let over = Duration::from_secs(10);
        let due: Vec<_> = (0..100).map(|index| share(over, index, 100, &SystemRng)).collect();
        assert!(due.is_sorted());
        for (index, due) in (0u32..).zip(due) {
            let from = Duration::from_millis(100) * index;
            assert!((from..=from + Duration::from_millis(101)).contains(&due), "{index} at {due:?}");
        }
    }

    #[test]
    fn without_a_time_all_are_due_at_once() {
        assert_eq!(share(Duration::ZERO, 5, 10, &SystemRng), Duration::ZERO);
    }
}
