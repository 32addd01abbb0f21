//! The payment provider's own list of charges: the money that really moved.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::books::{Books, Charge};

#[derive(Deserialize)]
struct Page {
    data: Vec<Row>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    reference: String,
    status: String,
    amount: i64,
    refunded: i64,
}

pub async fn read(url: &str, books: &mut Books) -> Result<()> {
    let client = reqwest::Client::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", "1000".to_owned())];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page = client
            .get(format!("{url}/v1/charges"))
            .query(&query)
            .send()
            .await?
            .error_for_status()
            .context("the provider's list of charges")?
            .json()
            .await?;
        books.charges.extend(page.data.into_iter().map(|row| Charge {
            succeeded: row.status == "succeeded",
            reference: row.reference,
            amount: row.amount,
            refunded: row.refunded,
        }));
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}
