//! Reservation of ports between concurrent tests.
//! Invariant: no two tests hold one port, and a service finds its port free after a restart.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Context as _, Result};
use pushgrid_types::{Rng, SystemRng};

/// First port and number of ports to choose from, below those for outgoing connections (from 32768 on): no connection
/// can hold the port of a service between two of its starts.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Attempts before giving up.
const TRIES: u16 = 500;

/// Reserved TCP port of loopback, used or not, until dropped.
///
/// The reservation is a UDP socket on the same number: TCP is not affected, no two tests can both have the socket, and
/// it ends with its process.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _mark: UdpSocket,
}

impl Port {
    /// Reserves a free port.
    pub fn reserve() -> Result<Self> {
        let mut octets = [0; 2];
        SystemRng.fill(&mut octets);
        let start = u16::from_le_bytes(octets) % COUNT;
        (0..TRIES).map(|step| FIRST + (start + step) % COUNT).find_map(Self::take).context("no free port")
    }

    /// Reserves several ports, at these distances above the first.
    pub fn reserve_at(distances: &[u16]) -> Result<Vec<Self>> {
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

    /// Number of the port.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Address as a value of a `…__LISTEN` setting.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
