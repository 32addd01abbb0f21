//! How often somebody may do something: a token bucket per caller, in the memory of one process.
//!
//! ```text
//! admit ──▶ governor: GCRA ──▶ Buckets: when each is full again
//! ```
//! A bucket is one number: the moment at which it is full again (GCRA's "theoretical arrival time"). The
//! arithmetic is governor's. The storage is ours, because governor's own stores are unbounded and cannot be
//! asked without taking a token. A bucket that is full again carries no information, so we sweep it out:
//! memory follows the active callers, and is bounded besides. Every replica counts by itself, so a shop
//! allows the rate times the number of replicas. The aim is only to keep one caller from crowding out the
//! others. Limits that must hold exactly live where the truth is.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{NotUntil, Quota, RateLimiter};

/// So many that callers on different processors seldom meet at one lock.
const SHARDS: usize = 64;
/// Buckets in a shard before its first sweep.
const SWEPT_FROM: usize = 1_024;
/// How many buckets we keep at most, over all shards. Beyond that we forget buckets, which only lets their
/// owners do more.
const KEPT_AT_MOST: usize = 1_048_576;

/// `per_second` in the long run, and `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 0 means no limit.
    pub per_second: u32,
    /// At least 1 is allowed.
    pub burst: u32,
}

/// governor's, over our bounded store.
type Governor<K, C> = RateLimiter<Ask<K>, Buckets<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A separate limit for each `K`.
pub struct RateLimit<K: Hash + Eq + Clone, C: Clock = MonotonicClock> {
    /// `None` means no limit.
    limiter: Option<Governor<K, C>>,
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    pub fn new(rate: Rate) -> Self {
        Self::with_clock(rate, MonotonicClock)
    }
}

impl<K: Hash + Eq + Clone, C: Clock> RateLimit<K, C> {
    fn with_clock(rate: Rate, clock: C) -> Self {
        let interval = Duration::from_secs(1).checked_div(rate.per_second).unwrap_or_default();
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(interval).map(|quota| quota.allow_burst(burst));
        Self { limiter: quota.map(|quota| RateLimiter::new(quota, Buckets::new(interval), clock)) }
    }

    /// Takes a token from `who`'s bucket, or says how long it takes until there is one. A refusal takes
    /// nothing.
    pub fn admit(&self, who: K) -> Result<(), Duration> {
        self.ask(Ask { who, takes: true })
    }

    /// The same without taking the token: for what counts only once it turns out to be in vain.
    pub fn would_admit(&self, who: &K) -> Result<(), Duration> {
        self.ask(Ask { who: who.clone(), takes: false })
    }

    fn ask(&self, ask: Ask<K>) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        // The wait may be over by now, but we never tell a refused caller to wait for no time at all.
        let pause = |now, until: NotUntil<C::Instant>| until.wait_time_from(now).max(Duration::from_nanos(1));
        limiter.check_key(&ask).map_err(|until| pause(limiter.clock().now(), until))
    }
}

/// Whose bucket we ask, and whether to take a token from it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Ask<K> {
    who: K,
    takes: bool,
}

/// When the buckets will be full again, as time since the limit began.
struct Buckets<K> {
    /// The time in which one token comes back.
    interval: Nanos,
    hasher: RandomState,
    shards: Box<[Mutex<Shard<K>>]>,
}

struct Shard<K> {
    full_at: HashMap<K, Nanos>,
    /// The number of buckets that triggers a sweep: twice what the last one left, so that sweeping costs a
    /// constant per bucket.
    sweep_at: usize,
}

