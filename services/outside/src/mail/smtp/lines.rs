//! Lines of an SMTP connection. Each is read up to a limit, and only CR LF ends it.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Longer than RFC 5321 requires (512 for commands, 1,000 for text), so that no client is refused.
const MAX_LINE_BYTES: u64 = 8 * 1024;

pub(super) enum Line {
    Complete(String),
    TooLong,
    /// The client hung up.
    End,
}

pub(super) struct Lines<R>(R);

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self(reader)
    }

    pub(super) async fn next_command(&mut self) -> std::io::Result<Line> {
        let mut line = Vec::new();
        self.read_chunk(&mut line).await?;
        if line.is_empty() {
            return Ok(Line::End);
        }
        if !line.ends_with(b"\r\n") {
            // The line is too long or ends with a bare line feed: skip the rest, if any.
            while !line.ends_with(b"\n") {
                line.clear();
                if self.read_chunk(&mut line).await? == 0 {
                    return Ok(Line::End);
                }
            }
            return Ok(Line::TooLong);
        }
        line.truncate(line.len() - 2);
        Ok(Line::Complete(String::from_utf8_lossy(&line).into_owned()))
    }

    /// Reads up to the line with a single dot and undoes dot-stuffing (RFC 5321, 4.5.2). `None` if the mail
    /// exceeds `limit`; it was read to its end and dropped, so the connection can go on.
    pub(super) async fn read_data(&mut self, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
        let mut mail = Vec::new();
        let mut too_large = false;
        let mut line = Vec::new();
        // A chunk is a whole line unless it is too long or contains a bare line feed. A line starts only
        // after a CR LF.
        let mut at_line_start = true;
        loop {
            line.clear();
            if self.read_chunk(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if at_line_start && line == b".\r\n" {
                return Ok((!too_large).then_some(mail));
            }
            let unstuffed = if at_line_start { line.strip_prefix(b".").unwrap_or(&line) } else { &line };
            too_large = too_large || mail.len() + unstuffed.len() > limit;
            if too_large {
                mail.clear();
            } else {
                mail.extend_from_slice(unstuffed);
            }
            at_line_start = line.ends_with(b"\r\n");
        }
    }

    async fn read_chunk(&mut self, line: &mut Vec<u8>) -> std::io::Result<usize> {
        (&mut self.0).take(MAX_LINE_BYTES).read_until(b'\n', line).await
    }
}
