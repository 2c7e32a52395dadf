//! The limits of a listener, with the settings.
//!
//! Invariant: every limit stays within its range, whatever the settings. Limits of a request's body are the routes'.

use std::time::Duration;

use pushgrid_types::cast::fitting;

use crate::config::Reader;

/// Largest unread input of one HTTP/2 stream, in octets: many times a message with overhead.
pub(super) const STREAM_WINDOW: u32 = 64 * 1024;

/// Largest unread input of all streams of a connection, in octets.
pub(super) const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Largest part of an answer kept for an unread HTTP/2 stream, in octets.
pub(super) const STREAM_SEND_BUFFER: usize = 64 * 1024;

/// Bounds of a client's use of a listener, in resources and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time for a request's header section to arrive, from its first octet, or from the connection's opening for the
    /// first. Default 20 s (a slow client is closed within 30 s).
    pub header_timeout: Duration,
    /// Largest header section, in octets; at least 8 KiB. More is answered with 431. Default 16 KiB.
    pub header_octets: usize,
    /// Longest time that a connection is kept between requests. Default 620 s, longer than usual balancers and
    /// proxies keep theirs (60 s, at most 600 s): the receiver of requests must not be the side that closes an idle
    /// connection, or a request on the way at that moment is lost. While places are scarce, connections idle for
    /// `header_timeout` are closed.
    pub idle_timeout: Duration,
    /// Time without progress in taking answers, while no route is being waited for: neither for an answer nor for the
    /// next part of one. Default 60 s.
    pub answer_timeout: Duration,
    /// Time for a client, at the end of the process, to finish a request that is being sent, and to close. Requests
    /// received by then are answered in any case. Default 5 s.
    pub finish_timeout: Duration,
    /// Connections at a time, upgraded ones included. Further clients wait to be accepted. Default 50 000.
    pub max_connections: usize,
    /// Streams at a time on an HTTP/2 connection. Default 256.
    pub h2_max_streams: u32,
    /// Streams of an HTTP/2 connection that the client has reset before they were looked at, and streams that the
    /// service reset for an error; more of either ends the connection (rapid reset, CVE-2023-44487). Default 64.
    pub h2_max_resets: usize,
    /// Interval of HTTP/2 pings to a client. Default 30 s.
    pub h2_ping_interval: Duration,
    /// Time for the client to answer a ping. Default 20 s.
    pub h2_ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(20),
            header_octets: 16 * 1024,
            idle_timeout: Duration::from_secs(620),
            answer_timeout: Duration::from_mins(1),
            finish_timeout: Duration::from_secs(5),
            max_connections: 50_000,
            h2_max_streams: 256,
            h2_max_resets: 64,
            h2_ping_interval: Duration::from_secs(30),
            h2_ping_timeout: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// Reads the limits of the listener of `section`, as `section.header_timeout` and so on.
    pub fn read(reader: &mut Reader, section: &str) -> Self {
        Self::read_with(reader, section, &Self::default())
    }

    /// As [`Self::read`] with other defaults, for a listener with other clients.
    pub fn read_with(reader: &mut Reader, section: &str, defaults: &Self) -> Self {
        let key = |name: &str| format!("{section}.{name}");
        let mut time = |name: &str, default: Duration, least: Duration, most: Duration, doc: &'static str| {
            reader.duration(key(name), crate::config::show_duration(&default), least..=most, doc)
        };
        let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
        let header_timeout = time(
            "header_timeout",
            defaults.header_timeout,
            Duration::from_millis(100),
            Duration::from_mins(5),
            "Time for the header section of a request to arrive, from its first octet on; for the first, from connecting on.",
        );
        let idle_timeout = time(
            "idle_timeout",
            defaults.idle_timeout,
            second,
            Duration::from_hours(24),
            "Longest time that a connection is kept between requests. Longer than proxies in front keep theirs (nginx 60s, balancers up to 600s), or they answer 502 now and then. Sooner when hardly a place is left.",
        );
        let answer_timeout = time(
            "answer_timeout",
            defaults.answer_timeout,
            second,
            hour,
            "Longest time that a client may take nothing of an answer before its connection is closed.",
        );
        let finish_timeout = time(
            "finish_timeout",
            defaults.finish_timeout,
            Duration::ZERO,
            Duration::from_mins(10),
            "Longest wait of a stop for clients in the midst of a request. What has been received is answered all the same.",
        );
        let h2_ping_interval = time(
            "h2_ping_interval",
            defaults.h2_ping_interval,
            second,
            hour,
            "Interval between pings to an HTTP/2 client.",
        );
        let h2_ping_timeout = time(
            "h2_ping_timeout",
            defaults.h2_ping_timeout,
            second,
            hour,
            "Longest time for an HTTP/2 client to answer a ping.",
        );
        let header_octets = reader.octets(
            key("header_octets"),
            crate::config::show_octets(&defaults.header_octets),
            8192..=1024 * 1024,
            "Largest header section of a request; more is answered with 431.",
        );
        let mut count = |name: &str, default: usize, most: u32, doc: &'static str| {
            let count = reader.count(key(name), default as u64, 1..=u64::from(most), doc);
            fitting::<u32>(count)
        };
        let max_connections = count(
            "max_connections",
            defaults.max_connections,
            10_000_000,
            "Connections at a time; further clients wait to be accepted.",
        );
        let h2_max_streams = count(
            "h2_max_streams",
            defaults.h2_max_streams as usize,
            65_536,
            "Streams at a time on an HTTP/2 connection.",
        );
        let h2_max_resets = count(
            "h2_max_resets",
            defaults.h2_max_resets,
            65_536,
            "Streams that an HTTP/2 client may open and reset in haste before its connection is ended.",
        );
        Self {
            header_timeout,
            header_octets,
            idle_timeout,
            answer_timeout,
            finish_timeout,
            max_connections: max_connections as usize,
            h2_max_streams,
            h2_max_resets: h2_max_resets as usize,
            h2_ping_interval,
            h2_ping_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn a_section_reads_its_own_limits() {
        let set = ["ingress.header_timeout=5s", "ingress.h2_max_resets=7"].map(str::to_owned);
        let mut reader = Reader::new(Layers::load(None, std::iter::empty(), &set).unwrap());
        let ingress = Limits::read(&mut reader, "ingress");
        let wide = Limits { max_connections: 1_000_000, ..Limits::default() };
        let connection = Limits::read_with(&mut reader, "connection", &wide);
        assert_eq!(
            ingress,
            Limits { header_timeout: Duration::from_secs(5), h2_max_resets: 7, ..Limits::default() }
        );
        assert_eq!(connection, wide);
        let variables = reader.finish().unwrap().to_env();
        assert!(variables.contains("PUSHGRID_CONNECTION__MAX_CONNECTIONS"), "{variables}");
    }
}
