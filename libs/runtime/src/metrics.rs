//! Metrics in Prometheus' text form (version 0.0.4): counters, gauges and histograms on atomics, rendered on request.
//!
//! Names start with `HaloFS_`. Whatever a scrape has to compute comes from a [`Collect`]; hot paths only add to atomics.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

/// What every name starts with.
pub const PREFIX: &str = "HaloFS_";
/// The `Content-Type` of a scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds, or takes away.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces.
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of a latency histogram, in nanoseconds and as text in seconds.
const BOUNDS: [(u64, &str); 16] = [
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (60_000_000_000, "60"),
];

/// Durations in fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe_ns(&self, ns: u64) {
        if let Some(bucket) = BOUNDS
            .iter()
            .position(|(max, _)| ns <= *max)
            .and_then(|i| self.buckets.get(i))
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Writes it as one family's samples; `labels` come before `le`.
    pub fn render(
        &self,
        out: &mut Exposition,
        name: &str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) {
        let mut sum = 0;
        let mut all: Vec<(&str, &str)> = labels.to_vec();
        for ((_, text), bucket) in BOUNDS.iter().zip(&self.buckets) {
            sum += bucket.load(Ordering::Relaxed);
            all.push(("le", text));
            out.suffixed(
                name,
                "_bucket",
                Kind::Histogram,
                help,
                &all,
                Value::Unsigned(sum),
            );
            all.pop();
        }
        // Another thread may be between a bucket and the count; the +Inf bucket may never be below the last one.
        let count = self.count().max(sum);
        all.push(("le", "+Inf"));
        out.suffixed(
            name,
            "_bucket",
            Kind::Histogram,
            help,
            &all,
            Value::Unsigned(count),
        );
        let secs =
            std::time::Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        out.suffixed(
            name,
            "_sum",
            Kind::Histogram,
            help,
            labels,
            Value::Float(secs),
        );
        out.suffixed(
            name,
            "_count",
            Kind::Histogram,
            help,
            labels,
            Value::Unsigned(count),
        );
    }
}

/// What a family holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// See [`Counter`].
    Counter,
    /// See [`Gauge`].
    Gauge,
    /// See [`Histogram`].
    Histogram,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A sample's number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A count.
    Unsigned(u64),
    /// A level.
    Signed(i64),
    /// A measure.
    Float(f64),
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: &'static str,
    samples: String,
}

/// One scrape under construction: samples of one name end up together, whoever wrote them.
#[derive(Debug, Default)]
pub struct Exposition(BTreeMap<String, Family>);

impl Exposition {
    /// Adds a sample. `name` comes without [`PREFIX`].
    pub fn sample(
        &mut self,
        name: &str,
        kind: Kind,
        help: &'static str,
        labels: &[(&str, &str)],
        value: Value,
    ) {
        self.suffixed(name, "", kind, help, labels, value);
    }

    fn suffixed(
        &mut self,
        name: &str,
        suffix: &str,
        kind: Kind,
        help: &'static str,
        labels: &[(&str, &str)],
        value: Value,
    ) {
        if !self.0.contains_key(name) {
            self.0.insert(
                name.to_owned(),
                Family {
                    kind,
                    help,
                    samples: String::new(),
                },
            );
        }
        let Some(family) = self.0.get_mut(name) else {
            return;
        };
        let text = &mut family.samples;
        text.push_str(PREFIX);
        text.push_str(name);
        text.push_str(suffix);
        for (i, (label, v)) in labels.iter().enumerate() {
            text.push(if i == 0 { '{' } else { ',' });
            text.push_str(label);
            text.push_str("=\"");
            for c in v.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    c => text.push(c),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = match value {
            Value::Unsigned(n) => writeln!(text, " {n}"),
            Value::Signed(n) => writeln!(text, " {n}"),
            Value::Float(n) => writeln!(text, " {n}"),
        };
    }

    fn text(&self) -> String {
        let mut out = String::with_capacity(4096);
        for (name, f) in &self.0 {
            let _ = writeln!(out, "# HELP {PREFIX}{name} {}", f.help);
            let _ = writeln!(out, "# TYPE {PREFIX}{name} {}", f.kind.text());
            out.push_str(&f.samples);
        }
        out
    }
}

/// A source of samples that is asked at every scrape. It must not block.
pub trait Collect: Send + Sync {
    /// Writes its samples.
    fn collect(&self, out: &mut Exposition);
}

impl<F: Fn(&mut Exposition) + Send + Sync> Collect for F {
    fn collect(&self, out: &mut Exposition) {
        self(out);
    }
}

/// Every source of one process.
#[derive(Default)]
pub struct Registry(Mutex<Vec<Arc<dyn Collect>>>);

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry")
            .field(&self.0.lock().len())
            .finish()
    }
}

