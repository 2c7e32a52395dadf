//! Recognises the page of the account (table `ledger`), so that a log that cannot be replayed still tells how many
//! messages had been accepted when it was written.

use pushgrid_types::Outcome;

/// Type of a leaf page of a table.
const LEAF: u8 = 13;

/// Octets of the header of a leaf page.
const PAGE_HEADER: usize = 8;

/// Accepted messages, if `page` is the one leaf of the table `ledger`.
///
/// Only this table has rows of two columns whose first is the row's number (and so stored as NULL) and whose second
/// is an integer.
pub(super) fn accepted(page: &[u8]) -> Option<u64> {
    let rows = usize::from(u16::from_be_bytes(*page.get(3..)?.first_chunk()?));
    if *page.first()? != LEAF || rows == 0 || rows > Outcome::ALL.len() + 1 {
        return None;
    }
    let mut accepted = None;
    for row in 0..rows {
        let pointer = u16::from_be_bytes(*page.get(PAGE_HEADER + 2 * row..)?.first_chunk()?);
        let (entry, messages) = entry(page.get(usize::from(pointer)..)?)?;
        if entry > u64::try_from(Outcome::ALL.len()).ok()? {
            return None;
        }
        if entry == 0 {
            accepted = Some(messages);
        }
    }
    accepted
}

/// Number and value of a row.
fn entry(cell: &[u8]) -> Option<(u64, u64)> {
    let (_payload, rest) = varint(cell)?;
    let (number, rest) = varint(rest)?;
    let [header, null, kind, value @ ..] = rest else { return None };
    if *header != 3 || *null != 0 {
        return None;
    }
    let octets = match kind {
        octets @ 1..=4 => usize::from(*octets),
        5 => 6,
        6 => 8,
        8 | 9 => return Some((number, u64::from(*kind - 8))),
        _ => return None,
    };
    let value = value.get(..octets)?;
    // Counts are not negative.
    (value[0] < 0x80).then(|| (number, value.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet))))
}

/// Reads an integer of one to nine octets, and returns the rest. The ninth octet would count whole; no number here is
/// so large.
fn varint(octets: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, octet) in octets.iter().take(8).enumerate() {
        value = value << 7 | u64::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            return Some((value, &octets[at + 1..]));
        }
    }
    None
}
