//! Time and memory of the service while large states come and go, on local disk.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use opentaco_domain::limits::STATE_BODY_BYTES_MAX;

use crate::client::Client;
use crate::failure::{Doing as _, Failure};
use crate::ground::{Ground, Place};
use crate::raw::{Call, Raw};
use crate::report::{Aim, Report, Table, figure};
use crate::requests::head_bytes;
use crate::service::{Process, Storage, TOKEN};
use crate::states::States;
use crate::throughput::median;
use crate::usage::{MB, Summit, Watch, forget_peak, memory};

/// What the service may take beside one copy of the body.
const BESIDE_THE_BODY_MB: f64 = 50.0;
/// How much the second time may differ from the first: what an allocator needs to be untidy in.
const BEYOND_THE_FIRST_MB: f64 = 10.0;

/// Sizes that are written and read beside raw calls, and how often each.
pub const BESIDE_RAW: [(&str, usize, usize); 5] = [
    ("10kb", 10_000, 60),
    ("1mb", 1_000_000, 20),
    ("64mb", 64_000_000, 3),
    ("250mb", 250_000_000, 1),
    ("1gib", 1 << 30, 1),
];
/// Bodies at once.
const AT_ONCE: usize = 100;
/// What they may take together: what is set aside for bodies, and what the service may take beside.
const AT_ONCE_MB_MAX: f64 = 268.0 + BESIDE_THE_BODY_MB;

/// Sizes for `--quick`.
pub const QUICK: [(&str, usize); 2] = [("64mb", 64_000_000), ("250mb", 250_000_000)];
/// Sizes otherwise.
pub const FULL: [(&str, usize); 3] = [("64mb", 64_000_000), ("250mb", 250_000_000), ("1gib", 1 << 30)];

/// What one transfer took.
#[derive(Debug)]
struct Transfer {
    elapsed: Duration,
    /// Until the last piece had left for the service; none for a download.
    sent_after: Option<Duration>,
    peak: u64,
    summit: Summit,
}

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If a process does not start, or a request is not answered as it should be.
pub async fn report(report: &mut Report<'_>, sizes: &[(&str, usize)]) -> Result<(), Failure> {
    report.say("\nLarge states on local disk: a new service for each size, two writes, then a read\n")?;
    let mut table = Table::new(&[
        "",
        "seconds",
        "last piece sent after",
        "MB/s",
        "peak MB",
        "beside the body MB",
        "",
        "idle after MB",
    ]);
    let mut explanations = Vec::new();
    for &(size, bytes) in sizes {
        let states = States::of(bytes);
        let body = bytes as f64;
        let service = Process::service(Storage::Local, &[])?;
        let mut client = Client::connect(service.address(), "bench/large").await?;
        let mut first_peak = None;
        for (n, what) in [(1, "first_write"), (2, "second_write"), (2, "read")] {
            let state = states.state(n);
            let (transfer, resident) = match what {
                "read" => {
                    let watched = Watched::begin(&service);
                    client.read_and_compare(&state).await?;
                    (watched.end(None)?, memory(service.id())?.resident)
                }
                _ => {
                    let lock = client.lock().await?;
                    let watched = Watched::begin(&service);
                    let left = client.write(&state, &lock).await?;
                    let transfer = watched.end(Some(left))?;
                    client.unlock(&lock).await?;
                    (transfer, memory(service.id())?.resident)
                }
            };
            let name = format!("bodies.{size}.{what}");
            let (seconds, peak) = (transfer.elapsed.as_secs_f64(), transfer.peak as f64);
            report.row(format!("{name}.time"), seconds, "s");
            report.row(format!("{name}.resident_after"), resident as f64 / MB, "MB");
            report.row(format!("{name}.peak"), peak / MB, "MB");
            let mut verdict = report.judge(Aim::AtMost((body / MB).round() + BESIDE_THE_BODY_MB));
            match (what, first_peak) {
                ("first_write", _) => first_peak = Some(peak),
                ("second_write", Some(first)) => {
                    report.row(format!("{name}.peak_beyond_first"), (peak - first) / MB, "MB");
                    let as_the_first = report.judge(Aim::AtMost(BEYOND_THE_FIRST_MB));
                    if as_the_first.ends_with("MISSED") {
                        verdict = format!("{verdict}, beyond the first {as_the_first}");
                    }
                }
                _ => {}
            }
            if verdict.contains("MISSED") {
                explanations.push(explain(&format!("{size} {what}"), &transfer));
            }
            table.line([
                format!("{size} {what}").replace('_', " "),
                figure(seconds),
                transfer
                    .sent_after
                    .map(|sent| figure(sent.as_secs_f64()))
                    .unwrap_or_default(),
                figure(body / MB / seconds),
                figure(peak / MB),
                figure((peak - body) / MB),
                verdict,
                figure(resident as f64 / MB),
            ]);
        }
    }
    report.say(&table)?;
    for explanation in explanations {
        report.say(explanation)?;
    }
    Ok(())
}