impl Registry {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a source for the life of the process.
    pub fn register(&self, source: Arc<dyn Collect>) {
        self.0.lock().push(source);
    }

    /// A new counter without labels.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Arc<Counter> {
        let counter = Arc::new(Counter::default());
        let read = Arc::clone(&counter);
        self.register(Arc::new(move |out: &mut Exposition| {
            out.sample(name, Kind::Counter, help, &[], Value::Unsigned(read.get()));
        }));
        counter
    }

    /// A new gauge without labels.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge::default());
        let read = Arc::clone(&gauge);
        self.register(Arc::new(move |out: &mut Exposition| {
            out.sample(name, Kind::Gauge, help, &[], Value::Signed(read.get()));
        }));
        gauge
    }

    /// A new histogram without labels.
    pub fn histogram(&self, name: &'static str, help: &'static str) -> Arc<Histogram> {
        let histogram = Arc::new(Histogram::default());
        let read = Arc::clone(&histogram);
        self.register(Arc::new(move |out: &mut Exposition| {
            read.render(out, name, help, &[]);
        }));
        histogram
    }

    /// The scrape's text.
    pub fn render(&self) -> String {
        let sources = self.0.lock().clone();
        let mut out = Exposition::default();
        for source in &sources {
            source.collect(&mut out);
        }
        out.text()
    }
}

/// Request methods that are counted by name.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "other",
];
const CODES: usize = 500;

/// What the HTTP server counts for one port: `<port>_request_total[type,code]`, `<port>_request_seconds[type]`,
/// `<port>_in_flight_requests`, `<port>_connections`, `<port>_bytes_total[direction]`.
#[derive(Debug)]
pub struct PortMetrics {
    port: &'static str,
    requests: Box<[AtomicU64]>,
    seconds: [Histogram; METHODS.len()],
    /// Requests whose answer is not complete.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Request body bytes.
    pub bytes_in: Counter,
    /// Response body bytes.
    pub bytes_out: Counter,
}

impl PortMetrics {
    /// Counters of the port that the names start with: `volumeServer`, `master`, `filer`, `s3`.
    pub fn new(port: &'static str) -> Arc<Self> {
        Arc::new(Self {
            port,
            requests: (0..METHODS.len() * CODES)
                .map(|_| AtomicU64::new(0))
                .collect(),
            seconds: Default::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
        })
    }

    /// The port's name.
    pub fn port(&self) -> &'static str {
        self.port
    }

    /// Counts one finished request.
    pub fn request(&self, method: &http::Method, status: u16, ns: u64) {
        let method = method.as_str();
        let m = METHODS
            .iter()
            .position(|m| *m == method)
            .unwrap_or(METHODS.len() - 1);
        let code = usize::from(status.saturating_sub(100)).min(CODES - 1);
        if let Some(slot) = self.requests.get(m * CODES + code) {
            slot.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(h) = self.seconds.get(m) {
            h.observe_ns(ns);
        }
    }

    /// Requests answered with that method and status.
    pub fn answered(&self, method: &str, status: u16) -> u64 {
        let m = METHODS
            .iter()
            .position(|m| *m == method)
            .unwrap_or(METHODS.len() - 1);
        let code = usize::from(status.saturating_sub(100)).min(CODES - 1);
        self.requests
            .get(m * CODES + code)
            .map_or(0, |n| n.load(Ordering::Relaxed))
    }
}

