//! Serves a router on connections that are limited in number and in time: for the services, for the operator,
//! and for the simulated world around them.
//!
//! ```text
//! listener ──▶ is a place free? ──▶ Watched ──▶ hyper (HTTP/1.1) ──▶ router
//!                └ no: whoever is idle goes; others wait in the queue of the system
//! ```
//!
//! A connection ends when it has been idle for minutes, when the head of a request or the answer takes too
//! long (`Watched`), or, when the process stops, after its answer. The limit for bodies is in a service's
//! middleware, since their sender gets an answer. `axum::serve` has no settings for any of this.

mod watched;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use watched::{Requests, Watched};

/// How long connections may last, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections open at once.
    pub at_most: usize,
    /// Time for the head of a request, from its first byte or from the opening of the connection.
    pub head: Duration,
    /// Time for the body of a request, from the end of its head.
    pub body: Duration,
    /// Time for the other end to take what was written in one go.
    pub write: Duration,
    /// Time between an answer and the next request.
    pub idle: Duration,
}

impl ConnectionLimits {
    /// For an API. Proxies keep connections open for later use, so an idle one may stay for minutes.
    pub const API: Self = Self {
        at_most: 4_096,
        head: Duration::from_secs(15),
        body: Duration::from_secs(8),
        write: Duration::from_secs(20),
        idle: Duration::from_mins(4),
    };

    /// The same for few callers: probes, and whatever collects metrics.
    pub const ADMIN: Self = Self { at_most: 256, ..Self::API };
}

/// How much of a connection is read ahead or written at once, in bytes; also the longest head of a request.
const BUFFER: usize = 32 * 1024;
/// Pause before we try again when there is no place or no file descriptor for another connection.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for a request that is on its way when the process stops, on a connection that has had none.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Serves until `stop`, and then finishes what has begun. Handlers see the caller's address in
/// [`ConnectInfo`].
pub async fn serve(listener: TcpListener, router: Router, limits: ConnectionLimits, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.at_most));
    let server = Server { router, limits, crowded: Arc::new(Notify::new()), stop: stop.clone() };
    let open = TaskTracker::new();
    while let Some((stream, peer, place)) = server.next(&listener, &places).await {
        open.spawn(server.clone().connection(stream, peer, place));
    }
    drop(listener);
    open.close();
    open.wait().await;
}

#[derive(Clone)]
struct Server {
    router: Router,
    limits: ConnectionLimits,
    /// Notified whenever somebody waits for a place.
    crowded: Arc<Notify>,
    stop: CancellationToken,
}

impl Server {
    /// The next connection with its place, or `None` when the process stops.
    async fn next(
        &self,
        listener: &TcpListener,
        places: &Arc<Semaphore>,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        loop {
            match self.unless_stopped(listener.accept()).await? {
                Ok((stream, peer)) => {
                    let place = self.unless_stopped(self.free(places)).await??;
                    return Some((stream, peer, place));
                }
                Err(error) => {
                    // The connection is gone already, or the process has run out of file descriptors.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.crowded.notify_waiters();
                    self.unless_stopped(tokio::time::sleep(PAUSE)).await?;
                }
            }
        }
    }

    async fn free(&self, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Some(place);
        }
        tracing::warn!(at_most = self.limits.at_most, "as many connections as there may be");
        let mut place = std::pin::pin!(Arc::clone(places).acquire_owned());
        loop {
            self.crowded.notify_waiters();
            if let Ok(place) = tokio::time::timeout(PAUSE, &mut place).await {
                return place.ok();
            }
        }
    }

    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(future).await
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, _place: OwnedSemaphorePermit) {
        // Answers are small: waiting to fill a segment would only add latency.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let requests = Arc::new(Requests::default());
        let stream = Watched::new(stream, Arc::clone(&requests), self.limits.head, self.limits.write);
        let (router, answered) = (self.router.clone(), Arc::clone(&requests));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            answer(router.clone(), Arc::clone(&answered), request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_buf_size(BUFFER)
            .max_header_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.asked_to_go() => {
                // An idle connection ends now, a busy one after its answer.
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = self.owed_a_request(&requests) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }

    /// Returns when the process stops and the connection's first request still does not come.
    async fn owed_a_request(&self, requests: &Requests) {
        self.stop.cancelled().await;
        tokio::time::sleep(LAST_MOMENT).await;
        if requests.any() {
            std::future::pending::<()>().await;
        }
    }

    async fn asked_to_go(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.crowded.notified() => {}
        }
    }
}

async fn answer(
    mut router: Router,
    requests: Arc<Requests>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    requests.begin();
    // A router is always ready.
    let answer = router.call(request).await;
    requests.answer();
    answer
}
