//! The body of a request, which has to arrive in a given time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// A body that fails with [`io::ErrorKind::TimedOut`] when it does not end in time.
pub(super) struct Timely {
    body: Body,
    limit: Duration,
    /// Starts when we first wait for the body: most bodies come with their head.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Timely {
    pub(super) fn new(body: Body, limit: Duration) -> Self {
        Self { body, limit, deadline: None }
    }
}

impl HttpBody for Timely {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let done @ Poll::Ready(_) = Pin::new(&mut self.body).poll_frame(cx) {
            return done;
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(deadline.as_mut().poll(cx));
        let late = io::Error::new(io::ErrorKind::TimedOut, "the body does not arrive");
        Poll::Ready(Some(Err(axum::Error::new(late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
