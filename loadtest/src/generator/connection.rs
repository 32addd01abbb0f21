//! One keep-alive connection: the bytes of a request out, status and body of its answer in.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many headers of an answer we can read; our services send a dozen.
const HEADERS: usize = 48;

/// A connection to one service.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
}

/// An answer. It is valid until the next request is sent.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: vec![0; 8 * 1024], filled: 0 })
    }

    /// Sends one whole request and reads its whole answer. After an error the connection is useless.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head = loop {
            self.read_more().await?;
            if let Some(head) = parse_head(&self.input[..self.filled])? {
                break head;
            }
        };
        let end = head.length + head.body;
        while self.filled < end {
            self.read_more().await?;
        }
        Ok(Answer { status: head.status, body: &self.input[head.length..end] })
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.filled == self.input.len() {
            self.input.resize(2 * self.input.len(), 0);
        }
        let read = self.stream.read(&mut self.input[self.filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += read;
        Ok(())
    }
}

struct Head {
    status: u16,
    /// The length of the head in bytes, with its empty line.
    length: usize,
    /// Bytes of the body.
    body: usize,
}

/// `None` while the head is incomplete. It does not understand chunked answers: our services state the length
/// of everything that is measured here.
fn parse_head(input: &[u8]) -> io::Result<Option<Head>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(input).map_err(|error| broken(&error.to_string()))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.ok_or_else(|| broken("an answer without a status"))?;
    let announced = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = match announced {
        Some(header) => std::str::from_utf8(header.value)
            .ok()
            .and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| broken("a content-length that is no number"))?,
        None if matches!(status, 204 | 304) => 0,
        None => return Err(broken("an answer without a content-length")),
    };
    Ok(Some(Head { status, length, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() -> io::Result<()> {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        assert!(parse_head(&answer[..30])?.is_none());
        let head = parse_head(answer)?.ok_or(io::ErrorKind::Other)?;
        assert_eq!((head.status, head.body, &answer[head.length..]), (201, 7, &b"{\"a\":1}"[..]));
        Ok(())
    }

    #[test]
    fn an_answer_whose_end_is_unknown_is_an_error() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n").is_err());
    }
}
