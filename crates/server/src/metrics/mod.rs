//! What an operator's machinery counts: requests at the doors, requests to the bucket, bodies, the process.
//!
//! Every label is a word from a list that stands in our sources: a door, an operation, an outcome, a code. A unit, a
//! caller or an address is never one, so the number of series has a bound that no client can move.

mod bucket;
mod process;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentaco_control::{Audit, StateControl};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::bodies::Bodies;
use crate::s3;

/// What [`Metrics::text`] is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Classes of durations, in seconds: a lock on a local disk is in the first, a state of a gigabyte in the last.
const SECONDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

/// All numbers of one service.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Requests, Counter>,
    durations: Family<Operations, Histogram, fn() -> Histogram>,
    lock_conflicts: Family<Doors, Counter>,
    refused_writes: Family<Reasons, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// Where it was sent; only the door is taken from it.
    pub path: &'a str,
    /// What it asked for, if it got so far.
    pub action: Option<&'static str>,
    /// How it ended, as the log says it.
    pub outcome: &'static str,
    /// The word it was refused with, if it was.
    pub code: Option<&'static str>,
    /// From its head to the head of the answer.
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Requests {
    door: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operations {
    door: &'static str,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Doors {
    door: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reasons {
    door: &'static str,
    reason: &'static str,
}

impl Metrics {
    /// Numbers of a service over `control` that reads `bodies`.
    #[must_use]
    pub fn new(control: &StateControl, bodies: &Bodies) -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            lock_conflicts: Family::default(),
            refused_writes: Family::default(),
            registry: Mutex::default(),
        };
        registry.register(
            "opentaco_requests",
            "Requests that ended, by door, operation and outcome",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "opentaco_request_duration",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "opentaco_lock_conflicts",
            "Locks that were refused because somebody else holds the unit",
            metrics.lock_conflicts.clone(),
        );
        registry.register(
            "opentaco_refused_writes",
            "Writes that were refused, by the code of the answer",
            metrics.refused_writes.clone(),
        );
        registry.register_collector(Box::new(bucket::Requests::of(control)));
        registry.register_collector(Box::new(BodiesInFlight(bodies.clone())));
        registry.register_collector(Box::new(AuditEvents(control.audit().clone())));
        registry.register_collector(Box::new(GraphCommits(control.clone())));
        registry.register_collector(Box::new(process::Process::started_now()));
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }

    /// Shows these numbers, too.
    pub fn show(&self, more: impl Collector) {
        self.registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .register_collector(Box::new(more));
    }

    /// Counts a request that is over.
    pub fn count(&self, ended: &Ended<'_>) {
        let door = door(ended.path);
        // What was turned away before anybody asked what it wanted.
        let operation = ended.action.unwrap_or("none");
        let outcome = ended.outcome;
        self.requests
            .get_or_create(&Requests {
                door,
                operation,
                outcome,
            })
            .inc();
        self.durations
            .get_or_create(&Operations { door, operation })
            .observe(ended.took.as_secs_f64());
        match (operation, ended.code) {
            ("unit.lock" | s3::PUT_LOCK_FILE, Some("locked")) => {
                self.lock_conflicts.get_or_create(&Doors { door }).inc();
            }
            ("unit.write" | "s3.PutObject" | "s3.CompleteMultipartUpload", Some(reason))
                if outcome == "refused" =>
            {
                self.refused_writes.get_or_create(&Reasons { door, reason }).inc();
            }
            _ => {}
        }
    }

    /// All numbers, as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes all");
        text
    }
}

/// The door that a path leads to.
pub(crate) fn door(path: &str) -> &'static str {
    if path.starts_with("/v1/backend/") || path.starts_with("/v1/backend-lock/") {
        "terraform"
    } else if path.starts_with("/v1/") || path == "/oidc/jwks.json" {
        "management"
    } else if s3::is_here(path) {
        "s3"
    } else if ["/healthz", "/readyz", "/metrics", "/openapi.json"].contains(&path) {
        "operator"
    } else {
        "none"
    }
}

#[derive(Debug)]
struct BodiesInFlight(Bodies);

impl Collector for BodiesInFlight {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let in_flight = self.0.in_flight();
        gauge(
            &mut encoder,
            "opentaco_bodies_in_flight_bytes",
            "Memory that states on their way have taken of what is set aside for them",
            in_flight.bytes,
        )?;
        gauge(
            &mut encoder,
            "opentaco_bodies_in_flight_max_bytes",
            "Memory that is set aside for states on their way (-max-bodies-in-flight)",
            in_flight.bytes_max,
        )?;
        gauge(
            &mut encoder,
            "opentaco_bodies_waiting",
            "States that wait until there is room for them",
            in_flight.waiting,
        )
    }
}

#[derive(Debug)]
struct AuditEvents(Audit);

impl Collector for AuditEvents {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = self.0.numbers();
        for (name, help, value) in [
            (
                "opentaco_audit_events",
                "Events that the audit was told of",
                numbers.told,
            ),
            (
                "opentaco_audit_events_lost",
                "Events that the audit let go, because the bucket did not take them",
                numbers.lost,
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        gauge(
            &mut encoder,
            "opentaco_audit_events_waiting",
            "Events that are not in the bucket yet",
            numbers.waiting,
        )
    }
}

#[derive(Debug)]
struct GraphCommits(StateControl);

impl Collector for GraphCommits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counts, owed) = self.0.graph_counts();
        for (name, help, value) in [
            (
                "opentaco_graph_commits",
                "Commits of the dependency graph by this service",
                &counts.commits,
            ),
            (
                "opentaco_graph_followed",
                "Writes of units that these commits tell of",
                &counts.followed,
            ),
            (
                "opentaco_graph_failures",
                "Times when the dependency graph could not be brought up to date",
                &counts.failures,
            ),
        ] {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        gauge(
            &mut encoder,
            "opentaco_graph_owed",
            "Changes of units that the dependency graph does not tell of yet",
            owed as u64,
        )
    }
}

/// One number without labels.
pub(crate) fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn every_route_has_a_door_and_what_is_no_route_has_none() {
        for route in ROUTES {
            assert_ne!(door(route.path), "none", "{route:?}");
        }
        for path in ["/", "/v1", "/metrics/x", "/s3a", "//v1/backend/a"] {
            assert_eq!(door(path), "none", "{path}");
        }
    }
}
