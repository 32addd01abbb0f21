//! Objects that the API server has and the operator cannot read. They were stored before a rule existed, or
//! under the rules of another version.
//!
//! The operator leaves them alone and lets their status say so: the condition `Ready` names the field. We
//! write it when it changes, and report it once in the log and in an Event, however often we look at the
//! object.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Resource,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, NamespaceResourceScope, error_boundary::InvalidObject},
    runtime::{controller::Action, events::EventType},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    Context, OPERATOR,
    conditions::{self, Verdict},
    telemetry,
};

const READY: &str = "Ready";
const MALFORMED: &str = "Malformed";
/// When the API server rejects the condition, we retry after this time.
const RETRY: Duration = Duration::from_mins(1);
/// How much of the message we report: the rest of a longer one repeats the object.
const LONGEST: usize = 500;

/// Reports an object that cannot be read, unless its status already says so.
pub(super) async fn tell<K>(invalid: &InvalidObject, context: &Context) -> Action
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let namespace = invalid.metadata.namespace.as_deref().unwrap_or_default();
    let name = invalid.metadata.name.as_deref().unwrap_or_default();
    let resource = ApiResource::erase::<K>(&());
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), namespace, &resource);
    match say::<K>(&api, name, context).await {
        Ok(()) => Action::await_change(),
        Err(kube::Error::Api(status)) if status.code == 404 => Action::await_change(),
        Err(error) => {
            let because: String = invalid.error.chars().take(LONGEST).collect();
            tracing::error!(because, %error, "an object cannot be read, and its status does not say so");
            Action::requeue(RETRY)
        }
    }
}

async fn say<K>(api: &Api<DynamicObject>, name: &str, context: &Context) -> kube::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let object = api.get(name).await?;
    let Some(because) = why::<K>(&object) else {
        // Somebody has repaired it meanwhile; the watch will say so.
        return Ok(());
    };
    let kind = K::kind(&());
    let message = format!("this {kind} is left alone, it cannot be read: {because}");
    let verdict = [Verdict::new(READY, false, MALFORMED, &message)];
    let said: Vec<Condition> =
        serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default();
    let said: Vec<Condition> = conditions::find(&said, READY).cloned().into_iter().collect();
    let conditions = conditions::merge(&said, &verdict, object.metadata.generation);
    if conditions == said {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": kind,
        "metadata": { "name": name },
        "status": { "conditions": conditions },
    });
    // Under its own manager name: an apply takes back what its manager had set elsewhere in the status.
    let params = PatchParams::apply(&format!("{OPERATOR}-unreadable")).force();
    metrics::counter!(telemetry::WRITES, "kind" => kind.to_string(), "verb" => "status").increment(1);
    api.patch_status(name, &params, &Patch::Apply(&patch)).await?;
    tracing::error!(because, "an object cannot be read and is left alone");
    let about = object.object_ref(&ApiResource::erase::<K>(&()));
    context.tell(&about, EventType::Warning, MALFORMED, message).await;
    Ok(())
}

/// The field that cannot be read, and why; `None` if the whole object can be read.
fn why<K: DeserializeOwned>(object: &DynamicObject) -> Option<String> {
    let whole: Value = serde_json::to_value(object).ok()?;
    let error = serde_path_to_error::deserialize::<_, K>(whole).err()?;
    Some(format!("{}: {}", error.path(), error.inner()).chars().take(LONGEST).collect())
}
