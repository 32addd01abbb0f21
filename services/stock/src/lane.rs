//! One queue per sale. While a call is under way, what arrives waits; when it returns, all that
//! waited goes out as the next call. There is no timer: a lone request leaves at once, and the busier
//! it gets the larger (and per request the cheaper) the calls become.
//!
//! ```text
//!   submit ──┐                      ┌─> answer
//!   submit ──┼─> queue of the sale ─┤   one call under way,       calls leave in the order of arrival
//!   submit ──┘   (bounded)          └─> answer   two in a crowd
//! ```
//! When a crowd waits, its call leaves without waiting for the one before: Redis finds it as soon as it is
//! done, instead of resting while answers are read and handed out.
//!
//! A full queue refuses at once. A caller that gave up before its turn is left out of the call. A
//! queue that stays idle is closed, so unknown sale ids leave nothing behind.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::StockError;
use crate::id::SaleId;

const CLOSE_AFTER_IDLE: Duration = Duration::from_mins(1);

type Answers<A> = Pin<Box<dyn Future<Output = Result<Vec<A>, StockError>> + Send>>;
type Call<J, A> = Arc<dyn Fn(SaleId, Vec<J>) -> Answers<A> + Send + Sync>;
type Queues<J, A> = Mutex<HashMap<SaleId, Entrance<J, A>>>;

/// How much a lane gathers and lets wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Width {
    /// Most jobs in one call.
    pub(crate) max_batch: usize,
    /// Most jobs waiting; one more is refused.
    pub(crate) max_waiting: usize,
    /// Jobs waiting that are worth a second call at once. Fewer gain less by leaving early than by leaving
    /// together: each call costs Redis a write to its disk.
    pub(crate) crowd: usize,
}

/// The queues of one kind of call.
pub(crate) struct Lanes<J, A> {
    kind: &'static str,
    width: Width,
    call: Call<J, A>,
    queues: Arc<Queues<J, A>>,
}

struct Waiting<J, A> {
    job: J,
    answer: oneshot::Sender<Result<A, StockError>>,
}

/// The near end of one queue.
struct Entrance<J, A> {
    queue: mpsc::Sender<Waiting<J, A>>,
    /// Told when a crowd waits.
    crowded: Arc<Notify>,
}

