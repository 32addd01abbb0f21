//! How often somebody may do something: a token bucket for each, in the memory of one process.
//!
//! A bucket is one number, the moment at which it is full again (GCRA's "theoretical arrival time").
//! Buckets that are full again say nothing and are swept out, so memory follows those who are active;
//! it is bounded besides. Every replica counts for itself, and a shop allows as much times its
//! replicas: this keeps one caller from crowding out the others. Limits that must hold exactly are
//! kept where the truth is.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Callers on different processors should seldom meet at one lock.
const SHARDS: usize = 64;
/// Buckets of a shard before its first sweep.
const SWEPT_FROM: usize = 1_024;
/// Buckets that are kept at most, over all shards. Beyond, buckets are forgotten, which only lets
/// their owners do more.
const KEPT_AT_MOST: usize = 1_048_576;

/// So many per second in the long run, and `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 0: no limit.
    pub per_second: u32,
    /// At least 1 is allowed.
    pub burst: u32,
}

/// A limit for each `K`.
pub struct RateLimit<K> {
    /// Nanoseconds in which one token comes back; 0: no limit.
    interval: u64,
    /// Nanoseconds a bucket may be from full.
    depth: u64,
    began: Instant,
    hasher: RandomState,
    shards: Box<[Mutex<Shard<K>>]>,
}

struct Shard<K> {
    /// Nanoseconds after `began`.
    full_at: HashMap<K, u64>,
    /// The number of buckets that starts a sweep: twice what the one before left, so that sweeping
    /// costs each bucket a constant.
    sweep_at: usize,
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    pub fn new(rate: Rate) -> Self {
        let second = nanoseconds(Duration::from_secs(1));
        let interval = second.checked_div(u64::from(rate.per_second)).unwrap_or_default();
        let shard = || Mutex::new(Shard { full_at: HashMap::new(), sweep_at: SWEPT_FROM });
        Self {
            interval,
            depth: interval * u64::from(rate.burst.max(1)),
            began: Instant::now(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }

    /// Takes a token of `who`, or says how long it is until there is one; a refusal takes nothing.
    pub fn admit(&self, who: K) -> Result<(), Duration> {
        self.admit_at(who, Instant::now())
    }

    /// The same without taking the token: for what is counted only once it turns out to be in vain.
    pub fn would_admit(&self, who: &K) -> Result<(), Duration> {
        self.look_at(who, Instant::now(), |_, _| {})
    }

    fn admit_at(&self, who: K, now: Instant) -> Result<(), Duration> {
        self.look_at(&who, now, |shard, next| {
            shard.full_at.insert(who.clone(), next);
        })
    }

    fn look_at(&self, who: &K, now: Instant, take: impl FnOnce(&mut Shard<K>, u64)) -> Result<(), Duration> {
        if self.interval == 0 {
            return Ok(());
        }
        let now = nanoseconds(now.saturating_duration_since(self.began));
        let place = usize::try_from(self.hasher.hash_one(who) % SHARDS as u64).unwrap_or_default();
        let mut shard = self.shards[place].lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = shard.full_at.get(who).copied().unwrap_or_default().max(now);
        let next = full_at + self.interval;
        if next - now > self.depth {
            return Err(Duration::from_nanos(next - now - self.depth));
        }
        take(&mut shard, next);
        shard.sweep(now);
        Ok(())
    }

    #[cfg(test)]
    fn buckets(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().full_at.len()).sum()
    }
}

impl<K: Hash + Eq> Shard<K> {
    fn sweep(&mut self, now: u64) {
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

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u32, burst: u32) -> RateLimit<u64> {
        RateLimit::new(Rate { per_second, burst })
    }

    #[test]
    fn one_gets_a_burst_then_the_rate_and_is_told_when_to_come_back() {
        let (limit, start) = (limit(10, 20), Instant::now());
        for _ in 0..20 {
            limit.admit_at(1, start).unwrap();
        }
        let pause = limit.admit_at(1, start).unwrap_err();
        assert!(pause > Duration::ZERO && pause <= Duration::from_millis(100), "{pause:?}");
        let later = start + pause;
        limit.admit_at(1, later).unwrap();
        assert!(limit.admit_at(1, later).is_err());
        // A bucket left alone fills up again, to the brim and no further.
        let much_later = start + Duration::from_hours(1);
        let admitted = (0..100).filter(|_| limit.admit_at(1, much_later).is_ok()).count();
        assert_eq!(admitted, 20);
    }

    #[test]
    fn asking_whether_one_would_be_admitted_takes_nothing() {
        let limit = limit(1, 1);
        for _ in 0..3 {
            limit.would_admit(&1).unwrap();
        }
        limit.admit(1).unwrap();
        assert!(limit.would_admit(&1).is_err());
    }

    #[test]
    fn nobody_shares_a_bucket_and_a_rate_of_zero_is_no_limit() {
        let (limited, start) = (limit(1, 1), Instant::now());
        assert!((0..1_000).all(|who| limited.admit_at(who, start).is_ok()));
        assert!((0..1_000).all(|who| limited.admit_at(who, start).is_err()));
        let unlimited = limit(0, 0);
        assert!((0..1_000).all(|_| unlimited.admit_at(1, start).is_ok()));
        assert_eq!(unlimited.buckets(), 0);
    }

    #[test]
    fn threads_racing_for_tokens_get_no_more_than_there_are() {
        let (limit, now) = (limit(1, 1_000), Instant::now());
        let admitted: usize = std::thread::scope(|scope| {
            let race = || (0..1_000).filter(|_| limit.admit_at(1, now).is_ok()).count();
            let racers: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1_000);
    }

    #[test]
    fn memory_follows_those_who_are_active_and_has_a_bound() {
        let (limit, start) = (limit(1, 1), Instant::now());
        let crowd = KEPT_AT_MOST as u64 * 5 / 4;
        for who in 0..crowd {
            limit.admit_at(who, start).unwrap();
        }
        assert!(limit.buckets() <= KEPT_AT_MOST, "{}", limit.buckets());
        // Of these no more than ten thousand come before their buckets are full again.
        for thousands in 0..crowd / 10_000 {
            let now = start + Duration::from_secs(2 * thousands);
            for who in crowd + thousands * 10_000..crowd + (thousands + 1) * 10_000 {
                limit.admit_at(who, now).unwrap();
            }
        }
        assert!(limit.buckets() <= KEPT_AT_MOST / 8, "{}", limit.buckets());
    }
}
