//! Counters and gauges in Prometheus' text form.

use std::{fmt::Write, sync::Arc};

use domain::model::RuntimeStatus;
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGauge,
    streams: IntGauge,
    tokens: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts one up while it lives.
pub struct Held(IntGauge);
impl Held {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}
impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let buckets = vec![0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];
        let inner = Inner {
            requests: IntCounterVec::new(Opts::new("filbert_http_requests_total", "Requests answered"), &["method", "route", "status"]).expect("a valid metric"),
            seconds: HistogramVec::new(HistogramOpts::new("filbert_http_request_seconds", "Time to the response's head").buckets(buckets), &["route"]).expect("a valid metric"),
            in_flight: IntGauge::new("filbert_http_requests_in_flight", "Requests whose head is being made").expect("a valid metric"),
            streams: IntGauge::new("filbert_streams_open", "Answers being streamed").expect("a valid metric"),
            tokens: IntCounterVec::new(Opts::new("filbert_tokens_total", "Tokens of answered requests"), &["kind"]).expect("a valid metric"),
            registry,
        };
        for metric in [Box::new(inner.requests.clone()) as Box<dyn prometheus::core::Collector>, Box::new(inner.seconds.clone()), Box::new(inner.in_flight.clone()), Box::new(inner.streams.clone()), Box::new(inner.tokens.clone())] {
            inner.registry.register(metric).expect("metrics have names of their own");
        }
        Self(Arc::new(inner))
    }
    pub fn begin(&self) -> Held {
        Held::new(&self.0.in_flight)
    }
    pub fn stream(&self) -> Held {
        Held::new(&self.0.streams)
    }
    pub fn streams_open(&self) -> usize {
        self.0.streams.get().max(0) as usize
    }
    /// `route` is the pattern of the path, never the path: labels stay few.
    pub fn answered(&self, method: &str, route: &str, status: u16, seconds: f64) {
        self.0.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.0.seconds.with_label_values(&[route]).observe(seconds);
    }
    pub fn tokens(&self, usage: &domain::chat::Usage) {
        self.0.tokens.with_label_values(&["prompt"]).inc_by(u64::from(usage.prompt_tokens));
        self.0.tokens.with_label_values(&["cached"]).inc_by(u64::from(usage.cached_tokens));
        self.0.tokens.with_label_values(&["completion"]).inc_by(u64::from(usage.completion_tokens));
    }
    /// The text form, with the model runtime's figures when it answers.
    pub fn render(&self, runtime: Option<&RuntimeStatus>) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.registry.gather(), &mut bytes) {
            tracing::warn!(%error, "metrics could not be written");
        }
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(r) = runtime {
            let gauges = [("memory_budget_bytes", r.memory_budget_bytes), ("memory_used_bytes", r.memory_used_bytes), ("loaded", r.loaded.into()), ("running", r.running.into()), ("queued", r.queued.into())];
            for (name, value) in gauges {
                let _ = writeln!(text, "# TYPE filbert_models_{name} gauge\nfilbert_models_{name} {value}");
            }
            for (name, value) in &r.counters {
                let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
                let _ = writeln!(text, "# TYPE filbert_models_{name}_total counter\nfilbert_models_{name}_total {value}");
            }
        }
        text
    }
}