impl Collect for PortMetrics {
    fn collect(&self, out: &mut Exposition) {
        let name = |what: &str| format!("{}_{what}", self.port);
        let total = name("request_total");
        for (i, slot) in self.requests.iter().enumerate() {
            let n = slot.load(Ordering::Relaxed);
            if n == 0 {
                continue;
            }
            let method = METHODS.get(i / CODES).copied().unwrap_or("other");
            let code = (i % CODES + 100).to_string();
            let labels = [("type", method), ("code", code.as_str())];
            out.sample(
                &total,
                Kind::Counter,
                "Requests answered.",
                &labels,
                Value::Unsigned(n),
            );
        }
        let seconds = name("request_seconds");
        for (method, h) in METHODS
            .iter()
            .zip(&self.seconds)
            .filter(|(_, h)| h.count() > 0)
        {
            h.render(
                out,
                &seconds,
                "Time from the head of a request to the end of its answer.",
                &[("type", method)],
            );
        }
        let in_flight = Value::Signed(self.in_flight.get());
        out.sample(
            &name("in_flight_requests"),
            Kind::Gauge,
            "Requests being answered.",
            &[],
            in_flight,
        );
        let open = Value::Signed(self.connections.get());
        out.sample(
            &name("connections"),
            Kind::Gauge,
            "Open connections.",
            &[],
            open,
        );
        for (direction, counter) in [("in", &self.bytes_in), ("out", &self.bytes_out)] {
            let labels = [("direction", direction)];
            let n = Value::Unsigned(counter.get());
            out.sample(
                &name("bytes_total"),
                Kind::Counter,
                "Body bytes.",
                &labels,
                n,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form() {
        let registry = Registry::new();
        let c = registry.counter("volumeServer_things_total", "Things.");
        c.add(3);
        registry.gauge("a_level", "A level.").set(-2);
        registry.histogram("b_seconds", "B.").observe_ns(2_000_000);
        registry.register(Arc::new(|out: &mut Exposition| {
            out.sample(
                "c",
                Kind::Gauge,
                "C.",
                &[("name", "a\"b\\c\nd")],
                Value::Float(0.5),
            );
        }));
        let text = registry.render();
        assert!(text.contains(
            "# TYPE HaloFS_volumeServer_things_total counter\nHaloFS_volumeServer_things_total 3\n"
        ));
        assert!(text.contains("HaloFS_a_level -2\n"));
        assert!(text.contains("HaloFS_b_seconds_bucket{le=\"0.001\"} 0\n"));
        assert!(text.contains("HaloFS_b_seconds_bucket{le=\"0.0025\"} 1\n"));
        assert!(
            text.contains("HaloFS_b_seconds_bucket{le=\"+Inf\"} 1\nHaloFS_b_seconds_sum 0.002\n")
        );
        assert!(text.contains("HaloFS_c{name=\"a\\\"b\\\\c\\nd\"} 0.5\n"));
    }

    #[test]
    fn ports_count_by_method_and_code() {
        let port = PortMetrics::new("s3");
        let registry = Registry::new();
        registry.register(port.clone());
        port.request(&http::Method::GET, 206, 1);
        port.request(&http::Method::GET, 206, 1);
        port.request(&http::Method::TRACE, 405, 1);
        let text = registry.render();
        assert!(
            text.contains("HaloFS_s3_request_total{type=\"GET\",code=\"206\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("HaloFS_s3_request_total{type=\"other\",code=\"405\"} 1\n"));
        assert!(text.contains("HaloFS_s3_request_seconds_count{type=\"GET\"} 2\n"));
    }
}
