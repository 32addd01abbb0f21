//! Schedules of callers, calls and failures, by hand and by the thousand.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;

const SALE: SaleId = SaleId(Uuid::nil());
const CROWD: usize = 20;
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Lanes whose calls wait for a permit from `gate` and answer each job with the number of its batch.
fn gated(max_batch: usize, max_waiting: usize) -> (Arc<Lanes<u32, usize>>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let gate_of_call = Arc::clone(&gate);
    let width = Width { max_batch, max_waiting, max_wait: MAX_WAIT, crowd: CROWD };
    let lanes = Lanes::new("test", width, move |_, jobs: Vec<u32>| {
        let (gate, calls) = (Arc::clone(&gate_of_call), Arc::clone(&calls));
        async move {
            gate.acquire().await.map_err(|_| StockError::Overloaded)?.forget();
            let call = calls.fetch_add(1, Ordering::SeqCst);
            Ok(vec![call; jobs.len()])
        }
    });
    (Arc::new(lanes), gate)
}

fn submit(lanes: &Arc<Lanes<u32, usize>>) -> tokio::task::JoinHandle<Result<usize, StockError>> {
    let lanes = Arc::clone(lanes);
    tokio::spawn(async move { lanes.submit(SALE, 1).await })
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn what_arrives_during_a_call_leaves_together_with_the_next() {
    let (lanes, gate) = gated(100, 100);
    let first = submit(&lanes);
    settle().await;
    let later: Vec<_> = (0..10).map(|_| submit(&lanes)).collect();
    settle().await;
    gate.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(0));
    for answer in later {
        assert_eq!(answer.await.unwrap(), Ok(1));
    }
}

#[tokio::test]
async fn a_crowd_does_not_wait_for_the_call_under_way_but_for_the_second() {
    let (lanes, gate) = gated(100, 100);
    let first = submit(&lanes);
    settle().await;
    let crowd: Vec<_> = (0..CROWD).map(|_| submit(&lanes)).collect();
    settle().await;
    let later: Vec<_> = (0..CROWD).map(|_| submit(&lanes)).collect();
    settle().await;
    let queue = lock(&lanes.queues)[&SALE].queue.clone();
    assert_eq!(queue.max_capacity() - queue.capacity(), CROWD, "two calls are under way");
    gate.add_permits(3);
    assert_eq!(first.await.unwrap(), Ok(0));
    for (call, callers) in [(1, crowd), (2, later)] {
        for answer in callers {
            assert_eq!(answer.await.unwrap(), Ok(call));
        }
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (lanes, gate) = gated(100, 2);
    let _in_flight = submit(&lanes);
    settle().await;
    let _waiting = [submit(&lanes), submit(&lanes)];
    settle().await;
    assert_eq!(lanes.submit(SALE, 1).await, Err(StockError::Overloaded));
    gate.add_permits(2);
}

#[tokio::test(start_paused = true)]
async fn after_a_slow_call_fewer_may_wait_and_after_a_quick_one_as_many_as_ever() {
    let (lanes, gate) = gated(2, 100);
    let first = submit(&lanes);
    tokio::time::sleep(Duration::from_millis(450)).await;
    gate.add_permits(1);
    first.await.unwrap().unwrap();
    // Two calls of two jobs each: four jobs pass within the longest wait. Meanwhile one call is under way.
    let under_way = submit(&lanes);
    settle().await;
    let waiting: Vec<_> = (0..16).map(|_| submit(&lanes)).collect();
    settle().await;
    assert_eq!(lanes.submit(SALE, 1).await, Err(StockError::Overloaded));
    gate.add_permits(9);
    for answered in std::iter::once(under_way).chain(waiting) {
        answered.await.unwrap().unwrap();
    }
    let _under_way = submit(&lanes);
    settle().await;
    let _waiting: Vec<_> = (0..17).map(|_| submit(&lanes)).collect();
    settle().await;
    let again = tokio::time::timeout(MAX_WAIT, lanes.submit(SALE, 1)).await;
    assert!(again.is_err(), "one that waits is not refused: {again:?}");
}

#[tokio::test]
async fn a_caller_that_gave_up_is_left_out_of_the_call() {
    let (lanes, gate) = gated(100, 100);
    let in_flight = submit(&lanes);
    settle().await;
    let gone = submit(&lanes);
    settle().await;
    gone.abort();
    gate.add_permits(10);
    assert_eq!(in_flight.await.unwrap(), Ok(0));
    settle().await;
    assert_eq!(gate.available_permits(), 9, "no second call was made");
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_is_closed_and_opens_again() {
    let (lanes, gate) = gated(100, 100);
    gate.add_permits(2);
    assert_eq!(lanes.submit(SALE, 1).await, Ok(0));
    tokio::time::sleep(CLOSE_AFTER_IDLE * 2).await;
    assert!(lock(&lanes.queues).is_empty());
    assert_eq!(lanes.submit(SALE, 1).await, Ok(1));
}

#[tokio::test]
async fn an_error_reaches_every_caller_of_the_batch() {
    let (lanes, gate) = gated(100, 100);
    let callers = [submit(&lanes), submit(&lanes)];
    settle().await;
    gate.close();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Err(StockError::Overloaded));
    }
}

