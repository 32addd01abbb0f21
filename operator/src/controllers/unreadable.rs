//! Objects that the API server has and the operator cannot read: stored before a rule of today, or under the
//! rules of another version.
//!
//! They are left alone, and say so themselves: the condition `Ready` names the field. It is written when it
//! changes and told once, in the log and in an Event, however often the object is looked at.

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
/// When the API server would not take the condition, it is tried again after this time.
const RETRY: Duration = Duration::from_mins(1);
/// Of what is told: the rest of a longer sentence repeats the object.
const LONGEST: usize = 500;

/// Tells people of an object that cannot be read, unless its status says so already.
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
        // Somebody has mended it meanwhile; the watch says so.
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
    // Under a name of its own: an apply takes back what its manager had set elsewhere in the status.
    let params = PatchParams::apply(&format!("{OPERATOR}-unreadable")).force();
    metrics::counter!(telemetry::WRITES, "kind" => kind.to_string(), "verb" => "status").increment(1);
    api.patch_status(name, &params, &Patch::Apply(&patch)).await?;
    tracing::error!(because, "an object cannot be read and is left alone");
    let about = object.object_ref(&ApiResource::erase::<K>(&()));
    context.tell(&about, EventType::Warning, MALFORMED, message).await;
    Ok(())
}

/// The field that cannot be read, and why; `None` if the whole object can.
fn why<K: DeserializeOwned>(object: &DynamicObject) -> Option<String> {
    let whole: Value = serde_json::to_value(object).ok()?;
    let error = serde_path_to_error::deserialize::<_, K>(whole).err()?;
    Some(format!("{}: {}", error.path(), error.inner()).chars().take(LONGEST).collect())
}
