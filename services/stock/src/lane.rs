//! One queue per sale. What arrives during a call waits; when the call returns, everything that waited goes
//! out as the next call. There is no timer: a lone request leaves at once. The busier it gets, the larger
//! (and per request the cheaper) the calls become.
//!
//! ```text
//!   submit ──┐                      ┌─> answer
//!   submit ──┼─> queue of the sale ─┤   one call under way,       calls leave in the order of arrival
//!   submit ──┘   (bounded)          └─> answer   two in a crowd
//! ```
//! When a crowd waits, its call leaves without waiting for the previous one: Redis finds it as soon as it is
//! done, instead of resting while we read answers and hand them out.
//!
//! A full queue refuses at once, and it is full sooner when calls take long: a caller who would wait for
//! seconds is better off being told to come back later. If a caller gave up before its turn, its job is left
//! out of the call. A queue that stays idle closes, so unknown sale ids leave nothing behind.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::StockError;
use crate::id::SaleId;
use crate::sync::{AtomicUsize, Elapsed, Instant, Mutex, MutexGuard, spawn, timeout};

/// Most calls of a queue at a time.
const CALLS: usize = 2;
const CLOSE_AFTER_IDLE: Duration = Duration::from_mins(1);

type Answers<A> = Pin<Box<dyn Future<Output = Result<Vec<A>, StockError>> + Send>>;
type Call<J, A> = Arc<dyn Fn(SaleId, Vec<J>) -> Answers<A> + Send + Sync>;
type Queues<J, A> = Mutex<HashMap<SaleId, Entrance<J, A>>>;

/// How much a lane gathers, and how much it lets wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Width {
    /// Most jobs in one call.
    pub(crate) max_batch: usize,
    /// Most jobs waiting; one more is refused.
    pub(crate) max_waiting: usize,
    /// Nobody joins a queue that takes longer than this to get through at the current speed of calls.
    pub(crate) max_wait: Duration,
    /// How many waiting jobs are worth a second call at once. Fewer gain less by leaving early than by
    /// leaving together, since each call costs Redis a write to its disk.
    pub(crate) crowd: usize,
}

impl Width {
    /// How many may wait while calls take this long: as many as leave within `max_wait`, and no fewer than
    /// the next calls can take.
    fn room(&self, call: Duration) -> usize {
        let next = CALLS * self.max_batch;
        let turns = self.max_wait.as_micros() / call.as_micros().max(1);
        let leaving = usize::try_from(turns).unwrap_or(usize::MAX).saturating_mul(next);
        leaving.max(next).min(self.max_waiting)
    }
}

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

/// The sending end of one queue.
struct Entrance<J, A> {
    queue: mpsc::Sender<Waiting<J, A>>,
    /// Notified when a crowd waits.
    crowded: Arc<Notify>,
    /// How many may wait, going by the last call.
    room: Arc<AtomicUsize>,
}

impl<J, A> Entrance<J, A> {
    fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

impl<J: Send + 'static, A: Send + 'static> Lanes<J, A> {
    /// `call` answers a batch with one answer per job, in order. `kind` names it in metrics.
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
        if entrance.waiting() >= entrance.room.load(Ordering::Relaxed) && !entrance.queue.is_closed() {
            return Err(self.overloaded());
        }
        match entrance.queue.try_send(waiting) {
            Ok(()) => {
                if entrance.waiting() >= self.width.crowd {
                    entrance.crowded.notify_one();
                }
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(self.overloaded()),
            // The queue's task is gone, together with the runtime it was started on.
            Err(TrySendError::Closed(waiting)) => {
                let entrance = self.open(sale);
                let sent = entrance.queue.try_send(waiting).map_err(|_| StockError::Overloaded);
                queues.insert(sale, entrance);
                sent
            }
        }
    }

    fn overloaded(&self) -> StockError {
        metrics::counter!("rocketmart_stock_overloaded_total", "kind" => self.kind).increment(1);
        StockError::Overloaded
    }

    fn open(&self, sale: SaleId) -> Entrance<J, A> {
        let (sender, queue) = mpsc::channel(self.width.max_waiting);
        let crowded = Arc::new(Notify::new());
        let room = Arc::new(AtomicUsize::new(self.width.max_waiting));
        let lane = Lane {
            sale,
            kind: self.kind,
            width: self.width,
            call: Arc::clone(&self.call),
            queues: Arc::downgrade(&self.queues),
            queue,
            crowded: Arc::clone(&crowded),
            room: Arc::clone(&room),
        };
        spawn(lane.run());
        Entrance { queue: sender, crowded, room }
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
    room: Arc<AtomicUsize>,
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

    /// Collects what waits, once it may leave: when no call is under way, or next to one when there is a
    /// crowd.
    async fn gather(&mut self, calls: usize, batch: &mut Vec<Waiting<J, A>>) -> Result<usize, Elapsed> {
        match calls {
            0 => {
                let received = self.queue.recv_many(batch, self.width.max_batch);
                timeout(CLOSE_AFTER_IDLE, received).await
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

    /// The call for the callers that still wait, if there are any.
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
        let (kind, width, room, started) = (self.kind, self.width, Arc::clone(&self.room), Instant::now());
        let call = (self.call)(self.sale, jobs);
        Some(async move {
            let outcome = call.await;
            let took = started.elapsed();
            room.store(width.room(took), Ordering::Relaxed);
            metrics::histogram!("rocketmart_stock_call_seconds", "kind" => kind).record(took);
            // A caller that has gone by now does not read its answer; that is its choice.
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

    /// Closes the queue unless something has arrived meanwhile. Senders hold the same lock.
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

// Named for rustfmt, which also gets here from `schedules/` and would look beside this file.
#[cfg(test)]
#[path = "lane/tests.rs"]
mod tests;
