use bytes::Bytes;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::Rng;

/// The header block of an `aes128gcm` body with a P-256 key (RFC 8188 section 2.1, RFC 8291 section 4).
const HEADER: usize = 16 + 4 + 1 + 65;
const MARK: usize = 8 + 4 + 8;

/// Smallest body that is still a possible message: the header, the mark, and the tag of AES-GCM.
pub(super) const SIZE_MIN: u64 = 128;
/// The largest that every push service takes (RFC 8030 section 7.2).
pub(super) const SIZE_MAX: u64 = 4096;

/// Bodies that look encrypted, one for each message. A push service cannot tell, for it has no key; and the sender
/// need not encrypt thousands of messages on the processor that it shares with the server.
#[derive(Clone)]
pub(super) struct Content {
    template: Bytes,
}

/// What tells one message from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which of the senders posted it.
    pub(super) sender: u32,
    /// Its number among all of them.
    pub(super) number: u64,
}

impl Content {
    /// Bodies of exactly `size` octets, unlike those of any other run.
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

    /// The mark of a body; `None` for one of another run, or one that was changed on its way.
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
