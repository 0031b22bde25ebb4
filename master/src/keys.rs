//! Needle keys from ranges in memory. The state machine hands out ranges; here they are cut into pieces without any
//! I/O. Half way through a range the next one is asked for, so that no caller ever waits for Raft unless it takes
//! keys faster than a sync.

use halofs_types::limits::KEY_RANGE;
use parking_lot::Mutex;

/// The ranges at hand.
#[derive(Debug, Default)]
pub(crate) struct KeyPool {
    inner: Mutex<Ranges>,
}

#[derive(Debug, Default)]
struct Ranges {
    current: Option<(u64, u64)>,
    next: Option<(u64, u64)>,
}

/// What a taker got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The first key; `None`: the pool is empty.
    pub(crate) first: Option<u64>,
    /// Another range is due.
    pub(crate) refill: bool,
}

impl KeyPool {
    /// Takes `step` keys that follow each other. What a range cannot give is left unused: keys are plenty.
    pub(crate) fn take(&self, step: u64) -> Taken {
        let mut r = self.inner.lock();
        loop {
            let Some((first, end)) = r.current.or_else(|| r.next.take()) else {
                return Taken {
                    first: None,
                    refill: true,
                };
            };
            let after = first.saturating_add(step);
            if after <= end {
                r.current = Some((after, end));
                let refill = r.next.is_none() && end - after < KEY_RANGE / 2;
                return Taken {
                    first: Some(first),
                    refill,
                };
            }
            r.current = None;
        }
    }

    /// Adds a range. One that does not fit in is dropped.
    pub(crate) fn add(&self, first: u64, count: u64) {
        let mut r = self.inner.lock();
        let range = Some((first, first.saturating_add(count)));
        if r.current.is_none() {
            r.current = range;
        } else if r.next.is_none() {
            r.next = range;
        }
    }

    /// Forgets all ranges: keys in them may be used elsewhere.
    pub(crate) fn clear(&self) {
        *self.inner.lock() = Ranges::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_and_a_refill_is_asked_for_in_time() {
        let p = KeyPool::default();
        assert_eq!(
            p.take(1),
            Taken {
                first: None,
                refill: true
            }
        );
        p.add(1, KEY_RANGE);
        assert_eq!(
            p.take(256),
            Taken {
                first: Some(1),
                refill: false
            }
        );
        assert_eq!(
            p.take(KEY_RANGE / 2),
            Taken {
                first: Some(257),
                refill: true
            }
        );
        p.add(5_000_000, KEY_RANGE);
        assert!(!p.take(10).refill);
        assert_eq!(p.take(KEY_RANGE / 2).first, Some(5_000_000));
        p.clear();
        assert_eq!(p.take(1).first, None);
    }
}
