//! The version of HTTP that a client speaks, told by its first octets.

use std::io;

use tokio::io::AsyncReadExt;

use super::watched::Watched;

/// The connection preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// True if the client begins with the preface of HTTP/2. The octets are given back to `io`, to be read again.
pub(super) async fn is_http2(io: &mut Watched) -> io::Result<bool> {
    let mut octets = [0; PREFACE.len()];
    let mut count = 0;
    let is_http2 = loop {
        if octets[..count] != PREFACE[..count] {
            break false;
        }
        if count == PREFACE.len() {
            break true;
        }
        match io.read(&mut octets[count..]).await? {
            0 => break false,
            more => count += more,
        }
    };
    io.put_back(&octets[..count]);
    Ok(is_http2)
}
