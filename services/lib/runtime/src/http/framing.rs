//! Ends of the requests of an HTTP/1.1 connection among the octets received, as far as can be told without parsing
//! HTTP: so that half a header section behind a request is not taken for silence.
//!
//! Invariant: in doubt, because of a body in chunks or of several requests at once, nothing is said to follow.

/// Position in the octets of one request and its successor.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// Octets of the present request, and of all after.
    count: u64,
    /// Octets up to the end of the header section, once complete.
    head: Option<u64>,
    /// Octets of the body, where known.
    body: Option<u64>,
    /// True when the beginning of the request came together with the one before, and was not seen.
    is_unsure: bool,
    /// The last octets, the newest at the end.
    last: [u8; 4],
}

impl Framing {
    /// Takes in received octets.
    pub(super) fn read(&mut self, mut octets: &[u8]) {
        if self.count == 0 {
            // Empty lines before a request are passed over (RFC 9112 section 2.2).
            let begin = octets.iter().position(|octet| !is_of_line_end(*octet));
            octets = &octets[begin.unwrap_or(octets.len())..];
        }
        if self.head.is_none() && !self.is_unsure {
            self.head = self.end_of_head(octets).map(|end| self.count + end as u64);
        }
        self.count += octets.len() as u64;
        let new = &octets[octets.len().saturating_sub(4)..];
        self.last.rotate_left(new.len());
        self.last[4 - new.len()..].copy_from_slice(new);
    }

    /// Notes the begin of a request: the header section is complete.
    pub(super) const fn begin(&mut self, body: Option<u64>) {
        self.body = body;
        self.is_unsure |= self.head.is_none();
    }

    /// Notes the end of a request. True when a part of the next has come.
    pub(super) fn end(&mut self) -> bool {
        let ends = self.last.ends_with(b"\n\n") || self.last.ends_with(b"\n\r\n");
        let follows = match (self.body, self.head.filter(|_| !self.is_unsure)) {
            (Some(body), Some(head)) => {
                let behind = self.count.saturating_sub(head.saturating_add(body));
                let seen = usize::try_from(behind).map_or(4, |behind| behind.min(4));
                self.last[4 - seen..].iter().any(|octet| !is_of_line_end(*octet))
            }
            // Without a body, what has come ends with the empty line of the last header section.
            (Some(0), None) => !ends,
            _ => false,
        };
        *self = Self { is_unsure: follows, last: self.last, ..Self::default() };
        follows && !ends
    }

    /// The number of `octets` up to the end of an empty line, which may have begun before.
    fn end_of_head(&self, octets: &[u8]) -> Option<usize> {
        let seen = usize::try_from(self.count).map_or(4, |count| count.min(4));
        let before = &self.last[4 - seen..];
        let mut line = before.iter().rposition(|octet| *octet == b'\n').map(|at| &before[at + 1..]);
        let mut from = 0;
        while let Some(at) = octets[from..].iter().position(|octet| *octet == b'\n') {
            let of_line = &octets[from..from + at];
            let start = line.replace(&[]);
            if let Some(start) = start
                && start.iter().chain(of_line).all(|octet| *octet == b'\r')
            {
                return Some(from + at + 1);
            }
            from += at + 1;
        }
        None
    }
}

const fn is_of_line_end(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n";

    /// True when something follows, in whatever pieces all octets come.
    fn follows(all: &[u8], body: Option<u64>) -> bool {
        let answers = (1..=all.len()).map(|piece| {
            let mut framing = Framing::default();
            all.chunks(piece).for_each(|octets| framing.read(octets));
            framing.begin(body);
            framing.end()
        });
        let answers: Vec<bool> = answers.collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{}", all.escape_ascii());
        answers[0]
    }

    #[test]
    fn what_follows_a_request_is_seen_whatever_pieces_it_comes_in() {
        let whole = [(GET, "", 0), (b"GET / HTTP/1.0\n\n", "", 0), (POST, "hello", 5)];
        for (head, body, length) in whole {
            let all = [head, body.as_bytes()].concat();
            for empty in ["", "\r\n", "\n"] {
                assert!(!follows(&[&all, empty.as_bytes()].concat(), Some(length)), "{body}");
                assert!(!follows(&[empty.as_bytes(), &all].concat(), Some(length)), "{body}");
            }
            for half in ["G", "GET / HTTP/1.1\r\n", "\r\nGET / HTTP/1.1\r\nhost: x\r"] {
                assert!(follows(&[&all, half.as_bytes()].concat(), Some(length)), "{body} {half}");
            }
            assert!(!follows(&[&all, b"GET".as_slice()].concat(), None), "the body may go on");
        }
    }

    #[test]
    fn after_requests_that_came_at_once_the_last_tells() {
        for (half, expected) in [("", false), ("GET / HTTP/1.1\r\nho", true)] {
            let mut framing = Framing::default();
            framing.read(&[GET, GET, half.as_bytes()].concat());
            for _ in 0..2 {
                framing.begin(Some(0));
                assert_eq!(framing.end(), expected);
            }
        }
        let mut framing = Framing::default();
        framing.read(&[GET, POST].concat());
        framing.begin(Some(0));
        framing.end();
        framing.begin(Some(5));
        framing.read(b"a\n\nbcGET");
        assert!(!framing.end(), "where its body has begun is not known");
        framing.read(POST);
        framing.begin(Some(5));
        framing.read(b"hello");
        assert!(!framing.end());
        framing.read(b"GET / H");
        framing.read(b"TTP/1.1\r\n\r\nG");
        framing.begin(Some(0));
        assert!(framing.end());
    }
}
