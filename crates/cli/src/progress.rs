//! A bar on standard error for transfers that take longer than a second, and only where a person looks.

use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What ends sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Waits for a transfer and shows how far it is.
///
/// `moved` counts bytes, `total` is how many there will be; 0 while that is not known.
pub async fn watched<T>(
    doing: &str,
    moved: &AtomicU64,
    total: &AtomicU64,
    transfer: impl Future<Output = T>,
) -> T {
    if !std::io::stderr().is_terminal() {
        return transfer.await;
    }
    let started = Instant::now();
    let mut bar: Option<ProgressBar> = None;
    let mut ticks = tokio::time::interval(TICK);
    let mut transfer = std::pin::pin!(transfer);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut transfer => break result,
            _ = ticks.tick() => {}
        }
        if started.elapsed() >= PATIENCE {
            let bar = bar.get_or_insert_with(|| new_bar(doing));
            let total = total.load(Ordering::Relaxed);
            if total > 0 {
                bar.set_length(total);
            }
            bar.set_position(moved.load(Ordering::Relaxed));
            bar.tick();
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result
}

fn new_bar(doing: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(doing.to_owned());
    bar
}
