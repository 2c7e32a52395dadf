//! Message bodies of the load: random octets in the form of `aes128gcm`, with a mark that identifies each message.
//!
//! Invariant: a body that was changed on the way, or that belongs to another run, has no mark. Nothing is encrypted.

use bytes::Bytes;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::Rng;

/// The header block of an `aes128gcm` body with a P-256 key (RFC 8188 section 2.1, RFC 8291 section 4).
const HEADER: usize = 16 + 4 + 1 + 65;
const MARK: usize = 8 + 4 + 8;

/// Smallest body with room for header, mark and AES-GCM tag.
pub(super) const SIZE_MIN: u64 = 128;
/// Largest body that every push service takes (RFC 8030 section 7.2).
pub(super) const SIZE_MAX: u64 = 4096;

/// Bodies that look encrypted, one for each message. A push service has no key to tell the difference, and the sender
/// saves the processor that is shared with the server.
#[derive(Clone)]
pub(super) struct Content {
    template: Bytes,
}

/// Identity of a message within the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Number of the sender.
    pub(super) sender: u32,
    /// Number of the message among all of the run.
    pub(super) number: u64,
}

impl Content {
    /// Bodies of exactly `size` octets, different in every run.
    pub(super) fn new(size: usize, rng: &dyn Rng) -> Self {
        let mut template = vec![0; size];
        rng.fill(&mut template);
        template[16..20].copy_from_slice(&4096_u32.to_be_bytes());
        template[20] = 65;
        template[21..HEADER].copy_from_slice(KeyPair::generate(rng).public().as_octets());
        Self { template: template.into() }
    }

    /// The body of one message.
    pub(super) fn body(&self, mark: Mark) -> Bytes {
        let mut body = self.template.to_vec();
        body[HEADER + 8..HEADER + 12].copy_from_slice(&mark.sender.to_be_bytes());
        body[HEADER + 12..HEADER + MARK].copy_from_slice(&mark.number.to_be_bytes());
        body.into()
    }

    /// The mark of a body; `None` for a body of another run, or one changed on the way.
    pub(super) fn mark(&self, body: &[u8]) -> Option<Mark> {
        let marked = HEADER + 8..HEADER + MARK;
        let same = body.len() == self.template.len()
            && body[..marked.start] == self.template[..marked.start]
            && body[marked.end..] == self.template[marked.end..];
        let (sender, number) = body.get(marked)?.split_first_chunk::<4>()?;
        let mark =
            Mark { sender: u32::from_be_bytes(*sender), number: u64::from_be_bytes(number.try_into().ok()?) };
        same.then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use pushgrid_types::SystemRng;

    use super::*;

    #[test]
    fn a_body_has_its_size_and_brings_its_mark_back() {
        for size in [SIZE_MIN, 1024, SIZE_MAX].map(|size| usize::try_from(size).unwrap()) {
            let content = Content::new(size, &SystemRng);
            let mark = Mark { sender: 3, number: u64::MAX - 1 };
            let body = content.body(mark);
            assert_eq!(body.len(), size);
            assert_eq!(content.mark(&body), Some(mark));
            assert_eq!(Content::new(size, &SystemRng).mark(&body), None, "of another run");
            let mut changed = body.to_vec();
            *changed.last_mut().unwrap() ^= 1;
            assert_eq!(content.mark(&changed), None, "changed on its way");
            assert_eq!(content.mark(&body[..size - 1]), None, "cut");
        }
    }
}
