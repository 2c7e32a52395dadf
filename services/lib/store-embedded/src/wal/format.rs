//! Format of `SQLite`'s write-ahead log (<https://sqlite.org/fileformat2.html>, section 4).
//!
//! Each frame holds the running checksum of the log up to itself, so any frame can be verified with the checksum of
//! the frame before, also behind a damaged one.

/// Octets of the header of the log.
pub(super) const HEADER: usize = 32;

/// Octets of the header of a frame; a page follows it.
pub(super) const FRAME_HEADER: usize = 24;

/// Magic number of a log whose checksums take their words in little-endian order; the next one is big-endian.
const MAGIC: u32 = 0x377f_0682;

const VERSION: u32 = 3_007_000;

/// Name of a generation of the log: `SQLite` chooses others whenever the log begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salts(pub(super) [u8; 8]);

/// Running checksum of two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum(u32, u32);

/// Byte order of the words in checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// Order written by this machine's `SQLite`.
    pub(super) const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// Header of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) order: Order,
    pub(super) page_size: usize,
    pub(super) salts: Salts,
    /// Seed of the first frame.
    pub(super) checksum: Checksum,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHeader {
    pub(super) page: u32,
    /// Set if the transaction ends with this frame.
    pub(super) commits: bool,
    pub(super) salts: Salts,
    /// Running checksum, this frame included.
    pub(super) checksum: Checksum,
}

impl Header {
    /// Reads a header; `None` if `SQLite` would reject the header, and so ignore the whole log.
    pub(super) fn read(octets: &[u8; HEADER]) -> Option<Self> {
        let order = match word(octets, 0).checked_sub(MAGIC)? {
            0 => Order::Little,
            1 => Order::Big,
            _ => return None,
        };
        let page_size = page_size(word(octets, 8))?;
        let checksum = Checksum::read(octets, 24);
        let sound = word(octets, 4) == VERSION && Checksum(0, 0).over(order, &octets[..24]) == checksum;
        sound.then_some(Self { order, page_size, salts: Salts::read(octets, 16), checksum })
    }
}

impl FrameHeader {
    pub(super) fn read(octets: &[u8]) -> Self {
        Self {
            page: word(octets, 0),
            commits: word(octets, 4) != 0,
            salts: Salts::read(octets, 8),
            checksum: Checksum::read(octets, 16),
        }
    }
}

impl Salts {
    pub(super) fn read(octets: &[u8], at: usize) -> Self {
        let mut salts = [0; 8];
        salts.copy_from_slice(&octets[at..at + 8]);
        Self(salts)
    }
}

impl Checksum {
    pub(super) fn read(octets: &[u8], at: usize) -> Self {
        Self(word(octets, at), word(octets, at + 4))
    }

    /// Continues the checksum over `octets`, a multiple of eight.
    pub(super) fn over(self, order: Order, octets: &[u8]) -> Self {
        let Self(mut first, mut second) = self;
        for pair in octets.as_chunks::<8>().0 {
            let [left, right] = [0, 4].map(|at| {
                let octets = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
                match order {
                    Order::Little => u32::from_le_bytes(octets),
                    Order::Big => u32::from_be_bytes(octets),
                }
            });
            first = first.wrapping_add(left).wrapping_add(second);
            second = second.wrapping_add(right).wrapping_add(first);
        }
        Self(first, second)
    }

    /// True if the frame `octets` (its header, then its page) follows this checksum.
    pub(super) fn verifies(self, order: Order, octets: &[u8], header: &FrameHeader) -> bool {
        header.page != 0
            && self.over(order, &octets[..8]).over(order, &octets[FRAME_HEADER..]) == header.checksum
    }
}

/// Checks a page size: a power of two from 512 to 65536.
pub(super) fn page_size(octets: u32) -> Option<usize> {
    let sound = octets.is_power_of_two() && (512..=65536).contains(&octets);
    sound.then(|| usize::try_from(octets).ok()).flatten()
}

fn word(octets: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&octets[at..at + 4]);
    u32::from_be_bytes(word)
}
