//! A proxy on loopback between a client and the service, which does to a request what networks do: loses it, loses the
//! answer after the service has done what was asked, or delivers it twice; or it leads to another replica.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Authority;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The client's connection is cut, and the service never heard of the request.
    LoseRequest,
    /// The service does what was asked, and the client's connection is cut.
    LoseAnswer,
    /// The service gets it twice, and the client the second answer.
    Twice,
}

/// A proxy in front of a port of loopback.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    wire: Wire,
    state: Arc<Mutex<State>>,
}

/// What the proxy speaks to both sides.
#[derive(Debug, Clone)]
enum Wire {
    Plain,
    Tls {
        toward_client: Arc<ServerConfig>,
        toward_service: Arc<ClientConfig>,
    },
}

/// One connection, whatever it is made of.
trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

impl Wire {
    /// A connection of a client; none if it does not get that far.
    fn accept(&self, client: TcpStream) -> Option<Box<dyn Connection>> {
        Some(match self {
            Self::Plain => Box::new(client),
            Self::Tls { toward_client, .. } => {
                let connection = ServerConnection::new(Arc::clone(toward_client)).ok()?;
                Box::new(StreamOwned::new(connection, client))
            }
        })
    }

    /// A connection to the service; none if it is not there.
    fn connect(&self, target: u16) -> Option<Box<dyn Connection>> {
        let service = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).ok()?;
        Some(match self {
            Self::Plain => Box::new(service),
            Self::Tls { toward_service, .. } => {
                let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
                let connection = ClientConnection::new(Arc::clone(toward_service), name).ok()?;
                Box::new(StreamOwned::new(connection, service))
            }
        })
    }
}

#[derive(Default)]
struct State {
    target: u16,
    plans: Vec<Plan>,
    met: Vec<String>,
    unanswered: usize,
}

struct Plan {
    method: String,
    fate: Fate,
    meanwhile: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("target", &self.target)
            .field("met", &self.met)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts one. It ends with the process.
    ///
    /// # Panics
    /// If loopback has no port.
    #[must_use]
    pub fn before(target: u16) -> Self {
        Self::start(target, Wire::Plain)
    }

    /// The same over TLS to both sides: it has a certificate of this authority, and trusts a service that has one.
    ///
    /// # Panics
    /// If loopback has no port.
    #[must_use]
    pub fn before_tls(target: u16, authority: &Authority) -> Self {
        let wire = Wire::Tls {
            toward_client: authority.server(),
            toward_service: authority.client(),
        };
        Self::start(target, wire)
    }

    fn start(target: u16, wire: Wire) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let state = Arc::new(Mutex::new(State {
            target,
            ..State::default()
        }));
        let (shared, spoken) = (Arc::clone(&state), wire.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (state, wire) = (Arc::clone(&shared), spoken.clone());
                thread::spawn(move || serve(client, &wire, &state));
            }
        });
        Self { port, wire, state }
    }

    /// `http://127.0.0.1:port`, or `https`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match self.wire {
            Wire::Plain => "http",
            Wire::Tls { .. } => "https",
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Decides what becomes of the next request with this method that nothing is decided for yet.
    pub fn next(&self, method: &str, fate: Fate) {
        self.next_with(method, fate, || ());
    }

    /// The same, and does something else at that moment, before the client can learn of it.
    pub fn next_with(&self, method: &str, fate: Fate, meanwhile: impl FnOnce() + Send + 'static) {
        let plan = Plan {
            method: method.to_owned(),
            fate,
            meanwhile: Box::new(meanwhile),
        };
        lock(&self.state).plans.push(plan);
    }

    /// The methods whose requests met their fate so far.
    #[must_use]
    pub fn met(&self) -> Vec<String> {
        lock(&self.state).met.clone()
    }

    /// How many requests the service did not answer, since it was not there.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        lock(&self.state).unanswered
    }

    /// Leads to another port from the next request on.
    pub fn lead_to(&self, target: u16) {
        lock(&self.state).target = target;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection of a client: a request at a time, each to the service and back on a connection of its own.
/// To return is to cut the client's connection.
fn serve(client: TcpStream, wire: &Wire, state: &Mutex<State>) {
    let Some(mut client) = wire.accept(client) else {
        return;
    };
    while let Some(request) = read_message(&mut client) {
        let method = String::from_utf8_lossy(&request)
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        let (plan, target) = {
            let mut state = lock(state);
            let index = state.plans.iter().position(|plan| plan.method == method);
            (index.map(|index| state.plans.remove(index)), state.target)
        };
        let fate = plan.as_ref().map(|plan| plan.fate);
        let mut answer = None;
        let times = match fate {
            Some(Fate::LoseRequest) => 0,
            Some(Fate::Twice) => 2,
            Some(Fate::LoseAnswer) | None => 1,
        };
        for _ in 0..times {
            answer = ask(wire, target, &request);
            if answer.is_none() {
                lock(state).unanswered += 1;
            }
        }
        if let Some(plan) = plan {
            (plan.meanwhile)();
            lock(state).met.push(plan.method);
        }
        let Some(answer) = answer.filter(|_| fate != Some(Fate::LoseAnswer)) else {
            return;
        };
        if client.write_all(&answer).and_then(|()| client.flush()).is_err() {
            return;
        }
    }
}

/// Asks the service; none if it is not there, or goes away.
fn ask(wire: &Wire, target: u16, request: &[u8]) -> Option<Vec<u8>> {
    let mut service = wire.connect(target)?;
    service.write_all(request).ok()?;
    service.flush().ok()?;
    read_message(&mut service)
}

/// One HTTP/1.1 message with its body, as announced by Content-Length or in chunks.
fn read_message(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut buffer = [0; 65536];
    let end_of_head = loop {
        if let Some(end) = message.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => message.extend_from_slice(&buffer[..read]),
        }
    };
    let head = String::from_utf8_lossy(&message[..end_of_head]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let chunked = head.contains("transfer-encoding: chunked");
    loop {
        let body = &message[end_of_head..];
        let whole = match length {
            Some(length) => body.len() >= length,
            None => !chunked || body.ends_with(b"0\r\n\r\n"),
        };
        if whole {
            return Some(message);
        }
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => message.extend_from_slice(&buffer[..read]),
        }
    }
}