/// Small numbers from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

async fn give_way(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// One schedule: who comes when, who gives up when, how long calls take, which of them fail, and whether the
/// queue closes in between. `seed` picks all of it, on one thread and a paused clock.
async fn play(seed: u64) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let called: Arc<Mutex<Vec<u64>>> = Arc::default();
    let record = Arc::clone(&called);
    let calls_take = chance.below(4);
    let failing = 1 + chance.below(5);
    let width = Width {
        max_batch: 1 + usize::try_from(chance.below(4)).unwrap(),
        max_waiting: 64,
        max_wait: MAX_WAIT,
        crowd: 1 + usize::try_from(chance.below(8)).unwrap(),
    };
    let lanes = Lanes::new("test", width, move |_, jobs: Vec<u64>| {
        let record = Arc::clone(&record);
        async move {
            record.lock().unwrap().extend(&jobs);
            give_way(calls_take).await;
            let fails = jobs.contains(&failing);
            if fails { Err(StockError::Unavailable("as planned".to_owned())) } else { Ok(jobs) }
        }
    });
    let lanes = Arc::new(lanes);
    let arrivals: Arc<Mutex<Vec<u64>>> = Arc::default();
    let mut callers = Vec::new();
    for job in 1..=8 {
        let (lanes, arrivals) = (Arc::clone(&lanes), Arc::clone(&arrivals));
        let (late, turns) = (chance.below(3), chance.below(6));
        let caller = tokio::spawn(async move {
            // Some come at the very moment at which an idle queue closes.
            tokio::time::sleep(CLOSE_AFTER_IDLE * u32::try_from(late).unwrap()).await;
            give_way(turns).await;
            arrivals.lock().unwrap().push(job);
            lanes.submit(SALE, job).await
        });
        callers.push((job, caller));
    }
    for _ in 0..chance.below(3) {
        give_way(chance.below(12)).await;
        let gone = usize::try_from(chance.below(8)).unwrap();
        callers[gone].1.abort();
    }
    for (job, caller) in callers {
        match tokio::time::timeout(CLOSE_AFTER_IDLE * 10, caller).await.expect("nobody waits for ever") {
            Ok(Ok(answer)) => assert_eq!(answer, job, "seed {seed}: another caller's answer"),
            Ok(Err(error)) => {
                assert!(matches!(error, StockError::Unavailable(_)), "seed {seed}: {error}");
            }
            Err(gone) => assert!(gone.is_cancelled(), "seed {seed}: {gone}"),
        }
    }
    let (called, arrivals) = (called.lock().unwrap().clone(), arrivals.lock().unwrap().clone());
    let places: Vec<_> = called.iter().map(|job| arrivals.iter().position(|come| come == job)).collect();
    assert!(places.is_sorted(), "seed {seed}: {called:?} in another order than {arrivals:?}");
    let mut once = called.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), called.len(), "seed {seed}: a job was called twice: {called:?}");
}

#[test]
fn whatever_the_schedule_each_caller_gets_its_own_answer_and_each_job_is_called_once_in_order() {
    for seed in 0..2_000 {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(seed));
    }
}
