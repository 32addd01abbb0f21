//! `/internal/v1`: what order asks before it takes a payment, and what a person has to look at. It is open
//! only to holders of the shop's token.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use rocketmart_contracts::choices::{Choices, MOST_WISHES, PAYMENT_METHODS, Wishes};
use rocketmart_kit::extract::{Json, Query};
use rocketmart_kit::internal::{self, Token};
use rocketmart_kit::problem::{FieldError, Problem, Result};

use serde::{Deserialize, Serialize};

use super::App;
use crate::store::disputes::{self, Difference};
use crate::store::methods;

const MOST_DIFFERENCES: i64 = 1_000;

/// Without a token these paths do not exist.
pub(super) fn router(app: App, token: Option<Token>) -> Router {
    let Some(token) = token else { return Router::new() };
    let routes = Router::new()
        .route(PAYMENT_METHODS, post(choose))
        .route("/internal/v1/differences", get(differences))
        .with_state(app);
    internal::guarded(routes, token)
}

/// What the reconciliation found and which of the provider's claims we did not believe, newest first.
async fn differences(State(app): State<App>, Query(query): Query<Newest>) -> Result<Json<Differences>> {
    if !(1..=MOST_DIFFERENCES).contains(&query.limit) {
        let detail = format!("must be from 1 to {MOST_DIFFERENCES}");
        return Err(Problem::validation(vec![FieldError::new("limit", "range", detail)]));
    }
    Ok(Json(Differences { data: disputes::newest(&app.pool, query.limit).await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Newest {
    #[serde(default = "a_page")]
    limit: i64,
}

fn a_page() -> i64 {
    100
}

#[derive(Serialize)]
struct Differences {
    data: Vec<Difference>,
}

async fn choose(State(app): State<App>, Json(Wishes { wishes }): Json<Wishes>) -> Result<Json<Choices>> {
    if wishes.len() > MOST_WISHES {
        let detail = format!("must have at most {MOST_WISHES} items");
        return Err(Problem::validation(vec![FieldError::new("wishes", "max-items", detail)]));
    }
    let members: Vec<_> = wishes.iter().map(|wish| wish.member_id).collect();
    let named: Vec<_> = wishes.iter().map(|wish| wish.id).collect();
    Ok(Json(Choices { choices: methods::choose(&app.pool, &members, &named).await? }))
}
