//! Serving a router to connections, of which there are so many and no more, and none for ever: of services, of the
//! operator, and of the simulated world around them.
//!
//! ```text
//! listener ──▶ is a place free? ──▶ Watched ──▶ hyper (HTTP/1.1) ──▶ router
//!                └ no: whoever is idle goes; others wait in the queue of the system
//! ```
//!
//! A connection ends when it is idle for minutes, when the head of a request or its answer takes too long
//! (`Watched`), or, after its answer, when the process stops. Bodies have a limit in a service's middleware, since
//! their sender gets an answer. `axum::serve` has no settings for any of that.

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

/// How long and how many connections may be.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections open at once.
    pub at_most: usize,
    /// For the head of a request, from its first byte, or from the opening of the connection.
    pub head: Duration,
    /// For the body of a request, from the end of its head.
    pub body: Duration,
    /// For what is written at once to be taken by the other end.
    pub write: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
}

impl ConnectionLimits {
    /// Of an API. Proxies keep connections open to have them at hand, so idleness is given minutes.
    pub const API: Self = Self {
        at_most: 4_096,
        head: Duration::from_secs(15),
        body: Duration::from_secs(8),
        write: Duration::from_secs(20),
        idle: Duration::from_mins(4),
    };

    /// The same for few callers: probes and whoever gathers metrics.
    pub const ADMIN: Self = Self { at_most: 256, ..Self::API };
}

/// Bytes of a connection that are read ahead or written at once, and the longest head of a request.
const BUFFER: usize = 32 * 1024;
/// When there is no place, or no file descriptor, for another connection, it is tried again after this.
const PAUSE: Duration = Duration::from_millis(100);
/// For a request that is on its way when the process stops, on a connection that had none.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Serves until `stop`, and then what has begun. Handlers find out who called by [`ConnectInfo`].
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
    /// Told whenever somebody waits for a place.
    crowded: Arc<Notify>,
    stop: CancellationToken,
}

impl Server {
    /// The next connection with its place; `None` when the process stops.
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
                    // Of a connection that is gone already, or of a process without file descriptors.
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
                // An idle one ends now, a busy one after its answer.
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

    /// Ends when the process stops and the first request of a connection does not come all the same.
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
