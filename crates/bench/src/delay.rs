//! A bucket that is far away: whatever is asked of it arrives so many milliseconds later.
//!
//! A relay on loopback between a client of the bucket and the bucket itself. It reads no HTTP: on a connection that is
//! kept, the first bytes of a client after bytes of an answer are the next request, and they wait. Answers do not.
//!
//! Threads, and no tasks: a timer of tokio is right to a millisecond, `thread::sleep` to some fifty microseconds, and what
//! is looked for here is a millisecond.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::failure::{Doing, Failure};

/// What is carried at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// A relay. It ends with the process.
#[derive(Debug)]
pub struct Delay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    microseconds: AtomicU64,
    requests: AtomicU64,
}

impl Delay {
    /// Starts one in front of a port of loopback, that lets everything through at once until it is [`set`](Self::set).
    ///
    /// # Errors
    /// If loopback has no port.
    pub fn before(target: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("opening a port for a relay")?;
        let port = listener.local_addr().doing("opening a port for a relay")?.port();
        let shared = Arc::new(Shared {
            microseconds: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let of_all = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client whose connection cannot be carried on finds it cut, as with any bucket.
                let _ = carry(client, target, &of_all);
            }
        });
        Ok(Self { port, shared })
    }

    /// Where clients find it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How long every request waits from now on.
    pub fn set(&self, delay: Duration) {
        let microseconds = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.shared.microseconds.store(microseconds, Ordering::Relaxed);
    }

    /// How many requests have come by so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

/// Carries one connection, on two threads of its own.
fn carry(client: TcpStream, target: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    let bucket = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    bucket.set_nodelay(true)?;
    let answered = Arc::new(AtomicBool::new(true));
    let (mut from_client, mut to_bucket) = (client.try_clone()?, bucket.try_clone()?);
    let (asked, shared) = (Arc::clone(&answered), Arc::clone(shared));
    thread::spawn(move || {
        let _ = relay(&mut from_client, &mut to_bucket, || {
            if asked.swap(false, Ordering::SeqCst) {
                shared.requests.fetch_add(1, Ordering::Relaxed);
                let delay = shared.microseconds.load(Ordering::Relaxed);
                if delay > 0 {
                    thread::sleep(Duration::from_micros(delay));
                }
            }
        });
    });
    let (mut from_bucket, mut to_client) = (bucket, client);
    thread::spawn(move || {
        // Before the bytes go on: when the client has them all, its next request is one.
        let _ = relay(&mut from_bucket, &mut to_client, || {
            answered.store(true, Ordering::SeqCst);
        });
    });
    Ok(())
}

/// One direction, until it ends; then the other side learns that it did.
fn relay(from: &mut TcpStream, to: &mut TcpStream, before_each: impl Fn()) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let done = loop {
        match from.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(read) => {
                before_each();
                if let Err(error) = to.write_all(&piece[..read]) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    let _ = to.shutdown(Shutdown::Write);
    done
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Answers every piece that it reads with another.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut byte = [0];
                    while client.read_exact(&mut byte).is_ok() && client.write_all(&byte).is_ok() {}
                });
            }
        });
        address
    }

    #[test]
    fn each_request_of_a_kept_connection_waits_once_and_is_counted() {
        let relay = Delay::before(echo()).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port)).unwrap();
        let mut ask = || {
            let began = Instant::now();
            let mut byte = [7];
            client.write_all(&byte).unwrap();
            client.read_exact(&mut byte).unwrap();
            began.elapsed()
        };
        ask();
        relay.set(Duration::from_millis(20));
        for _ in 0..3 {
            assert!(ask() >= Duration::from_millis(20));
        }
        assert_eq!(relay.requests(), 4);
    }
}
