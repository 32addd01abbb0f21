//! The same loop with hyper's own connections, one per shopper and no pool.

use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::generator::{Connection, Shopper, Told};
use crate::{BODY, PATH, token};

#[derive(Deserialize)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
}

pub(crate) struct Hyper {
    address: SocketAddr,
    authorization: HeaderValue,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Hyper {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let authorization = HeaderValue::try_from(format!("Bearer {}", token()));
        Self { address, authorization: authorization.expect("letters only"), sender: None }
    }

    async fn sender(&mut self) -> io::Result<SendRequest<Full<Bytes>>> {
        if let Some(sender) = self.sender.take() {
            return Ok(sender);
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }
}

impl Shopper for Hyper {
    async fn act(&mut self, _unused: &mut Connection, n: u64) -> io::Result<Told> {
        let mut sender = self.sender().await?;
        let request = Request::post(PATH)
            .header(HOST, HeaderValue::from_static("shop"))
            .header(AUTHORIZATION, self.authorization.clone())
            .header("idempotency-key", Uuid::from_u128(n.into()).hyphenated().to_string())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(Bytes::from_static(BODY.as_bytes())))
            .map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        self.sender = Some(sender);
        let order: Option<Order> = serde_json::from_slice(&body).ok();
        Ok(Told { status, requests: 1, order: order.map(|order| order.id) })
    }
}
