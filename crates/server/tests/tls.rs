//! TLS, and certificates that change while connections are open.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Running, next_line, run};
use crate::support::{Answer, connect, lock, state};

/// An authority, and where it puts the certificates it gives out.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self {
            issuer,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A certificate and its key, in PEM.
    fn issue(&self, serial: u64, expires_in: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = date_time_ymd(expires_in, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn files(&self) -> [PathBuf; 2] {
        ["cert.pem", "key.pem"].map(|name| self.directory.path().join(name))
    }

    /// Puts a new certificate where the service looks.
    fn renew(&self, serial: u64, expires_in: i32) {
        let (certificate, key) = self.issue(serial, expires_in);
        let [certificate_file, key_file] = self.files();
        put(&certificate_file, &certificate);
        put(&key_file, &key);
    }

    fn start(&self, data_dir: &Path, more: &[&str]) -> Running {
        let [certificate, key] = self.files();
        let mut arguments = vec!["-auth-disable", "-storage", "memory"];
        arguments.extend(["-tls-cert", certificate.to_str().unwrap()]);
        arguments.extend(["-tls-key", key.to_str().unwrap()]);
        arguments.extend(more);
        Running::start(data_dir, &arguments)
    }

    /// A connection of somebody who trusts this authority alone.
    fn connect(&self, address: SocketAddr, protocol: &[u8]) -> Secure {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = connect(address);
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        StreamOwned::new(connection, stream)
    }
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// As a whole or not at all, as whoever renews certificates does it.
fn put(file: &Path, text: &str) {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, file).unwrap();
}

fn ask(connection: &mut Secure, method: &str, path: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    connection.write_all(request.as_bytes()).unwrap();
    Answer::read(connection, false)
}

/// The serial number in the certificate that was shown.
fn serial(connection: &Secure) -> u64 {
    let shown: &CertificateDer<'_> = &connection.conn.peer_certificates().unwrap()[0];
    // The first element of what is signed, behind the version: INTEGER, its length, its bytes.
    let at = shown
        .windows(5)
        .position(|bytes| bytes == [0xa0, 3, 2, 1, 2])
        .unwrap()
        + 5;
    let length = usize::from(shown[at + 1]);
    shown[at + 2..at + 2 + length]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Reads the log up to a line that says this.
fn until(running: &mut Running, says: &str) -> Value {
    loop {
        let line = next_line(&mut running.log);
        if line["message"].as_str().unwrap_or_default().contains(says) {
            return line;
        }
    }
}

/// One number of those that are told on their own port, where nobody is asked for a token.
fn number(running: &Running, name: &str) -> Option<f64> {
    let url = running.opened["metrics"].as_str().unwrap();
    let address = url
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix("/metrics")
        .unwrap();
    let mut stream = connect(address.parse().unwrap());
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let text = Answer::read(stream, false).text();
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().parse().unwrap())
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let authority = Authority::new();
    authority.renew(1, 2030);
    let home = tempfile::tempdir().unwrap();
    let mut running = authority.start(home.path(), &["-metrics-port", "0"]);
    assert!(
        running.opened["address"]
            .as_str()
            .unwrap()
            .starts_with("https://")
    );
    assert_eq!(running.opened["certificate_expires"], "2030-01-01T00:00:00Z");
    let mut old = authority.connect(running.address, b"http/1.1");
    assert_eq!(serial(&old), 1);
    assert_eq!(ask(&mut old, "POST", "/v1/backend/a", &state(1)).status, 200);

    authority.renew(2, 2031);
    running.signal("-HUP");
    let renewed = until(&mut running, "is used from now on");
    assert_eq!(renewed["expires"], "2031-01-01T00:00:00Z");
    let mut new = authority.connect(running.address, b"http/1.1");
    assert_eq!(serial(&new), 2);
    for connection in [&mut old, &mut new] {
        assert_eq!(ask(connection, "GET", "/v1/backend/a", "").text(), state(1));
    }
    let expiry = number(&running, "opentaco_tls_certificate_expiry_timestamp_seconds");
    assert_eq!(expiry, Some(1_924_992_000.0));
    assert_eq!(number(&running, "opentaco_tls_renewal_refused"), Some(0.0));
}

#[test]
fn renewed_files_are_found_without_being_asked_to_look() {
    let authority = Authority::new();
    authority.renew(1, 2030);
    let home = tempfile::tempdir().unwrap();
    let mut running = authority.start(home.path(), &[]);
    authority.renew(2, 2030);
    loop {
        // One file was new and the other not yet, or both.
        until(&mut running, "the");
        if serial(&authority.connect(running.address, b"http/1.1")) == 2 {
            break;
        }
    }
}

#[test]
fn a_renewal_that_cannot_be_used_is_told_and_the_certificate_before_stays() {
    let authority = Authority::new();
    authority.renew(1, 2030);
    let home = tempfile::tempdir().unwrap();
    let mut running = authority.start(home.path(), &["-metrics-port", "0"]);
    let [certificate_file, key_file] = authority.files();
    let (_, key_of_another) = authority.issue(9, 2030);
    let good_key = std::fs::read_to_string(&key_file).unwrap();
    let good_certificate = std::fs::read_to_string(&certificate_file).unwrap();
    let bad: [(&Path, &str); 3] = [
        (&key_file, &key_of_another),
        (&certificate_file, "-----BEGIN CERTIFICATE-----\nhalf of i"),
        (&certificate_file, ""),
    ];
    for (file, text) in bad {
        put(file, text);
        running.signal("-HUP");
        let refused = until(&mut running, "cannot be used");
        assert!(
            refused["cause"]
                .as_str()
                .unwrap()
                .contains(certificate_file.to_str().unwrap()),
            "{refused}"
        );
        assert!(
            !refused.to_string().contains(text) || text.is_empty(),
            "{refused}"
        );
        let mut connection = authority.connect(running.address, b"http/1.1");
        assert_eq!(serial(&connection), 1);
        assert_eq!(ask(&mut connection, "GET", "/healthz", "").status, 200);
        assert_eq!(number(&running, "opentaco_tls_renewal_refused"), Some(1.0));
    }
    put(&certificate_file, &good_certificate);
    put(&key_file, &good_key);
    running.signal("-HUP");
    until(&mut running, "is used from now on");
    assert_eq!(number(&running, "opentaco_tls_renewal_refused"), Some(0.0));
    let refused = number(&running, "opentaco_tls_renewals_total{outcome=\"refused\"}");
    assert!(refused >= Some(3.0), "{refused:?}");
}

#[test]
fn a_service_without_a_usable_certificate_does_not_start() {
    let authority = Authority::new();
    authority.renew(1, 2030);
    let [certificate, key] = authority.files();
    let home = tempfile::tempdir().unwrap();
    let (_, key_of_another) = authority.issue(2, 2030);
    let start = || {
        let files = [
            "-tls-cert",
            certificate.to_str().unwrap(),
            "-tls-key",
            key.to_str().unwrap(),
        ];
        run(home.path(), &[&["-port", "0"][..], &files].concat())
    };
    put(&key, &key_of_another);
    let (output, text) = start();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("do not serve together"), "{text}");
    std::fs::remove_file(&key).unwrap();
    let (output, text) = start();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(key.to_str().unwrap()), "{text}");
    put(&certificate, "nothing");
    let (output, text) = start();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("there is no certificate in"), "{text}");
}

