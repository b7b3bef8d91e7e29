//! A service that answers what a test wrote down, and remembers what it was asked.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentaco_sdk::{Client, RetryPolicy, Server, StaticToken, Token};

pub(crate) const TOKEN: &str = "scripted-token";

/// What happens to one request.
#[derive(Clone)]
pub(crate) enum Turn {
    /// This is answered.
    Answer(String),
    /// The connection is cut after the request was read.
    Cut,
}

/// An answer with a status, headers and a body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Turn {
    let mut head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    Turn::Answer(format!("{head}\r\n{body}"))
}

/// A refusal of ours.
pub(crate) fn refusal(status: u16, code: &str) -> Turn {
    answer(
        status,
        &[],
        &format!(r#"{{"error":"{code}","message":"because"}}"#),
    )
}

pub(crate) struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Takes these turns, one for each request; cuts whatever comes after.
    pub(crate) fn new(turns: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut turns = turns.into_iter();
            for mut stream in listener.incoming().flatten() {
                let request = read_request(&mut stream);
                record.lock().unwrap().push(request);
                if let Some(Turn::Answer(text)) = turns.next() {
                    let _ = stream.write_all(text.as_bytes());
                }
            }
        });
        Self { url, asked }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The requests so far, each as it came.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// A client that asks again without much waiting.
    pub(crate) fn client(&self) -> Client {
        client(&self.url)
    }
}

pub(crate) fn client(url: &str) -> Client {
    let server = Server::parse(url).unwrap();
    let token = StaticToken::new(&server, Token::parse(TOKEN).unwrap());
    Client::builder(server)
        .tokens(token)
        .retries(impatient())
        .build()
        .unwrap()
}

pub(crate) fn impatient() -> RetryPolicy {
    RetryPolicy {
        first_wait: Duration::from_millis(1),
        ..RetryPolicy::default()
    }
}

/// The value of a header of a request.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return text,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
}
