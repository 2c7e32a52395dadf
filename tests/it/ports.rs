use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Context as _, Result};
use pushgrid_types::{Rng, SystemRng};

/// Ports below those that the machine gives to outgoing connections (from 32768 on): a service that is started
/// again finds its port free, for no connection of a test can have been given it meanwhile.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// How many numbers are tried before giving up.
const TRIES: u16 = 500;

/// A TCP port of loopback that no other test takes while this lives, whether or not something listens on it.
///
/// The mark that others see is a UDP socket on the same number: TCP does not mind it, two tests cannot both have
/// it, and it goes with the process that made it.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _mark: UdpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Result<Self> {
        let mut octets = [0; 2];
        SystemRng.fill(&mut octets);
        let start = u16::from_le_bytes(octets) % COUNT;
        (0..TRIES).map(|step| FIRST + (start + step) % COUNT).find_map(Self::take).context("no free port")
    }

    /// Several, at these distances above the first.
    pub(crate) fn reserve_at(distances: &[u16]) -> Result<Vec<Self>> {
        (0..TRIES)
            .find_map(|_| {
                let first = Self::reserve().ok()?;
                let others =
                    distances.iter().map(|distance| Self::take(first.number.checked_add(*distance)?));
                let others = others.collect::<Option<Vec<_>>>()?;
                Some(std::iter::once(first).chain(others).collect())
            })
            .context("no free ports")
    }

    fn take(number: u16) -> Option<Self> {
        let mark = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _mark: mark })
    }

    /// The number alone.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// As a value of a `…__LISTEN` setting.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
