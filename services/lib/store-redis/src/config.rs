//! Settings of the section `redis`, checked as far as possible without a connection. Invariant: no fault and no
//! `Debug` shows the URL, which can hold a password.

use std::fmt;
use std::time::Duration;

use pushgrid_runtime::config::{Reader, Secret};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::address::{Address, FORMS};

/// Longest prefix of the names of keys, in characters. Every key carries the prefix.
const PREFIX_MAX: usize = 32;

/// Settings of the section `redis`.
#[derive(Clone)]
pub struct Config {
    /// Address of Redis. Left out of `Debug`: it can hold a password.
    pub(crate) address: Address,
    is_set: bool,
    /// Trusted certificate authorities, in PEM; `None` for the public ones.
    pub(crate) authorities: Option<Vec<u8>>,
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) start_timeout: Duration,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, is_set: _, authorities: _, prefix, timeout, start_timeout } = self;
        f.debug_struct("Config")
            .field("kind", &address.kind())
            .field("prefix", prefix)
            .field("timeout", timeout)
            .field("start_timeout", start_timeout)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the settings of the section `redis`.
    pub fn read(reader: &mut Reader) -> Self {
        let url = reader.secret(
            "redis.url",
            "Address of Redis, with ACL user and password: redis://user:password@host:6379/0; \
             redis+sentinel://host:26379,host:26379/master/0; redis+cluster://host:6379,host:6379. \
             With TLS: rediss, rediss+sentinel, rediss+cluster.",
        );
        let address = read_address(reader, url.as_ref());
        let authorities = read_authorities(reader, &address);
        let prefix = reader.text("redis.prefix", "pushgrid", "Prefix of the name of every key.");
        if let Some(fault) = fault_of_prefix(&prefix) {
            reader.fault("redis.prefix", fault);
        }
        Self {
            address,
            is_set: url.is_some(),
            authorities,
            prefix,
            timeout: reader.duration(
                "redis.timeout",
                "2s",
                Duration::from_millis(50)..=Duration::from_mins(1),
                "Longest time for a call of Redis, making a connection included.",
            ),
            start_timeout: reader.duration(
                "redis.start_timeout",
                "30s",
                Duration::from_millis(100)..=Duration::from_mins(10),
                "Longest wait of a start for Redis.",
            ),
        }
    }

    /// Reports a fault if no Redis is set, for a role that needs one.
    pub fn require(&self, reader: &mut Reader) {
        if !self.is_set {
            reader.fault("redis.url", format!("this role needs Redis: write {FORMS}"));
        }
    }
}

/// Parses the address. No fault shows the URL.
fn read_address(reader: &mut Reader, url: Option<&Secret>) -> Address {
    let Some(url) = url else { return Address::default() };
    url.expose().parse().unwrap_or_else(|fault: crate::address::Invalid| {
        reader.fault("redis.url", format!("{fault}: write {FORMS}"));
        Address::default()
    })
}

fn read_authorities(reader: &mut Reader, address: &Address) -> Option<Vec<u8>> {
    let path = reader.optional_text(
        "redis.ca_file",
        "A file of certificates (PEM): the server's has to lead to one of them. Without it, to a public authority.",
    )?;
    let fault = match std::fs::read(path) {
        Ok(_) if !address.is_tls() => {
            "it is of no use without TLS: write rediss in redis.url, or leave it out".to_owned()
        }
        Ok(pem) if has_certificates(&pem) => return Some(pem),
        Ok(_) => "the file that it names holds no certificates in PEM".to_owned(),
        Err(error) => format!("the file that it names cannot be read: {error}"),
    };
    reader.fault("redis.ca_file", fault);
    None
}

/// True for at least one certificate, all of them well-formed.
fn has_certificates(pem: &[u8]) -> bool {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.is_ok_and(|all| !all.is_empty())
}

fn fault_of_prefix(prefix: &str) -> Option<&'static str> {
    let fits = (1..=PREFIX_MAX).contains(&prefix.len());
    // A brace would replace the hash tag.
    let plain = prefix.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.:".contains(&octet));
    (!fits || !plain).then_some("write 1 to 32 characters of A-Z, a-z, 0-9, -, _, . and :")
}

#[cfg(test)]
mod tests;