impl<J: Send + 'static, A: Send + 'static> Lanes<J, A> {
    /// `call` answers a batch with one answer per job, in order; `kind` names it in metrics.
    pub(crate) fn new<F>(
        kind: &'static str,
        width: Width,
        call: impl Fn(SaleId, Vec<J>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<A>, StockError>> + Send + 'static,
    {
        let call: Call<J, A> = Arc::new(move |sale, jobs| Box::pin(call(sale, jobs)));
        Self { kind, width, call, queues: Arc::default() }
    }

    /// Queues the job and waits for its answer.
    pub(crate) async fn submit(&self, sale: SaleId, job: J) -> Result<A, StockError> {
        let (sender, answer) = oneshot::channel();
        self.enqueue(sale, Waiting { job, answer: sender })?;
        answer.await.unwrap_or_else(|_| Err(StockError::Unknown("the call was dropped".to_owned())))
    }

    fn enqueue(&self, sale: SaleId, waiting: Waiting<J, A>) -> Result<(), StockError> {
        let mut queues = lock(&self.queues);
        let entrance = queues.entry(sale).or_insert_with(|| self.open(sale));
        let refused = match entrance.queue.try_send(waiting) {
            Ok(()) => {
                if entrance.queue.max_capacity() - entrance.queue.capacity() >= self.width.crowd {
                    entrance.crowded.notify_one();
                }
                return Ok(());
            }
            Err(refused) => refused,
        };
        match refused {
            TrySendError::Full(_) => {
                metrics::counter!("rocketmart_stock_overloaded_total", "kind" => self.kind).increment(1);
                Err(StockError::Overloaded)
            }
            // Its task is gone, with the runtime it was started on.
            TrySendError::Closed(waiting) => {
                let entrance = self.open(sale);
                let sent = entrance.queue.try_send(waiting).map_err(|_| StockError::Overloaded);
                queues.insert(sale, entrance);
                sent
            }
        }
    }

    fn open(&self, sale: SaleId) -> Entrance<J, A> {
        let (sender, queue) = mpsc::channel(self.width.max_waiting);
        let crowded = Arc::new(Notify::new());
        let lane = Lane {
            sale,
            kind: self.kind,
            width: self.width,
            call: Arc::clone(&self.call),
            queues: Arc::downgrade(&self.queues),
            queue,
            crowded: Arc::clone(&crowded),
        };
        tokio::spawn(lane.run());
        Entrance { queue: sender, crowded }
    }
}

/// The task behind one queue.
struct Lane<J, A> {
    sale: SaleId,
    kind: &'static str,
    width: Width,
    call: Call<J, A>,
    queues: Weak<Queues<J, A>>,
    queue: mpsc::Receiver<Waiting<J, A>>,
    crowded: Arc<Notify>,
}

impl<J: Send, A: Send> Lane<J, A> {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(self.width.max_batch);
        let mut under_way = FuturesUnordered::new();
        loop {
            let calls = under_way.len();
            tokio::select! {
                biased;
                Some(()) = under_way.next() => {}
                gathered = self.gather(calls, &mut batch) => match gathered {
                    Ok(0) => return,
                    Ok(_) => under_way.extend(self.send(&mut batch)),
                    Err(_idle) if self.close() => return,
                    Err(_idle) => {}
                },
            }
        }
    }

    /// Takes what waits, once it may leave: when no call is under way, or beside one in a crowd.
    async fn gather(
        &mut self,
        calls: usize,
        batch: &mut Vec<Waiting<J, A>>,
    ) -> Result<usize, tokio::time::error::Elapsed> {
        match calls {
            0 => {
                let received = self.queue.recv_many(batch, self.width.max_batch);
                tokio::time::timeout(CLOSE_AFTER_IDLE, received).await
            }
            1 => {
                while self.queue.len() < self.width.crowd {
                    self.crowded.notified().await;
                }
                Ok(self.queue.recv_many(batch, self.width.max_batch).await)
            }
            _ => std::future::pending().await,
        }
    }

    /// The call for those who still wait, if there are any.
    fn send(&self, batch: &mut Vec<Waiting<J, A>>) -> Option<impl Future<Output = ()> + use<J, A>> {
        let (jobs, answers): (Vec<J>, Vec<_>) = batch
            .drain(..)
            .filter(|waiting| !waiting.answer.is_closed())
            .map(|waiting| (waiting.job, waiting.answer))
            .unzip();
        if jobs.is_empty() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        metrics::histogram!("rocketmart_stock_batch_size", "kind" => self.kind).record(jobs.len() as f64);
        let (kind, started) = (self.kind, Instant::now());
        let call = (self.call)(self.sale, jobs);
        Some(async move {
            let outcome = call.await;
            metrics::histogram!("rocketmart_stock_call_seconds", "kind" => kind).record(started.elapsed());
            // A caller that is gone by now does not read its answer; that is its choice.
            match outcome {
                Ok(outcomes) => {
                    for (answer, outcome) in answers.into_iter().zip(outcomes) {
                        let _ = answer.send(Ok(outcome));
                    }
                }
                Err(error) => {
                    for answer in answers {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
        })
    }

    /// Closes the queue unless something arrived meanwhile: senders hold the same lock.
    fn close(&mut self) -> bool {
        let Some(queues) = self.queues.upgrade() else { return true };
        let mut queues = lock(&queues);
        if !self.queue.is_empty() {
            return false;
        }
        queues.remove(&self.sale);
        true
    }
}

fn lock<J, A>(queues: &Queues<J, A>) -> MutexGuard<'_, HashMap<SaleId, Entrance<J, A>>> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;

    const SALE: SaleId = SaleId(Uuid::nil());
    const CROWD: usize = 20;

    /// Lanes whose calls wait for a permit of `gate` and answer each job with its batch's number.
    fn gated(max_batch: usize, max_waiting: usize) -> (Arc<Lanes<u32, usize>>, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let calls = Arc::new(AtomicUsize::new(0));
        let gate_of_call = Arc::clone(&gate);
        let width = Width { max_batch, max_waiting, crowd: CROWD };
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

    /// Small numbers out of a seed.
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

    /// One schedule: who comes when, who gives up when, how long calls take, which of them fail, and
    /// whether the queue closes in between, all picked by `seed` on one thread and a paused clock.
    async fn play(seed: u64) {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let called: Arc<Mutex<Vec<u64>>> = Arc::default();
        let record = Arc::clone(&called);
        let calls_take = chance.below(4);
        let failing = 1 + chance.below(5);
        let width = Width {
            max_batch: 1 + usize::try_from(chance.below(4)).unwrap(),
            max_waiting: 64,
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
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(play(seed));
        }
    }
}