/// Writes and reads of each size, beside the raw calls that they come down to, on local disk and in turns.
///
/// # Errors
/// As [`report`].
pub async fn beside_raw(report: &mut Report<'_>, sizes: &[(&str, usize, usize)]) -> Result<(), Failure> {
    report.say("\nStates by size on local disk, beside raw calls: MB/s, the middle one of several\n")?;
    let mut table = Table::new(&["", "times", "MB/s", "raw MB/s", "time to raw"]);
    for &(size, bytes, times) in sizes {
        let states = States::of(bytes);
        let ground = Ground::open(Place::Local)?;
        let service = ground.service("", &["-max-versions", "2", "-versions-min-age", "0s"])?;
        let mut client = Client::connect(service.address(), "bench/sized").await?;
        let store = ground.raw("raw").await?;
        let mut raw = Raw::begin(store, "bench/sized", head_bytes()?, &states.state(0)).await?;
        let mut took: [[Vec<f64>; 2]; 2] = Default::default();
        for n in 0..times {
            let state = states.state(n as u64 + 1);
            for side in [n % 2, 1 - n % 2] {
                let began = Instant::now();
                match side {
                    0 => client.write_without_lock(&state).await?,
                    _ => raw.call(Call::Commit, &state).await?,
                }
                took[0][side].push(began.elapsed().as_secs_f64());
                let began = Instant::now();
                match side {
                    0 => client.read().await.map(drop)?,
                    _ => raw.call(Call::Read, &state).await?,
                }
                took[1][side].push(began.elapsed().as_secs_f64());
            }
        }
        for (what, [ours, raw]) in ["write", "read"].into_iter().zip(&mut took) {
            let (ours, raw) = (median(ours), median(raw));
            let speed = |seconds: f64| bytes as f64 / MB / seconds;
            let name = format!("sizes.{size}.{what}");
            report.row(name.clone(), speed(ours), "MB/s");
            report.row(format!("{name}.raw"), speed(raw), "MB/s");
            report.row(format!("{name}.time"), ours * 1e3, "ms");
            report.row(format!("{name}.raw.time"), raw * 1e3, "ms");
            report.ratio(format!("{name}.ratio"), ours / raw, format!("{name}.raw.time"));
            table.line([
                format!("{size} {what}"),
                times.to_string(),
                figure(speed(ours)),
                figure(speed(raw)),
                figure(ours / raw),
            ]);
        }
    }
    report.say(&table)?;
    Ok(())
}

/// The memory of the service while so many states come at once, and what becomes of one that is too large.
///
/// # Errors
/// As [`report`].
pub async fn at_once(report: &mut Report<'_>, sizes: &[(&str, usize)]) -> Result<(), Failure> {
    report.say(format!(
        "\n{AT_ONCE} states at once on local disk, each to a unit of its own\n"
    ))?;
    let mut table = Table::new(&["", "MB in all", "seconds", "peak MB", ""]);
    for &(size, bytes) in sizes {
        let states = States::of(bytes);
        let service = Process::service(Storage::Local, &[])?;
        let mut clients = Vec::new();
        for n in 0..AT_ONCE {
            clients.push(Client::connect(service.address(), &format!("bench/at-once-{n}")).await?);
        }
        let state = states.state(1);
        let watched = Watched::begin(&service);
        try_join_all(clients.iter_mut().map(|client| client.write_without_lock(&state))).await?;
        let transfer = watched.end(None)?;
        let name = format!("at_once.{size}");
        report.row(format!("{name}.time"), transfer.elapsed.as_secs_f64(), "s");
        report.row(format!("{name}.peak"), transfer.peak as f64 / MB, "MB");
        let verdict = report.judge(Aim::AtMost(AT_ONCE_MB_MAX));
        table.line([
            size.to_owned(),
            figure(bytes as f64 * AT_ONCE as f64 / MB),
            figure(transfer.elapsed.as_secs_f64()),
            figure(transfer.peak as f64 / MB),
            verdict,
        ]);
    }
    report.say(&table)?;
    let service = Process::service(Storage::Local, &[])?;
    let status = announced(&service, STATE_BODY_BYTES_MAX + 1)?;
    report.row("at_once.above_the_limit", f64::from(status), "status");
    report.say(format!(
        "  A state of one byte more than {STATE_BODY_BYTES_MAX} is answered with {status} before any of it is sent\n"
    ))?;
    Ok(())
}

/// The status that a state of this size is answered with when it is announced and not sent.
fn announced(service: &Process, bytes: u64) -> Result<u16, Failure> {
    let doing = "announcing a state that is too large";
    let mut stream = TcpStream::connect(service.address()).doing(doing)?;
    let head = format!(
        "POST /v1/backend/bench/too-large HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {bytes}\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).doing(doing)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).doing(doing)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| Failure::new(format!("a state that is too large is answered with {line:?}")))
}

/// Where the memory went, in a line for people.
fn explain(name: &str, transfer: &Transfer) -> String {
    let Summit { memory, after } = transfer.summit;
    let when = match transfer.sent_after {
        Some(sent) if after > sent => format!(
            "{:.2} s after its last piece was sent",
            (after - sent).as_secs_f64()
        ),
        Some(sent) => format!(
            "{:.2} s before its last piece was sent",
            (sent - after).as_secs_f64()
        ),
        None => "while it was sent".to_owned(),
    };
    format!(
        "  {} missed its aim: the most was seen {when}, {} MB of the service's own (heap and stacks) and {} MB of pages of files",
        name.replace('_', " "),
        figure(memory.anonymous as f64 / MB),
        figure(memory.file as f64 / MB)
    )
}

/// A transfer under way.
struct Watched {
    process: u32,
    began: Instant,
    watch: Watch,
    peak_is_new: bool,
}

impl Watched {
    fn begin(service: &Process) -> Self {
        let process = service.id();
        let peak_is_new = forget_peak(process);
        Self {
            process,
            began: Instant::now(),
            watch: Watch::over(process),
            peak_is_new,
        }
    }

    fn end(self, left: Option<Instant>) -> Result<Transfer, Failure> {
        let elapsed = self.began.elapsed();
        let summit = self.watch.end();
        let peak = memory(self.process)?.peak;
        // Where the kernel's own mark cannot be moved, what was seen by looking is all there is.
        let peak = if self.peak_is_new {
            peak
        } else {
            summit.memory.resident
        };
        let sent_after = left.map(|left| left.saturating_duration_since(self.began));
        Ok(Transfer {
            elapsed,
            sent_after,
            peak,
            summit,
        })
    }
}
