//! One schedule of callers, calls, failures and a closing queue, and what has to be true of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join;
use shuttle::future::{JoinHandle, block_on, spawn};
use uuid::Uuid;

use crate::error::StockError;
use crate::id::SaleId;
use crate::lane::{Lanes, Width};
use crate::sync::{below, give_way};

const SALE: SaleId = SaleId(Uuid::nil());
const CALLERS: u32 = 4;
/// How many calls of one queue may be under way at a time.
const CALLS: usize = 2;

/// A job, and what its caller got back.
type Told = (u32, Result<u32, StockError>);

/// What Redis would have been asked.
#[derive(Default)]
struct Asked {
    /// Jobs in the order in which they were called.
    jobs: Vec<u32>,
    /// The jobs of calls that failed.
    failed: Vec<u32>,
    under_way: usize,
}

/// Runs under shuttle, which picks the schedule and every number.
///
/// # Panics
/// When a promise of the lanes does not hold. Shuttle itself panics if somebody waits forever.
pub fn play() {
    // The record must not hold anybody up, so its lock is not a step of the schedule.
    let asked: Arc<Mutex<Asked>> = Arc::default();
    let lanes = Arc::new(lanes(&asked));
    let callers: Vec<JoinHandle<[Told; 2]>> =
        (0..CALLERS).map(|caller| spawn(call_twice(Arc::clone(&lanes), caller))).collect();
    if below(2) == 0 {
        block_on(give_way(below(12)));
        callers[below(CALLERS) as usize].abort();
    }
    let told: Vec<Told> = callers.into_iter().filter_map(|caller| block_on(caller).ok()).flatten().collect();
    note(&asked, |asked| judge(&told, asked));
}

fn lanes(asked: &Arc<Mutex<Asked>>) -> Lanes<u32, u32> {
    let width = Width {
        max_batch: 1 + below(3) as usize,
        max_waiting: 16,
        max_wait: Duration::from_secs(2),
        crowd: 1 + below(4) as usize,
    };
    let (takes, failing) = (below(6), below(3 * CALLERS));
    let asked = Arc::clone(asked);
    Lanes::new("schedules", width, move |_, jobs: Vec<u32>| {
        let asked = Arc::clone(&asked);
        note(&asked, |asked| {
            asked.jobs.extend(&jobs);
            asked.under_way += 1;
            assert!(asked.under_way <= CALLS, "{} calls are under way", asked.under_way);
        });
        async move {
            give_way(takes).await;
            let fails = jobs.contains(&failing);
            note(&asked, |asked| {
                asked.under_way -= 1;
                asked.failed.extend(jobs.iter().filter(|_| fails));
            });
            if fails { Err(StockError::Unavailable("as planned".to_owned())) } else { Ok(jobs) }
        }
    })
}

fn note(asked: &Mutex<Asked>, what: impl FnOnce(&mut Asked)) {
    what(&mut asked.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Two jobs at once, the first one first.
async fn call_twice(lanes: Arc<Lanes<u32, u32>>, caller: u32) -> [Told; 2] {
    give_way(below(10)).await;
    let (first, second) = (2 * caller, 2 * caller + 1);
    let answers = join(lanes.submit(SALE, first), lanes.submit(SALE, second)).await;
    [(first, answers.0), (second, answers.1)]
}

fn judge(told: &[Told], asked: &Asked) {
    let mut once = asked.jobs.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), asked.jobs.len(), "a job was called twice: {:?}", asked.jobs);
    let place = |job: u32| asked.jobs.iter().position(|called| *called == job);
    for caller in 0..CALLERS {
        let (first, second) = (place(2 * caller), place(2 * caller + 1));
        assert!(
            first.is_none() || second.is_none() || first < second,
            "who came first was called later: {:?}",
            asked.jobs
        );
    }
    for (job, answer) in told {
        match answer {
            Ok(answer) => {
                assert_eq!(answer, job, "another caller's answer");
                assert!(place(*job).is_some(), "an answer to what was not called");
            }
            Err(StockError::Overloaded) => assert!(place(*job).is_none(), "a job was refused and called"),
            Err(StockError::Unavailable(_)) => assert!(asked.failed.contains(job), "its call went well"),
            Err(error) => panic!("job {job}: {error}"),
        }
    }
}
