//! Our own generator: a request is bytes, and an answer is read in the buffer it arrived in.

use std::io;

use uuid::Uuid;

use crate::generator::{Connection, Shopper, Told};
use crate::{BODY, PATH, token};

pub(crate) struct Bytes {
    /// Everything before the idempotency key.
    head: Vec<u8>,
    request: Vec<u8>,
}

impl Bytes {
    pub(crate) fn new() -> Self {
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {}\r\nidempotency-key: ",
            token()
        );
        Self { head: head.into_bytes(), request: Vec::with_capacity(1024) }
    }
}

impl Shopper for Bytes {
    async fn act(&mut self, line: &mut Connection, n: u64) -> io::Result<Told> {
        use io::Write as _;
        self.request.clear();
        self.request.extend_from_slice(&self.head);
        write!(
            self.request,
            "{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            Uuid::from_u128(n.into()).hyphenated(),
            BODY.len()
        )?;
        line.exchange(&self.request).await.map(Told::of_purchase)
    }
}
