//! The two ways from one type of integer to another that holds less.

use std::fmt;

/// Integer types, with the least and the largest number of each.
pub trait Bounded {
    /// The least number.
    const LEAST: Self;
    /// The largest number.
    const LARGEST: Self;
}

macro_rules! bounded {
    ($($integer:ty),*) => {
        $(impl Bounded for $integer {
            const LEAST: Self = Self::MIN;
            const LARGEST: Self = Self::MAX;
        })*
    };
}

bounded!(u8, u16, u32, u64, usize, i64);

/// The same number, or the nearest one that the type holds: for counts, sizes and times that no later decision needs
/// beyond its bounds.
pub fn saturating<T: Bounded>(value: impl TryInto<T> + PartialOrd + Default) -> T {
    let nearest = if value < Default::default() { T::LEAST } else { T::LARGEST };
    value.try_into().unwrap_or(nearest)
}

/// The same number, where its bounds are known to fit the type.
///
/// # Panics
///
/// Beyond the bounds of the type.
#[track_caller]
pub fn fitting<T>(value: impl TryInto<T, Error: fmt::Debug>) -> T {
    value.try_into().expect("its bounds fit the type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_is_the_nearest_that_does() {
        assert_eq!([saturating::<u8>(200_u64), saturating(256_u64), saturating(-1_i32)], [200, 255, 0]);
        assert_eq!(
            [saturating::<i64>(u64::MAX), saturating(u128::MAX), saturating(-7_i32)],
            [i64::MAX, i64::MAX, -7]
        );
        assert_eq!(saturating::<usize>(7_usize), 7);
    }

    #[test]
    fn what_is_known_to_fit_is_the_same() {
        assert_eq!(fitting::<u8>(255_usize), 255);
    }

    #[test]
    #[should_panic(expected = "bounds")]
    fn what_was_thought_to_fit_and_does_not_is_no_other_number() {
        fitting::<u8>(256_usize);
    }
}
