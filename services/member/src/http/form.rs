//! A body that programs send as JSON and our pages send as a form.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request};
use axum::http::header;
use rocketmart_kit::extract::Json;
use rocketmart_kit::problem::Problem;
use serde::de::DeserializeOwned;

#[derive(Debug)]
pub(super) struct FormOrJson<T>(pub(super) T);

impl<T: DeserializeOwned + 'static, S: Send + Sync> FromRequest<S> for FormOrJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_form = content_type
            .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        if is_form {
            Form::from_request(request, state).await.map(|Form(body)| Self(body)).map_err(unfit)
        } else {
            Json::from_request(request, state).await.map(|Json(body)| Self(body))
        }
    }
}

fn unfit(rejection: FormRejection) -> Problem {
    Problem::new(rejection.status(), "malformed-form", "The form does not fit").detail(rejection.body_text())
}
