//! What shoppers send: requests as bytes, put together by copying and nothing more.

use std::io;
use std::rc::Rc;

use rocketmart_loadtest::generator::{Connection, Promise, Shopper, Told};
use uuid::Uuid;

use super::tokens::Buyers;

/// Where and what to buy, and who buys.
pub(crate) struct Wish {
    /// What comes before `/api/v1/…`; empty for our own services.
    pub(crate) prefix: &'static str,
    /// Each act takes the next sale and SKU.
    pub(crate) items: Vec<(Uuid, String)>,
    pub(crate) buyers: Rc<Buyers>,
    /// Without a key a request is refused once its token is verified: that is how services get to know
    /// tokens.
    pub(crate) with_key: bool,
}

impl Wish {
    pub(crate) fn new(sale: Uuid, sku: &str, buyers: &Rc<Buyers>) -> Self {
        Self { prefix: "", items: vec![(sale, sku.to_owned())], buyers: Rc::clone(buyers), with_key: true }
    }

    fn write(&self, n: u64, request: &mut Vec<u8>) {
        let (sale, sku) = &self.items[usize::try_from(n).unwrap_or_default() % self.items.len()];
        request.clear();
        request.extend_from_slice(b"POST ");
        request.extend_from_slice(self.prefix.as_bytes());
        request.extend_from_slice(b"/api/v1/sales/");
        request.extend_from_slice(sale.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        request.extend_from_slice(b"/purchases");
        head(request, self.buyers.token_of(n));
        if self.with_key {
            request.extend_from_slice(b"idempotency-key: ");
            let key = self.buyers.key_of(n);
            request.extend_from_slice(key.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        body(request, &[b"{\"sku\":\"", sku.as_bytes(), b"\",\"quantity\":1}"]);
    }
}

fn head(request: &mut Vec<u8>, token: &str) {
    request.extend_from_slice(b" HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer ");
    request.extend_from_slice(token.as_bytes());
    request.extend_from_slice(b"\r\n");
}

fn body(request: &mut Vec<u8>, parts: &[&[u8]]) {
    use io::Write as _;
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Writing into memory does not fail.
    let _ = write!(request, "content-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    for part in parts {
        request.extend_from_slice(part);
    }
}

/// Sends a `POST` to a path of an order.
fn write_step(request: &mut Vec<u8>, order: Uuid, step: &str, token: &str, content: &[u8]) {
    request.clear();
    request.extend_from_slice(b"POST /api/v1/orders/");
    request.extend_from_slice(order.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    request.extend_from_slice(step.as_bytes());
    head(request, token);
    body(request, &[content]);
}

/// Buys, and does no more.
pub(crate) struct Buying {
    wish: Rc<Wish>,
    request: Vec<u8>,
}

impl Buying {
    pub(crate) fn new(wish: &Rc<Wish>) -> Self {
        Self { wish: Rc::clone(wish), request: Vec::with_capacity(1024) }
    }

    async fn buy(&mut self, line: &mut Connection, n: u64) -> io::Result<Told> {
        self.wish.write(n, &mut self.request);
        line.exchange(&self.request).await.map(Told::of_purchase)
    }
}

impl Shopper for Buying {
    async fn act(&mut self, line: &mut Connection, n: u64) -> io::Result<Told> {
        self.buy(line, n).await
    }
}

/// The step and the body of each further request of act `n`.
type Steps = fn(u64) -> &'static [(&'static str, &'static [u8])];

/// Buys, and then takes further steps with the order as long as each is answered 2xx.
pub(crate) struct Following {
    buying: Buying,
    steps: Steps,
}

impl Following {
    fn new(wish: &Rc<Wish>, steps: Steps) -> Self {
        Self { buying: Buying::new(wish), steps }
    }

    /// Buys and pays.
    pub(crate) fn paying(wish: &Rc<Wish>) -> Self {
        Self::new(wish, |_| &[("/payment", b"{}")])
    }

    /// Buys and cancels.
    pub(crate) fn cancelling(wish: &Rc<Wish>) -> Self {
        Self::new(wish, |_| &[("/cancel", b"{}")])
    }

    /// Acts like the seed's customers, see [`seeds_steps`].
    pub(crate) fn like_the_seeds(wish: &Rc<Wish>) -> Self {
        Self::new(wish, seeds_steps)
    }

    /// Whether the seed's customer of act `n` leaves before completing.
    pub(crate) fn left(n: u64) -> bool {
        seeds_steps(n).len() < SEEDS_STEPS.len()
    }
}

/// The seed's way to pay.
const SEEDS_STEPS: [(&str, &[u8]); 2] = [("/payment", b"{\"confirm\":false}"), ("/payment/confirm", b"{}")];

/// A fifth of the seed's customers leave instead of paying, a fifth between paying and completing.
fn seeds_steps(n: u64) -> &'static [(&'static str, &'static [u8])] {
    match n % 5 {
        0 => &[],
        1 => &SEEDS_STEPS[..1],
        _ => &SEEDS_STEPS,
    }
}

impl Shopper for Following {
    async fn act(&mut self, line: &mut Connection, n: u64) -> io::Result<Told> {
        let mut told = self.buying.buy(line, n).await?;
        let Some(order) = told.order else { return Ok(told) };
        for (step, content) in (self.steps)(n) {
            let request = &mut self.buying.request;
            write_step(request, order, step, self.buying.wish.buyers.token_of(n), content);
            // The purchase was promised, whatever happens in this step.
            let Ok(answer) = line.exchange(request).await else {
                return Ok(Told { status: 0, ..told });
            };
            told.status = answer.status;
            told.requests += 1;
            if !(200..300).contains(&answer.status) {
                break;
            }
        }
        Ok(told)
    }
}

/// Cancels orders, each time the next one of a list.
pub(crate) struct Cancelling {
    promises: Rc<Vec<Promise>>,
    buyers: Rc<Buyers>,
    request: Vec<u8>,
}

impl Cancelling {
    pub(crate) fn new(promises: &Rc<Vec<Promise>>, buyers: &Rc<Buyers>) -> Self {
        Self { promises: Rc::clone(promises), buyers: Rc::clone(buyers), request: Vec::with_capacity(1024) }
    }
}

impl Shopper for Cancelling {
    async fn act(&mut self, line: &mut Connection, n: u64) -> io::Result<Told> {
        let promise = self.promises[usize::try_from(n).unwrap_or_default() % self.promises.len()];
        write_step(&mut self.request, promise.order, "/cancel", self.buyers.token_of(promise.n), b"{}");
        let status = line.exchange(&self.request).await?.status;
        Ok(Told { status, requests: 1, order: None })
    }
}

/// Reads paths, each time the next one of a list.
pub(crate) struct Reading {
    requests: Rc<Vec<Vec<u8>>>,
}

impl Reading {
    pub(crate) fn requests(paths: &[String]) -> Rc<Vec<Vec<u8>>> {
        Rc::new(
            paths
                .iter()
                .map(|path| format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n").into_bytes())
                .collect(),
        )
    }

    pub(crate) fn new(requests: &Rc<Vec<Vec<u8>>>) -> Self {
        Self { requests: Rc::clone(requests) }
    }
}

impl Shopper for Reading {
    async fn act(&mut self, line: &mut Connection, n: u64) -> io::Result<Told> {
        let request = &self.requests[usize::try_from(n).unwrap_or_default() % self.requests.len()];
        let status = line.exchange(request).await?.status;
        Ok(Told { status, requests: 1, order: None })
    }
}
