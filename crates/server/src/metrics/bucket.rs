//! Requests to the bucket, read from what the storage crate counts when somebody asks.

use std::fmt;

use opentaco_control::{BUCKET_BOUNDS_MILLISECONDS, StateControl};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

#[derive(Debug)]
pub(super) struct Requests(StateControl);

impl Requests {
    pub(super) fn of(control: &StateControl) -> Self {
        Self(control.clone())
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let measured = self.0.counts().measured();
        let mut requests = encoder.encode_descriptor(
            "opentaco_bucket_requests",
            "Requests to the bucket that ended, repeats included, by what was asked and about which kind of object",
            None,
            MetricType::Counter,
        )?;
        for one in &measured {
            let outcomes = [
                ("answered", one.answered),
                ("failed", one.failed),
                ("abandoned", one.abandoned),
            ];
            for (outcome, count) in outcomes {
                let labels = [
                    ("verb", one.verb.as_str()),
                    ("kind", one.kind.as_str()),
                    ("outcome", outcome),
                ];
                requests
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let mut durations = encoder.encode_descriptor(
            "opentaco_bucket_request_duration_seconds",
            "From a request to the bucket to the head of its answer",
            None,
            MetricType::Histogram,
        )?;
        for one in &measured {
            let bounds = BUCKET_BOUNDS_MILLISECONDS
                .iter()
                .map(|bound| *bound as f64 / 1000.0)
                .chain([f64::INFINITY]);
            let classes: Vec<_> = bounds.zip(one.classes).collect();
            durations
                .encode_family(&[("verb", one.verb.as_str()), ("kind", one.kind.as_str())])?
                .encode_histogram::<NoLabelSet>(
                    one.took.as_secs_f64(),
                    one.classes.iter().sum(),
                    &classes,
                    None,
                )?;
        }
        Ok(())
    }
}
