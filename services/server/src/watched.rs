//! A connection whose other end must get on with it.
//!
//! ```text
//! opened ──first byte──▶ head of a request ──all of it──▶ request and answer ──▶ idle ──first byte──▶ …
//!   └────────── HEAD ──────────┘                             WRITE                 └── hyper's timer, IDLE
//! ```
//!
//! hyper knows one limit for the time until a head is complete, and counts the idle time before it as a part of
//! that. An idle connection may stay for minutes, and a head may not take that long: so hyper's limit is the one for
//! idleness, and here is the other. What is given to the network and not taken by the other end within the limit
//! ends the connection as well.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How many requests of a connection were begun and answered.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    answered: AtomicU64,
}

impl Requests {
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there was one.
    pub(crate) fn any(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// The number of the request whose head is waited for; `None` while one is being answered.
    fn awaited(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Relaxed);
        (self.answered.load(Ordering::Relaxed) == begun).then_some(begun)
    }
}

/// A stream that fails when its other end takes too long.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    requests: Arc<Requests>,
    /// For a head, from its first byte, or from the opening of the connection.
    head: Duration,
    /// For all that is written at once.
    write: Duration,
    /// The number of the request of whose head something is there, or that a new connection owes, and its deadline.
    reading: Option<(u64, Pin<Box<Sleep>>)>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, requests: Arc<Requests>, head: Duration, write: Duration) -> Self {
        let reading = Some((0, Box::pin(sleep_until(Instant::now() + head))));
        Self { stream, requests, head, write, reading, writing: None }
    }

    /// Whether the head that is waited for is overdue.
    fn head_is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.reading {
            Some((number, deadline)) if self.requests.awaited() == Some(*number) => {
                deadline.as_mut().poll(cx).is_ready()
            }
            _ => false,
        }
    }

    /// Something came; of a head it may be the beginning.
    fn received(&mut self) {
        let Some(awaited) = self.requests.awaited() else { return };
        let deadline = Instant::now() + self.head;
        match &mut self.reading {
            Some((number, _)) if *number == awaited => {}
            Some((number, sleep)) => {
                *number = awaited;
                sleep.as_mut().reset(deadline);
            }
            None => self.reading = Some((awaited, Box::pin(sleep_until(deadline)))),
        }
    }

    /// What is pending is overdue, or will be looked at again.
    fn not_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.write;
        let deadline = self.writing.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(too_slow("the answer is not taken"))
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending if self.head_is_overdue(cx) => {
                Poll::Ready(Err(too_slow("the head of a request does not end")))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(outcome) => {
                if buffer.filled().len() > before {
                    self.received();
                }
                Poll::Ready(outcome)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buffer) {
            Poll::Pending => self.not_written(cx).map(Err),
            done @ Poll::Ready(_) => done,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, buffers) {
            Poll::Pending => self.not_written(cx).map(Err),
            done @ Poll::Ready(_) => done,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// All that was to be written is: what comes next has its own time.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.writing = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
