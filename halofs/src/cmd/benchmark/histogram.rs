//! Latencies in buckets 3 % wide: constant memory, mergeable.

/// Sub-buckets of a power of two, as bits.
const FINE: u32 = 5;
const SUB: usize = 1 << FINE;
const BUCKETS: usize = SUB * 60;

/// Counts of durations in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

fn bucket(ns: u64) -> usize {
    if ns < SUB as u64 {
        return usize::try_from(ns).unwrap_or(0);
    }
    let power = ns.ilog2();
    let shift = power - FINE;
    let sub = usize::try_from(ns >> shift).unwrap_or(SUB) - SUB;
    let row = usize::try_from(shift).unwrap_or(0) + 1;
    (row * SUB + sub).min(BUCKETS - 1)
}

/// The largest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    let (row, sub) = (bucket / SUB, (bucket % SUB) as u64);
    if row == 0 {
        return sub;
    }
    (((SUB as u64 + sub + 1) << (row - 1)) - 1).max(1)
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            total: 0,
            max: 0,
        }
    }

    pub(super) fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max = self.max.max(ns);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (to, from) in self.counts.iter_mut().zip(&other.counts) {
            *to += from;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The duration that `per_mille` of a thousand do not exceed.
    pub(super) fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (n, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(n).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut h = Histogram::new();
        for n in 1..=100_000u64 {
            h.record(n * 17);
        }
        for (per_mille, exact) in [(500, 850_000u64), (900, 1_530_000), (990, 1_683_000)] {
            let got = h.quantile(per_mille);
            assert!(
                got >= exact && got <= exact + exact / 30,
                "{per_mille}: {got} for {exact}"
            );
        }
        assert_eq!(h.quantile(1000), 1_700_000);
        let mut both = Histogram::new();
        both.merge(&h);
        assert_eq!(both.max(), 1_700_000);
    }

    #[test]
    fn buckets_cover_every_number_in_order() {
        let mut last = 0;
        for ns in (0..100_000u64).chain([1 << 20, (1 << 20) + 1, 1 << 40, 1 << 62]) {
            let b = bucket(ns);
            assert!(b >= last, "{ns}");
            assert!(upper(b) >= ns || b == BUCKETS - 1, "{ns}");
            last = b;
        }
    }
}