#[test]
fn an_expired_certificate_is_used_and_the_log_is_loud_about_it() {
    let authority = Authority::new();
    authority.renew(1, 2020);
    let home = tempfile::tempdir().unwrap();
    let mut running = authority.start(home.path(), &[]);
    until(&mut running, "THE CERTIFICATE HAS EXPIRED");
}

#[test]
fn clients_choose_between_both_versions_of_http() {
    let authority = Authority::new();
    authority.renew(1, 2030);
    let home = tempfile::tempdir().unwrap();
    let running = authority.start(home.path(), &[]);
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let connection = authority.connect(running.address, protocol);
        assert_eq!(connection.conn.alpn_protocol(), Some(protocol));
    }
    // What HTTP/2 says first: its preface and empty settings. It is answered in kind.
    let mut connection = authority.connect(running.address, b"h2");
    connection
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut frame = [0; 9];
    connection.read_exact(&mut frame).unwrap();
    assert_eq!(
        (frame[3], &frame[5..]),
        (4, &[0; 4][..]),
        "settings of the connection"
    );
}

#[test]
fn plain_http_is_not_spoken_where_tls_is() {
    let authority = Authority::new();
    authority.renew(1, 2030);
    let home = tempfile::tempdir().unwrap();
    let running = authority.start(home.path(), &[]);
    let mut stream = connect(running.address);
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut line = Vec::new();
    let _ = BufReader::new(stream).read_until(b'\n', &mut line);
    assert!(!line.starts_with(b"HTTP/"), "{line:?}");
}

#[test]
fn asked_to_stop_it_finishes_what_is_under_way_over_tls_too() {
    let authority = Authority::new();
    authority.renew(1, 2030);
    let home = tempfile::tempdir().unwrap();
    let mut running = authority.start(home.path(), &[]);
    let mut connection = authority.connect(running.address, b"http/1.1");
    let state = state(1);
    let head = format!(
        "POST /v1/backend/late HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        state.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut connection, false).status, 100);
    running.signal("-TERM");
    until(&mut running, "stopping");
    connection.write_all(state.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut connection, false).status, 200);
    let (log, code) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("\"stopped\""), "{log}");
}

#[test]
fn on_its_own_port_metrics_are_open_and_nothing_else_is_there() {
    let home = tempfile::tempdir().unwrap();
    let running = Running::start(home.path(), &["-metrics-port", "0"]);
    assert!(number(&running, "process_start_time_seconds").is_some());
    let url = running.opened["metrics"].as_str().unwrap();
    let address: SocketAddr = url
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix("/metrics")
        .unwrap()
        .parse()
        .unwrap();
    for path in ["/", "/healthz", "/v1/units", "/v1/backend/a"] {
        let mut stream = connect(address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(Answer::read(stream, false).status, 404, "{path}");
    }
}

#[test]
fn the_page_for_operators_names_every_number_that_is_told_and_no_other() {
    let authority = Authority::new();
    authority.renew(1, 2030);
    let home = tempfile::tempdir().unwrap();
    let running = authority.start(home.path(), &[]);
    let mut connection = authority.connect(running.address, b"http/1.1");
    // What never happened is not told.
    for (method, body, status) in [
        ("LOCK", lock("one", "alice"), 200),
        ("LOCK", lock("two", "bob"), 423),
        ("POST", state(1), 409),
    ] {
        assert_eq!(
            ask(&mut connection, method, "/v1/backend/a", &body).status,
            status
        );
    }
    let text = ask(&mut connection, "GET", "/metrics", "").text();
    let told: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.mdx");
    let page = std::fs::read_to_string(page).unwrap();
    let named: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split('|').next())
        .flat_map(|names| names.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(named, told);
}
