//! What a Deployment and its pods say about themselves: how many serve, whether all are current, and if
//! not, why.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt;

use super::{names, problem::Problem};

pub(super) fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn ready(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default()
}

/// Whether at least one pod is available, whatever its generation: a component keeps serving while it rolls
/// out or scales. A component that was scaled to zero has nothing to do.
pub(super) fn serves(deployment: &Deployment) -> bool {
    let available = deployment.status.as_ref().and_then(|status| status.available_replicas);
    desired(deployment) == 0 || available.unwrap_or_default() > 0
}

/// Whether all pods of a Deployment use the current template and are ready.
pub(super) fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let desired = desired(deployment);
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or_default() >= desired
        && status.available_replicas.unwrap_or_default() >= desired
        && status.replicas.unwrap_or_default() <= status.updated_replicas.unwrap_or_default()
}

/// Why a Deployment does not become ready, if it says so.
pub(super) fn failure(deployment: &Deployment, pods: &[Pod]) -> Option<Problem> {
    if is_rolled_out(deployment) {
        return None;
    }
    let component = deployment.labels().get(names::COMPONENT);
    let stuck = pods.iter().filter(|pod| pod.labels().get(names::COMPONENT) == component).find_map(stuck);
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let failed = conditions
        .filter(|condition| {
            (condition.type_ == "Progressing" && condition.status == "False")
                || (condition.type_ == "ReplicaFailure" && condition.status == "True")
        })
        .find_map(|condition| condition.message.clone());
    let why = stuck.or(failed)?;
    Some(Problem {
        reason: "DeploymentFailing",
        message: format!("Deployment {}: {why}", deployment.name_any()),
    })
}

/// What keeps a container from running.
fn stuck(pod: &Pod) -> Option<String> {
    const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .find(|waiting| waiting.reason.as_deref().is_some_and(|reason| !PASSING.contains(&reason)))
        .map(|waiting| {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or_default();
            format!("pod {}: {reason}: {message}", pod.name_any())
        })
}

#[cfg(test)]
pub(super) mod fixture {
    use serde_json::{Value, json};

    use super::*;

    /// A Deployment of generation 2 with one replica, of which `ready` are ready.
    pub(in crate::controllers::shop) fn deployment(
        component: &str,
        ready: i32,
        conditions: Value,
    ) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("rocket-{component}"),
                "generation": 2,
                "labels": { names::COMPONENT: component },
            },
            "spec": { "replicas": 1, "selector": {}, "template": {} },
            "status": {
                "observedGeneration": 2,
                "replicas": 1,
                "updatedReplicas": 1,
                "readyReplicas": ready,
                "availableReplicas": ready,
                "conditions": conditions,
            },
        }))
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{fixture::deployment, *};

    #[test]
    fn an_old_generation_is_not_rolled_out_however_ready_it_is() {
        let mut deployment = deployment("order", 1, json!([]));
        deployment.metadata.generation = Some(3);
        assert!(!is_rolled_out(&deployment));
    }

    #[test]
    fn a_failing_deployment_says_what_its_pods_say() {
        let failing = deployment("order", 0, json!([]));
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "rocket-order-1", "labels": { names::COMPONENT: "order" } },
            "status": { "containerStatuses": [{
                "name": "order", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
                "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } },
            }] },
        }))
        .unwrap();
        let problem = failure(&failing, &[pod]).unwrap();
        assert_eq!(
            problem.message,
            "Deployment rocket-order: pod rocket-order-1: ImagePullBackOff: no such image"
        );
        assert_eq!(failure(&failing, &[]), None);
    }
}
