//! Variable-length numbers (LEB128): seven bits in each octet, lowest first; the eighth bit announces another
//! octet.

use pushgrid_types::cast::fitting;

/// Length of `number` in octets, at most ten.
pub(crate) fn len(number: u64) -> usize {
    let bits = (u64::BITS - number.leading_zeros()).max(1);
    fitting::<usize>(bits.div_ceil(7))
}

/// Appends `number` to `octets`.
pub(crate) fn put(octets: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = fitting::<u8>(number & 0x7f);
        number >>= 7;
        if number == 0 {
            octets.push(low);
            return;
        }
        octets.push(low | 0x80);
    }
}

/// Takes a number from the start of `octets`; `None` if truncated or beyond 64 bits.
pub(crate) fn take(octets: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (first, rest) = octets.split_first()?;
        *octets = rest;
        let bits = u64::from(first & 0x7f);
        // The tenth octet has room for one bit.
        if (bits << shift) >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_comes_back(number: u64, shift in 0..64_u32) {
            let number = number >> shift;
            let mut octets = Vec::new();
            put(&mut octets, number);
            prop_assert_eq!(octets.len(), len(number));
            octets.push(7);
            let mut rest = octets.as_slice();
            prop_assert_eq!(take(&mut rest), Some(number));
            prop_assert_eq!(rest, [7]);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(take(&mut &[][..]), None);
        assert_eq!(take(&mut &[0x80][..]), None);
        assert_eq!(take(&mut &[0xff; 20][..]), None);
        let mut largest = [0xff; 10];
        largest[9] = 1;
        assert_eq!(take(&mut &largest[..]), Some(u64::MAX));
        largest[9] = 2;
        assert_eq!(take(&mut &largest[..]), None);
    }
}
