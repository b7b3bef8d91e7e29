//! An issuer of ID tokens on loopback, with a real key: it stands for a CI platform or a company's provider where none
//! can be asked. It serves its discovery document and its public key, and signs whatever a test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opentaco_domain::{Clock as _, SystemClock};
use serde_json::{Value, json};

const KID: &str = "of-the-test";

/// A running issuer. It stops when it is dropped.
pub struct TokenIssuer {
    address: SocketAddr,
    key: EcdsaKeyPair,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenIssuer({})", self.address)
    }
}

impl TokenIssuer {
    /// One on a free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port is free"))
    }

    /// One on this listener: until then its address may have been nobody's.
    ///
    /// # Panics
    /// If there is no randomness for a key.
    #[must_use]
    pub fn on(listener: TcpListener) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key can be made");
        let address = listener.local_addr().expect("a listener has an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let documents = Documents::new(address, &key);
        let until = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever hangs up early asks again.
                let _answered = stream.and_then(|stream| documents.answer(stream));
            }
        });
        Self {
            address,
            key,
            stopped,
            thread: Some(thread),
        }
    }

    /// What it is called, which is where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A token with these claims; who issued it, when and until when is added where they do not say.
    ///
    /// # Panics
    /// If `claims` is no object.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        let now = SystemClock.now().as_second();
        let mut all = json!({"iss": self.url(), "iat": now, "exp": now + 300});
        let given = claims.as_object().expect("claims are an object");
        all.as_object_mut()
            .expect("it was just made")
            .extend(given.clone());
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": KID});
        let message = format!("{}.{}", part(&header), part(&all));
        let signature = self
            .key
            .sign(&SystemRandom::new(), message.as_bytes())
            .expect("a key signs");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

impl Drop for TokenIssuer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes it up, to see that it is to stop.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

struct Documents {
    discovery: String,
    keys: String,
}

impl Documents {
    fn new(address: SocketAddr, key: &EcdsaKeyPair) -> Self {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let url = format!("http://{address}");
        Self {
            discovery: json!({
                "issuer": url,
                "jwks_uri": format!("{url}/keys"),
                "authorization_endpoint": format!("{url}/authorize"),
                "token_endpoint": format!("{url}/token"),
            })
            .to_string(),
            keys: json!({"keys": [
                {"kty": "EC", "crv": "P-256", "kid": KID, "use": "sig", "x": text(x), "y": text(y)}
            ]})
            .to_string(),
        }
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match path {
            "/.well-known/openid-configuration" => ("200 OK", self.discovery.as_str()),
            "/keys" => ("200 OK", self.keys.as_str()),
            _ => ("404 Not Found", "{}"),
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }
}
