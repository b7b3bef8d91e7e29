//! Time and memory of the service while large states come and go, on local disk.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::failure::Failure;
use crate::report::{Aim, Report, Table, figure};
use crate::service::{Process, Storage};
use crate::states::States;
use crate::usage::{MB, Summit, Watch, forget_peak, memory};

/// What the service may take beside one copy of the body.
const BESIDE_THE_BODY_MB: f64 = 50.0;
/// How much the second time may differ from the first: what an allocator needs to be untidy in.
const BEYOND_THE_FIRST_MB: f64 = 10.0;

/// Sizes for `--quick`.
pub const QUICK: [(&str, usize); 2] = [("64mb", 64_000_000), ("250mb", 250_000_000)];
/// Sizes otherwise.
pub const FULL: [(&str, usize); 2] = [("250mb", 250_000_000), ("1gib", 1 << 30)];

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
