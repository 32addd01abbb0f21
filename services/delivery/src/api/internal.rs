//! `/internal/v1`: what order asks before it takes a payment. It is open only to holders of the shop's token.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use rocketmart_contracts::choices::{ADDRESSES, Choices, MOST_WISHES, Wishes};
use rocketmart_kit::extract::Json;
use rocketmart_kit::internal::{self, Token};
use rocketmart_kit::problem::{FieldError, Problem, Result};

use super::App;
use crate::store::addresses;

/// Without a token these paths do not exist.
pub(super) fn router(app: App, token: Option<Token>) -> Router {
    let Some(token) = token else { return Router::new() };
    internal::guarded(Router::new().route(ADDRESSES, post(choose)).with_state(app), token)
}

async fn choose(State(app): State<App>, Json(Wishes { wishes }): Json<Wishes>) -> Result<Json<Choices>> {
    if wishes.len() > MOST_WISHES {
        let detail = format!("must have at most {MOST_WISHES} items");
        return Err(Problem::validation(vec![FieldError::new("wishes", "max-items", detail)]));
    }
    let members: Vec<_> = wishes.iter().map(|wish| wish.member_id).collect();
    let named: Vec<_> = wishes.iter().map(|wish| wish.id).collect();
    Ok(Json(Choices { choices: addresses::choose(&app.pool, &members, &named).await? }))
}
