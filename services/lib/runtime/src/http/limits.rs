use std::time::Duration;

use crate::config::Reader;

/// What a client can make a listener hold, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time for a request's header section to arrive, from the connection's opening or the answer before it. So it is
    /// also how long an HTTP/1.1 connection is kept between requests. Default 20 s (a slow client is closed within
    /// 30 s).
    pub header_timeout: Duration,
    /// Largest header section, in octets; at least 8 KiB. More is answered with 431. Default 16 KiB.
    pub header_octets: usize,
    /// How long a connection is kept without a request in flight, at least; at most twice as long. It matters for
    /// HTTP/2, where no other limit ends an idle connection. Default 2 min.
    pub idle_timeout: Duration,
    /// Connections at a time, upgraded ones included. Further clients wait to be accepted. Default 50 000.
    pub max_connections: usize,
    /// Streams at a time on an HTTP/2 connection. Default 256.
    pub h2_max_streams: u32,
    /// Streams of an HTTP/2 connection that the client has reset before they were looked at, and those that the
    /// service reset for an error; more of either ends the connection (rapid reset, CVE-2023-44487). Default 64.
    pub h2_max_resets: usize,
    /// How often an HTTP/2 client is asked whether it is there. Default 30 s.
    pub h2_ping_interval: Duration,
    /// How long it has to answer. Default 20 s.
    pub h2_ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(20),
            header_octets: 16 * 1024,
            idle_timeout: Duration::from_mins(2),
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

    /// The same with other defaults, for a listener that serves other clients.
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
            "Time for the header section of a request to arrive, also between requests of HTTP/1.1.",
        );
        let idle_timeout = time(
            "idle_timeout",
            defaults.idle_timeout,
            second,
            Duration::from_hours(24),
            "How long a connection is kept without a request in flight.",
        );
        let h2_ping_interval = time(
            "h2_ping_interval",
            defaults.h2_ping_interval,
            second,
            hour,
            "How often an HTTP/2 client is asked whether it is there.",
        );
        let h2_ping_timeout = time(
            "h2_ping_timeout",
            defaults.h2_ping_timeout,
            second,
            hour,
            "How long an HTTP/2 client has to answer that.",
        );
        let header_octets = reader.octets(
            key("header_octets"),
            crate::config::show_octets(&defaults.header_octets),
            8192..=1024 * 1024,
            "Largest header section of a request; more is answered with 431.",
        );
        let mut count = |name: &str, default: usize, most: u32, doc: &'static str| {
            let count = reader.count(key(name), default as u64, 1..=u64::from(most), doc);
            u32::try_from(count).expect("the range ends within 32 bits")
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
