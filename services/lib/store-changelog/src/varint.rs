//! Numbers in as few octets as they need: seven bits in each, lowest first, the eighth says that more follow.

/// How many octets `number` takes.
pub(crate) fn len(number: u64) -> usize {
    let bits = (u64::BITS - number.leading_zeros()).max(1);
    usize::try_from(bits.div_ceil(7)).expect("at most ten")
}

/// Writes `number` at the end of `octets`.
pub(crate) fn put(octets: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            octets.push(low);
            return;
        }
        octets.push(low | 0x80);
    }
}

/// Takes a number from the beginning of `octets`; `None` when there is none.
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
