//! `/api/v1/admin`: imports many members at once, and issues tokens to act in their name. Meant for moving a
//! customer base in, and for tests with thousands of shoppers.

use axum::extract::State;
use rocketmart_kit::extract::Json;
use rocketmart_kit::list;
use rocketmart_kit::problem::{FieldError, Problem, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::session::Administrator;
use super::validate::Fields;
use crate::domain::RuleBroken;
use crate::domain::email::EmailAddress;
use crate::domain::name::Name;
use crate::store::members::{self, Imported};
use crate::store::sessions::{self, Issued};
use crate::tokens::Bearer;

/// The most members, or tokens, in one request.
const MAX_ITEMS: usize = 1_000;

fn check_count(count: usize) -> Result<(), RuleBroken> {
    match count {
        1..=MAX_ITEMS => Ok(()),
        _ => Err(RuleBroken::new("items", format!("must be 1 to {MAX_ITEMS}"))),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Import {
    #[serde(deserialize_with = "list::at_most::<MAX_ITEMS, _, _>")]
    #[schema(min_items = 1, max_items = 1000)]
    members: Vec<ImportedMember>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ImportedMember {
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

impl Import {
    fn parse(self) -> Result<Vec<Imported>> {
        let mut fields = Fields::default();
        if fields.check("members", check_count(self.members.len())).is_none() {
            return Err(fields.into_problem());
        }
        let mut parsed = Vec::with_capacity(self.members.len());
        for (at, member) in self.members.iter().enumerate() {
            let email = fields.check(&format!("members[{at}].email"), EmailAddress::parse(&member.email));
            let name = fields.check(&format!("members[{at}].name"), Name::parse(&member.name));
            parsed.extend(email.zip(name).map(|(email, name)| Imported { email, name }));
        }
        fields.finish()?;
        Ok(parsed)
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct ImportResult {
    /// In the order given, the ones that were members before included.
    members: Vec<MemberId>,
}

#[derive(Serialize, ToSchema)]
struct MemberId {
    id: Uuid,
    email: String,
}

/// Import members: verified, buyers, without a password until they reset it. Those whose address is
/// known stay as they are, so an import can be repeated.
#[utoipa::path(
    post, path = "/api/v1/admin/members/import", tag = "admin", security(("bearer" = [])), request_body = Import,
    responses(
        (status = 200, description = "All of them are members", body = ImportResult),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn import(
    administrator: Administrator,
    State(app): State<App>,
    Json(body): Json<Import>,
) -> Result<Json<ImportResult>> {
    let imported = body.parse()?;
    let ids = members::import(&app.pool, &imported).await?;
    administrator.did("import-members", ids.len());
    let members =
        ids.into_iter().zip(&imported).map(|(id, member)| MemberId { id, email: member.email.to_string() });
    Ok(Json(ImportResult { members: members.collect() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// Of members who are not administrators.
    #[serde(deserialize_with = "list::at_most::<MAX_ITEMS, _, _>")]
    #[schema(min_items = 1, max_items = 1000)]
    member_ids: Vec<Uuid>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct IssuedTokens {
    /// In the order given.
    tokens: Vec<IssuedToken>,
    /// In seconds.
    expires_in: i64,
}

#[derive(Serialize, ToSchema)]
struct IssuedToken {
    member_id: Uuid,
    access_token: String,
}

/// Issue access tokens for members, each for a session of its own without a refresh token.
#[utoipa::path(
    post, path = "/api/v1/admin/tokens", tag = "admin", security(("bearer" = [])), request_body = TokenRequest,
    responses(
        (status = 200, description = "One token each", body = IssuedTokens),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn issue_tokens(
    administrator: Administrator,
    State(app): State<App>,
    Json(body): Json<TokenRequest>,
) -> Result<Json<IssuedTokens>> {
    let mut fields = Fields::default();
    fields.check("member_ids", check_count(body.member_ids.len()));
    fields.finish()?;

    let opened = sessions::open_for_each(&app.pool, &body.member_ids, app.issuer.lifetime()).await?;
    let opened = all_known(opened)?;
    administrator.did("issue-tokens", opened.len());
    let issuer = app.issuer.clone();
    // A thousand signatures take tens of milliseconds, which is too long on a thread that others share.
    let signed = tokio::task::spawn_blocking(move || {
        opened
            .iter()
            .map(|Issued { member, session, roles, ends_at }| {
                let bearer = Bearer { member: *member, session: *session, roles, ends_at: *ends_at };
                Ok(IssuedToken { member_id: *member, access_token: issuer.issue(&bearer)?.token })
            })
            .collect::<anyhow::Result<Vec<_>>>()
    });
    let tokens = signed.await.map_err(Problem::internal)??;
    Ok(Json(IssuedTokens { tokens, expires_in: app.issuer.lifetime().whole_seconds() }))
}

fn all_known(issued: Vec<Option<Issued>>) -> Result<Vec<Issued>> {
    let unknown: Vec<FieldError> = issued
        .iter()
        .enumerate()
        .filter(|(_, issued)| issued.is_none())
        .map(|(at, _)| {
            FieldError::new(format!("member_ids[{at}]"), "member", "is not a member, or an administrator")
        })
        .collect();
    if unknown.is_empty() {
        Ok(issued.into_iter().flatten().collect())
    } else {
        Err(Problem::validation(unknown))
    }
}
