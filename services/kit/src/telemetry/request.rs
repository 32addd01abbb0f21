//! Which request a log line belongs to.
//!
//! A `tracing` span would be recorded for every request, and nearly no request logs anything. So the
//! middleware only notes the request for its task, and the few lines that are logged look it up: they read as
//! if there were a span `request`.

use std::fmt::{self, Write as _};

use axum::extract::MatchedPath;
use http::{HeaderValue, Method};
use serde::Serialize;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::trace::{TraceContext, TraceId};

tokio::task_local! {
    static CURRENT: Request;
}

/// What we log about a request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: HeaderValue,
    pub(crate) context: TraceContext,
    pub(crate) method: Method,
    pub(crate) route: Option<MatchedPath>,
}

impl Request {
    /// The pattern that matched, never the path that a caller made up.
    pub(crate) fn route(&self) -> &str {
        self.route.as_ref().map_or("unknown", MatchedPath::as_str)
    }

    /// Runs `work` as part of this request.
    pub(crate) async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

#[derive(Serialize)]
struct Span<'a> {
    id: &'a str,
    trace: String,
    method: &'a str,
    route: &'a str,
    name: &'static str,
}

impl<'a> From<&'a Request> for Span<'a> {
    fn from(request: &'a Request) -> Self {
        let trace: TraceId = request.context.trace_id();
        Self {
            id: request.id.to_str().unwrap_or_default(),
            trace: trace.to_string(),
            method: request.method.as_str(),
            route: request.route(),
            name: "request",
        }
    }
}

/// Formats lines like `F`, and adds the request they belong to.
pub(super) struct InRequest<F> {
    pub(super) lines: F,
    pub(super) json: bool,
}

impl<S, N, F> FormatEvent<S, N> for InRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Ok(request) = CURRENT.try_with(Clone::clone) else {
            return self.lines.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&in_request(&line, &Span::from(&request), self.json))
    }
}

fn in_request(line: &str, span: &Span<'_>, json: bool) -> String {
    let text = line.trim_end_matches('\n');
    let mut whole = String::with_capacity(text.len() + 200);
    match text.strip_suffix('}').filter(|_| json) {
        Some(open) => {
            let span = serde_json::to_string(span).unwrap_or_default();
            let _ = writeln!(whole, "{open},\"span\":{span}}}");
        }
        None => {
            let _ = writeln!(whole, "{text} request={} trace={}", span.id, span.trace);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[tokio::test]
    async fn a_line_logged_while_a_request_is_handled_names_it_and_another_does_not() {
        let lines = Lines::default();
        let format = tracing_subscriber::fmt::format().json().flatten_event(true);
        let subscriber = tracing_subscriber::fmt()
            .json()
            .event_format(InRequest { lines: format, json: true })
            .with_writer(lines.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let request = Request {
            id: HeaderValue::from_static("r-1"),
            context: TraceContext::root(),
            method: Method::POST,
            route: None,
        };
        let trace = request.context.trace_id().to_string();
        request.scope(async { tracing::warn!(order = 7, "inside") }).await;
        tracing::warn!("outside");
        drop(guard);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let logged: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((logged[0]["message"].as_str(), logged[0]["order"].as_i64()), (Some("inside"), Some(7)));
        assert_eq!(
            logged[0]["span"],
            serde_json::json!({"id": "r-1", "trace": trace, "method": "POST", "route": "unknown", "name": "request"})
        );
        assert_eq!(logged[1]["span"], serde_json::Value::Null);
    }
}
