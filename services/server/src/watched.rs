//! A connection whose other end must keep moving.
//!
//! ```text
//! opened ──first byte──▶ head of a request ──all of it──▶ request and answer ──▶ idle ──first byte──▶ …
//!   └────────── HEAD ──────────┘                             WRITE                 └── hyper's timer, IDLE
//! ```
//!
//! hyper has a single limit for the time until a head is complete, and it includes the idle time before the
//! head. An idle connection may stay for minutes, but a head must not take that long. So hyper's limit covers
//! idleness, and this module covers the head. It also ends the connection when the other end does not take
//! what we write within the limit.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How many requests of a connection have begun, and how many were answered.
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

    /// Whether there was a request.
    pub(crate) fn any(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// The number of the request whose head we wait for; `None` while we answer one.
    fn awaited(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Relaxed);
        (self.answered.load(Ordering::Relaxed) == begun).then_some(begun)
    }
}

/// A stream that fails when the other end takes too long.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    requests: Arc<Requests>,
    /// Time for a head, from its first byte or from the opening of the connection.
    head: Duration,
    /// Time for everything that is written in one go.
    write: Duration,
    /// The request whose head has begun to arrive, or that a new connection owes us, and its deadline.
    reading: Option<(u64, Pin<Box<Sleep>>)>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, requests: Arc<Requests>, head: Duration, write: Duration) -> Self {
        let reading = Some((0, Box::pin(sleep_until(Instant::now() + head))));
        Self { stream, requests, head, write, reading, writing: None }
    }

    /// Whether the head that we wait for is overdue.
    fn head_is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.reading {
            Some((number, deadline)) if self.requests.awaited() == Some(*number) => {
                deadline.as_mut().poll(cx).is_ready()
            }
            _ => false,
        }
    }

    /// Something came; it may be the beginning of a head.
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

    /// Either what is pending is overdue, or we will be woken to look again.
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

    /// Everything to be written is written; what comes next has its own time.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.writing = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
