//! The accept loop of a listener: bounded in connections, with backoff when the system refuses.
//!
//! Invariant: no error of accepting ends the loop; only the drain of the process does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Socket;
use crate::{Backoff, Shutdown};

/// Backoff after an accept that failed for want of a resource. Such an error comes back at once for as long as the want
/// lasts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// Share of the places, one in so many, below which idle clients are asked to leave.
const SCARCE: usize = 8;

/// A source of connections; a listener, or a test's.
pub(super) trait Accept {
    fn accept(&self) -> impl Future<Output = io::Result<TcpStream>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // Small frames and answers go out at once. A socket that is closed already fails at its first use.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Gives every connection to `take`, at most `max_connections` at a time, until the process drains; then closes
/// `listener`. No error of accepting ends the loop. `crowd` is told, before each accept, whether places are scarce.
pub(super) async fn until_drained(
    listener: impl Accept,
    max_connections: usize,
    shutdown: &Shutdown,
    crowd: impl Fn(bool),
    mut take: impl FnMut(Socket),
) {
    let room = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let accepting = async {
        let mut backoff = BACKOFF;
        loop {
            crowd(room.available_permits() <= max_connections / SCARCE);
            let free = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
            match listener.accept().await {
                Ok(stream) => {
                    backoff.reset();
                    take(Socket::new(stream, free));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections, trying again");
                    backoff.wait().await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.draining() => {}
        () = accepting => {}
    }
}

/// True of the error of one connection, gone before the accept, and not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    /// Too many open files, on Linux.
    const EMFILE: i32 = 24;

    /// A listener that fails so many times, and then has one connection.
    struct Exhausted {
        failures: AtomicU32,
        listener: TcpListener,
    }

    impl Accept for Exhausted {
        async fn accept(&self) -> io::Result<TcpStream> {
            let left =
                self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            match left {
                Ok(_) => Err(io::Error::from_raw_os_error(EMFILE)),
                Err(_) => Accept::accept(&self.listener).await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn running_out_of_descriptors_pauses_the_listener_and_does_not_end_it() {
        let listener = super::super::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (started, shutdown) = (Instant::now(), Shutdown::new());
        let mut taken = Vec::new();
        let accept = Exhausted { failures: AtomicU32::new(9), listener };
        until_drained(
            accept,
            10,
            &shutdown,
            |_| {},
            |socket| {
                taken.push(socket);
                shutdown.drain();
            },
        )
        .await;
        assert_eq!(taken.len(), 1);
        // 10, 20, 40 .. 640 ms, and twice the longest; or half of each, and what the clock rounds up.
        let most = 1270 + 2000;
        assert!((most / 2..=most + 9).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
}
