//! A proxy on loopback that lets every request through and can lose the answer: the service has done what was asked,
//! and the client finds its connection cut.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    lose: Arc<Mutex<Vec<String>>>,
    lost: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one in front of a port of loopback. It ends with the process.
    ///
    /// # Panics
    /// If loopback has no port.
    #[must_use]
    pub fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let lose: Arc<Mutex<Vec<String>>> = Arc::default();
        let lost: Arc<Mutex<Vec<String>>> = Arc::default();
        let (to_lose, losses) = (Arc::clone(&lose), Arc::clone(&lost));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (to_lose, losses) = (Arc::clone(&to_lose), Arc::clone(&losses));
                thread::spawn(move || serve(client, target, &to_lose, &losses));
            }
        });
        Self { port, lose, lost }
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Loses the answer to the next request with this method.
    pub fn lose_answer_to(&self, method: &str) {
        self.lose.lock().unwrap_or_else(PoisonError::into_inner).push(method.to_owned());
    }

    /// The methods whose answers were lost so far.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One connection of a client: a request at a time, each to the service and back on a connection of its own.
fn serve(mut client: TcpStream, target: u16, lose: &Mutex<Vec<String>>, lost: &Mutex<Vec<String>>) {
    while let Some(request) = read_message(&mut client) {
        let method = String::from_utf8_lossy(&request).split(' ').next().unwrap_or_default().to_owned();
        let Ok(mut service) = TcpStream::connect(("127.0.0.1", target)) else { return };
        if service.write_all(&request).is_err() {
            return;
        }
        let Some(answer) = read_message(&mut service) else { return };
        let mut to_lose = lose.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = to_lose.iter().position(|wanted| *wanted == method) {
            to_lose.remove(index);
            lost.lock().unwrap_or_else(PoisonError::into_inner).push(method);
            return;
        }
        drop(to_lose);
        if client.write_all(&answer).is_err() {
            return;
        }
    }
}

/// One HTTP/1.1 message with its body, as announced by Content-Length or in chunks.
fn read_message(from: &mut TcpStream) -> Option<Vec<u8>> {
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
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
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
