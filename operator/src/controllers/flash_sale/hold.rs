//! The finalizer keeps a FlashSale while its shop may hold units for it, and no longer.
//!
//! We set it before the stock is loaded and remove it once the books are closed. So people can delete a
//! sale that was never loaded, was cancelled, has failed or is closed, whether or not an operator runs. A
//! sale that holds units settles before its deletion completes. There is a limit to that: some time after
//! the payment deadline we let the sale go, and an Event, the log and a counter say what was left
//! (docs/adr/0031).

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::error_boundary::InvalidObject,
    runtime::{controller::Action, events::EventType},
};
use rocketmart_contracts::internal_api::{Outstanding, SaleStatus};
use rocketmart_crds::FlashSale;
use serde_json::json;

use super::{Error, Guarded, OBSTRUCTED, status::Progress};
use crate::{Context, telemetry};

/// Keeps a FlashSale until its sale is settled.
pub const FINALIZER: &str = "rocketmart.dev/settle";
/// When this annotation is `true` on a FlashSale that is being deleted, the sale goes at once, settled or
/// not.
pub const ABANDON: &str = "rocketmart.dev/abandon";
/// A load command that got no answer may still arrive within this time. It is longer than we wait for the
/// answer.
pub(super) const ON_ITS_WAY: Duration = Duration::from_secs(30);

pub(super) fn is_held(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

pub(super) fn is_abandoned(sale: &FlashSale) -> bool {
    sale.annotations().get(ABANDON).is_some_and(|value| value == "true")
}

/// Sets the finalizer. A conflict means that somebody has changed the sale since we read it.
pub(super) async fn take(progress: &mut Progress<'_>, context: &Context) -> kube::Result<()> {
    let finalizers = others(&progress.metadata).chain([FINALIZER]).map(str::to_owned).collect();
    progress.metadata = write(&progress.metadata, finalizers, context).await?;
    Ok(())
}

/// Takes the finalizer off.
pub(super) async fn release(progress: &mut Progress<'_>, context: &Context) -> Result<(), Error> {
    if is_held(&progress.metadata) {
        let finalizers = others(&progress.metadata).map(str::to_owned).collect();
        match write(&progress.metadata, finalizers, context).await {
            Ok(written) => progress.metadata = written,
            // It is already gone.
            Err(kube::Error::Api(response)) if response.code == 404 => {}
            Err(error) => return Err(Error::Finalizer(error)),
        }
    }
    Ok(())
}

fn others(metadata: &ObjectMeta) -> impl Iterator<Item = &str> {
    metadata.finalizers.iter().flatten().map(String::as_str).filter(|finalizer| *finalizer != FINALIZER)
}

/// Sends the resource version, so a finalizer that somebody else adds meanwhile is not lost.
async fn write(
    metadata: &ObjectMeta,
    finalizers: Vec<String>,
    context: &Context,
) -> kube::Result<ObjectMeta> {
    let api: Api<FlashSale> = context.namespaced(metadata.namespace.as_deref().unwrap_or_default());
    let name = metadata.name.as_deref().unwrap_or_default();
    let patch = json!({
        "metadata": { "finalizers": finalizers, "resourceVersion": metadata.resource_version },
    });
    metrics::counter!(telemetry::WRITES, "kind" => "FlashSale", "verb" => "finalizers").increment(1);
    let written = api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(written.metadata)
}

/// Whether a load command may still be under way that the shop has not heard of.
pub(super) fn may_be_on_its_way(progress: &Progress<'_>, observed: Option<&SaleStatus>) -> bool {
    let since = |at: Timestamp| Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default();
    observed.is_none() && progress.last_preload().is_some_and(|at| since(at) < ON_ITS_WAY)
}

/// Whether a deleted sale has had the time to settle: the payment deadline and a while longer.
pub(super) fn has_waited_long(sale: &FlashSale, context: &Context) -> bool {
    waited(&sale.metadata) > sale.spec.payment_deadline_seconds + i64::from(context.config.settle_seconds)
}

/// Seconds since the deletion.
fn waited(metadata: &ObjectMeta) -> i64 {
    let since = metadata.deletion_timestamp.as_ref();
    since.map_or(0, |since| Timestamp::now().as_second() - since.0.as_second())
}

/// Lets a deleted sale go although something of it is left, and says what.
pub(super) async fn give_up(progress: &mut Progress<'_>, left: &str, context: &Context) -> Result<(), Error> {
    let sale = progress.sale();
    tracing::error!(left, uid = sale.metadata.uid, "let go without settling");
    metrics::counter!(telemetry::GIVEN_UP).increment(1);
    let uid = sale.metadata.uid.as_deref().unwrap_or_default();
    let note = format!(
        "deleted without settling: {left}. Its units stay allotted in Shop {} to the sale {uid} until its order \
         service is told to close it",
        sale.spec.shop
    );
    context.tell(&sale.object_ref(&()), EventType::Warning, "NotSettled", note).await;
    release(progress, context).await
}

/// Says in words what is left of a sale that does not settle.
pub(super) fn unsettled(observed: &SaleStatus) -> String {
    let Outstanding { reservations, stream_entries, outbox, payments_pending } = observed.outstanding;
    if observed.outstanding.is_nothing() {
        return "its books are not signed off".to_owned();
    }
    format!(
        "outstanding are reservations ({reservations}), payments ({payments_pending}), entries of the stream \
         ({stream_entries}), messages ({outbox})"
    )
}

/// Nobody can settle a sale that cannot be read, because nobody knows its shop. When it is deleted, it
/// waits as long as any other for somebody to repair it. Then we let it go.
pub(super) async fn let_unreadable_go(
    sale: &Guarded,
    invalid: &InvalidObject,
    context: &Context,
) -> Result<Option<Action>, Error> {
    let metadata = &invalid.metadata;
    if metadata.deletion_timestamp.is_none() || !is_held(metadata) {
        return Ok(None);
    }
    let abandon = metadata.annotations.iter().flatten().any(|(key, value)| key == ABANDON && value == "true");
    let left = i64::from(context.config.settle_seconds) - waited(metadata);
    if left > 0 && !abandon {
        return Ok(Some(Action::requeue(OBSTRUCTED.max(Duration::from_secs(left.unsigned_abs())))));
    }
    let uid = metadata.uid.as_deref().unwrap_or_default();
    tracing::error!(uid, because = invalid.error, "let go without settling: it cannot be read");
    metrics::counter!(telemetry::GIVEN_UP).increment(1);
    let note = format!(
        "deleted without settling: it cannot be read. Units that its shop holds for the sale {uid} stay allotted"
    );
    context.tell(&sale.object_ref(&()), EventType::Warning, "NotSettled", note).await;
    let finalizers = others(metadata).map(str::to_owned).collect();
    match write(metadata, finalizers, context).await {
        Ok(_) => Ok(Some(Action::await_change())),
        Err(kube::Error::Api(response)) if response.code == 404 => Ok(Some(Action::await_change())),
        Err(error) => Err(Error::Finalizer(error)),
    }
}