impl<K: Hash + Eq> Buckets<K> {
    fn new(interval: Duration) -> Self {
        let shard = || Mutex::new(Shard { full_at: HashMap::new(), sweep_at: SWEPT_FROM });
        Self {
            interval: interval.into(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }

    fn shard(&self, who: &K) -> MutexGuard<'_, Shard<K>> {
        let place = usize::try_from(self.hasher.hash_one(who) % SHARDS as u64).unwrap_or_default();
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Buckets<K> {
    type Key = Ask<K>;

    fn measure_and_replace<T, F, E>(&self, ask: &Ask<K>, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(&ask.who);
        let full_at = shard.full_at.get(&ask.who).copied();
        let (outcome, next) = decide(full_at)?;
        if ask.takes {
            shard.full_at.insert(ask.who.clone(), next);
            if full_at.is_none() {
                // A new bucket lacks one token, so it is full again one interval from now.
                shard.sweep(next.saturating_sub(self.interval));
            }
        }
        Ok(outcome)
    }
}

impl<K: Hash + Eq> Shard<K> {
    fn sweep(&mut self, now: Nanos) {
        if self.full_at.len() < self.sweep_at {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        let most = KEPT_AT_MOST / SHARDS;
        if self.full_at.len() * 2 > most {
            self.full_at.clear();
        }
        self.sweep_at = (self.full_at.len() * 2).max(SWEPT_FROM);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use governor::state::keyed::ShrinkableKeyedStateStore;

    use super::*;

    /// Lets tests count the buckets.
    impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<Ask<K>> for Buckets<K> {
        fn retain_recent(&self, now: Nanos) {
            for shard in &self.shards {
                shard.lock().unwrap().full_at.retain(|_, full_at| *full_at > now);
            }
        }

        fn len(&self) -> usize {
            self.shards.iter().map(|shard| shard.lock().unwrap().full_at.len()).sum()
        }

        fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }

    impl<K: Hash + Eq + Clone, C: Clock> RateLimit<K, C> {
        fn buckets(&self) -> usize {
            self.limiter.as_ref().map_or(0, RateLimiter::len)
        }
    }

    /// A limit, and the clock it runs on.
    fn limit(per_second: u32, burst: u32) -> (RateLimit<u64, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (RateLimit::with_clock(Rate { per_second, burst }, clock.clone()), clock)
    }

    #[test]
    fn one_gets_a_burst_then_the_rate_and_is_told_when_to_come_back() {
        let (limit, clock) = limit(10, 20);
        for _ in 0..20 {
            limit.admit(1).unwrap();
        }
        let pause = limit.admit(1).unwrap_err();
        assert!(pause > Duration::ZERO && pause <= Duration::from_millis(100), "{pause:?}");
        clock.advance(pause);
        limit.admit(1).unwrap();
        assert!(limit.admit(1).is_err());
        // A bucket left alone fills up again, to the brim and no further.
        clock.advance(Duration::from_hours(1));
        let admitted = (0..100).filter(|_| limit.admit(1).is_ok()).count();
        assert_eq!(admitted, 20);
    }

    #[test]
    fn asking_whether_one_would_be_admitted_takes_nothing() {
        let limit = RateLimit::new(Rate { per_second: 1, burst: 1 });
        for _ in 0..3 {
            limit.would_admit(&1).unwrap();
        }
        limit.admit(1).unwrap();
        assert!(limit.would_admit(&1).is_err());
    }

    #[test]
    fn nobody_shares_a_bucket_and_a_rate_of_zero_is_no_limit() {
        let (limited, _) = limit(1, 1);
        assert!((0..1_000).all(|who| limited.admit(who).is_ok()));
        assert!((0..1_000).all(|who| limited.admit(who).is_err()));
        let (unlimited, _) = limit(0, 0);
        assert!((0..1_000).all(|_| unlimited.admit(1).is_ok()));
        assert_eq!(unlimited.buckets(), 0);
    }

    #[test]
    fn threads_racing_for_tokens_get_no_more_than_there_are() {
        let (limit, _) = limit(1, 1_000);
        let admitted: usize = std::thread::scope(|scope| {
            let race = || (0..1_000).filter(|_| limit.admit(1).is_ok()).count();
            let racers: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1_000);
    }

    #[test]
    fn memory_follows_those_who_are_active_and_has_a_bound() {
        let (limit, clock) = limit(1, 1);
        let crowd = KEPT_AT_MOST as u64 * 5 / 4;
        for who in 0..crowd {
            limit.admit(who).unwrap();
        }
        assert!(limit.buckets() <= KEPT_AT_MOST, "{}", limit.buckets());
        // At most ten thousand of these come before their buckets are full again.
        for thousands in 0..crowd / 10_000 {
            for who in crowd + thousands * 10_000..crowd + (thousands + 1) * 10_000 {
                limit.admit(who).unwrap();
            }
            clock.advance(Duration::from_secs(2));
        }
        assert!(limit.buckets() <= KEPT_AT_MOST / 8, "{}", limit.buckets());
    }
}
