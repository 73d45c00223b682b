//! The collection of a process's metrics.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::TextEncoder;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

use crate::buckets;
use crate::label::{ByLabel, Label};

/// What every metric's name begins with.
const PREFIX: &str = "raftyard";

type ScopeKey = (&'static str, Vec<(&'static str, String)>);

/// The metrics of a process. Handed around explicitly, because one process may hold several stores; clones are the same
/// registry.
#[derive(Clone, Default)]
pub struct Registry {
    scopes: Arc<Mutex<BTreeMap<ScopeKey, prometheus::Registry>>>,
}

impl Registry {
    /// A registry without metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a part of the registry whose metrics all carry `labels`. A part of the same name and labels that is there
    /// already is replaced: whoever owned it has been restarted, and counts from zero like a process that has.
    ///
    /// # Panics
    /// When a label's name is not one that Prometheus allows.
    pub fn scope(&self, part: &'static str, labels: &[(&'static str, String)]) -> Scope {
        let constant: HashMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let inner =
            prometheus::Registry::new_custom(Some(PREFIX.to_owned()), Some(constant)).expect("the prefix is not empty");
        self.lock().insert((part, labels.to_vec()), inner.clone());
        Scope { inner }
    }

    /// Forgets the part with this name and these labels: what it counted is shown no more.
    pub fn forget(&self, part: &'static str, labels: &[(&'static str, String)]) {
        self.lock().remove(&(part, labels.to_vec()));
    }

    /// Every metric in Prometheus' text format, ordered by name.
    pub fn gather_text(&self) -> String {
        let scopes: Vec<prometheus::Registry> = self.lock().values().cloned().collect();
        let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
        for mut family in scopes.iter().flat_map(prometheus::Registry::gather) {
            match families.get_mut(family.name()) {
                None => {
                    families.insert(family.name().to_owned(), family);
                }
                Some(known) => known.mut_metric().extend(family.take_metric()),
            }
        }
        let families: Vec<MetricFamily> = families.into_values().collect();
        TextEncoder::new().encode_to_string(&families).expect("a registered metric can be rendered")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ScopeKey, prometheus::Registry>> {
        // Every change is one call on the map: whoever panicked beside it left it whole.
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a [`Registry`]. Its methods make metrics and register them under a name that gets the prefix `raftyard_`.
///
/// All of them panic when the name is taken within the part or is not one that Prometheus allows.
pub struct Scope {
    inner: prometheus::Registry,
}

impl Scope {
    /// A counter; the name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    /// A counter of seconds; the name ends in `_seconds_total`.
    pub fn seconds_counter(&self, name: &str, help: &str) -> Counter {
        self.register(Counter::with_opts(Opts::new(name, help)))
    }

    /// A counter per value of a label.
    pub fn counters<L: Label>(&self, name: &str, help: &str) -> ByLabel<L, IntCounter> {
        let family = self.register(IntCounterVec::new(Opts::new(name, help), &[L::NAME]));
        ByLabel::new(|label: L| family.with_label_values(&[label.value()]))
    }

    /// A family of counters by labels whose values are not known beforehand; the name ends in `_total`.
    pub fn counter_family(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    /// A gauge per value of a label.
    pub fn gauges<L: Label>(&self, name: &str, help: &str) -> ByLabel<L, IntGauge> {
        let family = self.register(IntGaugeVec::new(Opts::new(name, help), &[L::NAME]));
        ByLabel::new(|label: L| family.with_label_values(&[label.value()]))
    }

    /// A gauge of seconds; the name ends in `_seconds`.
    pub fn seconds_gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help))
    }

    /// A histogram of durations in seconds; the name ends in `_seconds`.
    pub fn durations(&self, name: &str, help: &str) -> Histogram {
        self.histogram(name, help, buckets::seconds())
    }

    /// A histogram of durations in seconds that last minutes; the name ends in `_seconds`.
    pub fn long_durations(&self, name: &str, help: &str) -> Histogram {
        self.histogram(name, help, buckets::long_seconds())
    }

    /// A histogram of durations in seconds per value of a label.
    pub fn durations_by<L: Label>(&self, name: &str, help: &str) -> ByLabel<L, Histogram> {
        self.histograms(name, help, buckets::seconds())
    }

    /// A histogram per value of a label, of durations in seconds that may be long.
    pub fn long_durations_by<L: Label>(&self, name: &str, help: &str) -> ByLabel<L, Histogram> {
        self.histograms(name, help, buckets::long_seconds())
    }

    /// A histogram of sizes in bytes; the name ends in `_bytes`.
    pub fn byte_sizes(&self, name: &str, help: &str) -> Histogram {
        self.histogram(name, help, buckets::bytes())
    }

    /// A histogram of numbers of things.
    pub fn sizes(&self, name: &str, help: &str) -> Histogram {
        self.histogram(name, help, buckets::counts())
    }

    /// A histogram of numbers of things per value of a label.
    pub fn sizes_by<L: Label>(&self, name: &str, help: &str) -> ByLabel<L, Histogram> {
        self.histograms(name, help, buckets::counts())
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }

    fn histograms<L: Label>(&self, name: &str, help: &str, buckets: Vec<f64>) -> ByLabel<L, Histogram> {
        let family = self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &[L::NAME]));
        ByLabel::new(|label: L| family.with_label_values(&[label.value()]))
    }

    fn register<M: Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect("names of metrics are constants that Prometheus allows");
        self.inner.register(Box::new(metric.clone())).expect("a metric is made once per part of the registry");
        metric
    }
}
