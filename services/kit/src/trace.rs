//! W3C trace context: one trace id from the entrance through HTTP, streams and Kafka.
//!
//! The middleware and the callers of [`scope`] make a context current for a task. What the task sends
//! (events, HTTP calls) takes [`current`] along by itself.

use std::fmt;
use std::str::FromStr;

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// The name of the header, in HTTP and in Kafka.
pub const TRACEPARENT: &str = "traceparent";

/// Which trace a piece of work belongs to. `Display` is the `traceparent` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// The root of a new trace.
    pub fn root() -> Self {
        Self { trace_id: rand::random::<u128>() | 1, span_id: rand::random::<u64>() | 1, flags: 0 }
    }

    /// A new span of the same trace.
    pub fn child(self) -> Self {
        Self { span_id: rand::random::<u64>() | 1, ..self }
    }

    /// The trace's id, 32 hexadecimal digits.
    pub fn trace_id(self) -> TraceId {
        TraceId(self.trace_id)
    }
}

/// A trace id as it is written in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// The text is not a `traceparent` header of a known version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a traceparent header")]
pub struct NotTraceparent;

impl FromStr for TraceContext {
    type Err = NotTraceparent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |range: std::ops::Range<usize>| {
            text.get(range)
                .filter(|part| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
                .ok_or(NotTraceparent)
        };
        let dashes = [2, 35, 52].iter().all(|&at| text.as_bytes().get(at) == Some(&b'-'));
        if text.len() != 55 || !dashes || digits(0..2)? != "00" {
            return Err(NotTraceparent);
        }
        let context = Self {
            trace_id: u128::from_str_radix(digits(3..35)?, 16).map_err(|_| NotTraceparent)?,
            span_id: u64::from_str_radix(digits(36..52)?, 16).map_err(|_| NotTraceparent)?,
            flags: u8::from_str_radix(digits(53..55)?, 16).map_err(|_| NotTraceparent)?,
        };
        if context.trace_id == 0 || context.span_id == 0 { Err(NotTraceparent) } else { Ok(context) }
    }
}

/// The context of the running task, if it has one. Tasks that it spawns start without.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

/// Runs `work` with `context` as the current one.
pub async fn scope<F: Future>(context: TraceContext, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_is_read_and_written_unchanged() {
        assert_eq!(HEADER.parse::<TraceContext>().unwrap().to_string(), HEADER);
    }

    #[test]
    fn a_child_keeps_the_trace_and_changes_the_span() {
        let parent: TraceContext = HEADER.parse().unwrap();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child, parent);
    }

    #[test]
    fn what_is_not_a_traceparent_is_refused() {
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-ääääääääääääääää-b7ad6b7169203331-01xxxxxxxxxxxxxxxx",
        ] {
            assert_eq!(wrong.parse::<TraceContext>(), Err(NotTraceparent), "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_context_is_current_inside_its_scope_only() {
        let context = TraceContext::root();
        assert_eq!(scope(context, async { current() }).await, Some(context));
        assert_eq!(current(), None);
    }
}
