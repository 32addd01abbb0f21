//! Step 6: report what people see. We write the status only when it says something new.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::EventType,
};
use rocketmart_crds::{Component, Shop, ShopStatus, shop::ComponentStatus};
use serde_json::json;

use super::{
    apply::Applied,
    facts::{Facts, Live},
    names,
    problem::Problem,
    readiness::Reasons,
    rollout::{desired, failure, is_rolled_out, ready, serves},
    route::{self, Stand},
    validated_shop::{Replicas, ValidatedShop},
};
use crate::{
    Context, OPERATOR,
    conditions::{self, AS_EXPECTED, Verdict},
    telemetry,
};

const READY: &str = "Ready";
const PROGRESSING: &str = "Progressing";
const DEGRADED: &str = "Degraded";
/// Only for a shop behind Gateways.
const ROUTE_ACCEPTED: &str = "RouteAccepted";

/// What a reconcile found.
pub(super) struct Report {
    problems: Vec<Problem>,
    /// Components that have no serving pod.
    down: Vec<String>,
    /// Components that have pods that are outdated or not ready: they are rolling out, scaling, or down.
    unsettled: Vec<String>,
    components: Vec<ComponentStatus>,
    /// The version, once all pods run it.
    version: Option<String>,
    suspended: bool,
    /// Components that are declared with no replicas.
    stopped: Vec<String>,
    /// What else people should know about a shop that is ready.
    notes: Vec<String>,
    /// Where the shop's route stands, if it has Gateways.
    route: Option<Stand>,
}

impl Report {
    /// The spec could not be used; the shop continues as it was.
    pub(super) fn refused(problems: Vec<Problem>, live: &Live) -> Self {
        let route = live.http_routes.iter().flatten().next().map(route::stand);
        Self { problems, route, ..Self::observed(&live.deployments, &Reasons::new()) }
    }

    pub(super) fn of(shop: &ValidatedShop, applied: &Applied, facts: &Facts) -> Self {
        let mut report = Self::observed(&applied.deployments, &facts.unready);
        if let Some(error) = &applied.kafka {
            report
                .problems
                .push(Problem { reason: "KafkaUnreachable", message: format!("spec.kafka: {error}") });
        }
        report.problems.extend(applied.deployments.iter().filter_map(|it| failure(it, &facts.pods)));
        report.problems.extend(applied.refused.iter().cloned());
        report.problems.extend(applied.strangers.iter().cloned());
        for (component, replicas) in &shop.replicas {
            let is_down = report.down.iter().any(|down| down.starts_with(&format!("{component} ")));
            if !is_down && applied.unserved.contains(&names::of_component(&shop.name, *component)) {
                report.down.push(format!("{component} (without its Service)"));
            }
            match replicas {
                Replicas::Fixed(0) if !is_down => report.stopped.push(component.to_string()),
                Replicas::OfUser { by, .. } => {
                    report
                        .notes
                        .push(format!("HorizontalPodAutoscaler {by} sets the replicas of {component}"));
                }
                Replicas::Fixed(_) | Replicas::Autoscaled { .. } => {}
            }
        }
        if let Some(Stand::Refused(why)) = &applied.route {
            let message = format!("spec.gateway: {why}");
            report.problems.push(Problem { reason: "RouteRefused", message });
        }
        report.route.clone_from(&applied.route);
        report.version = report.unsettled.is_empty().then(|| shop.version());
        report.suspended = shop.spec.suspend;
        report
    }

    fn observed(deployments: &[Deployment], unready: &Reasons) -> Self {
        let mut report = Self {
            problems: Vec::new(),
            down: Vec::new(),
            unsettled: Vec::new(),
            components: Vec::new(),
            version: None,
            suspended: false,
            stopped: Vec::new(),
            notes: Vec::new(),
            route: None,
        };
        for component in Component::ALL {
            let deployment = deployments.iter().find(|deployment| {
                deployment.labels().get(names::COMPONENT).map(String::as_str) == Some(component.as_str())
            });
            let numbers = deployment.map(|deployment| (desired(deployment), ready(deployment)));
            let state = match (numbers, unready.get(component.as_str())) {
                (Some((desired, ready)), None) => format!("{component} ({ready} of {desired})"),
                (Some((desired, ready)), Some(why)) => format!("{component} ({ready} of {desired}; {why})"),
                (None, _) => format!("{component} (not made yet)"),
            };
            if !deployment.is_some_and(serves) {
                report.down.push(state.clone());
            }
            if !deployment.is_some_and(is_rolled_out) {
                report.unsettled.push(state);
            }
            report.components.push(ComponentStatus {
                name: component.to_string(),
                desired: numbers.map(|(desired, _)| desired),
                ready: numbers.map(|(_, ready)| ready),
                autoscaling: None,
            });
        }
        report
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.problems.is_empty() && self.unsettled.is_empty() && self.waiting_for_gateways().is_none()
    }

    /// The Gateways that have not accepted the route yet.
    fn waiting_for_gateways(&self) -> Option<&str> {
        match &self.route {
            Some(Stand::Waiting { for_, .. }) => Some(for_),
            _ => None,
        }
    }

    /// How many components serve, out of all.
    fn services(&self) -> String {
        let serving = self.components.len().saturating_sub(self.down.len() + self.stopped.len());
        format!("{serving}/{}", self.components.len())
    }

    fn verdicts(&self) -> [Verdict; 3] {
        let problems: Vec<_> = self.problems.iter().map(|problem| problem.message.as_str()).collect();
        let problems = problems.join("; ");
        let waiting = |components: &[String]| format!("waiting for {}", components.join(", "));
        let gateways: Vec<_> = self.waiting_for_gateways().map(str::to_owned).into_iter().collect();
        let mut all = vec![format!("all {} components serve", Component::ALL.len())];
        all.extend(self.notes.iter().cloned());
        let ready = match self.problems.first() {
            Some(problem) => Verdict::new(READY, false, problem.reason, problems.clone()),
            None if self.suspended => {
                Verdict::new(READY, false, "Suspended", "spec.suspend stops all components")
            }
            None if !self.down.is_empty() => {
                Verdict::new(READY, false, "ComponentsNotReady", waiting(&self.down))
            }
            None if !self.stopped.is_empty() => {
                let stopped = format!("declared with 0 replicas: {}", self.stopped.join(", "));
                Verdict::new(READY, false, "ScaledToZero", stopped)
            }
            None if self.route.as_ref().is_some_and(|route| !route.leads()) => {
                Verdict::new(READY, false, "RoutePending", waiting(&gateways))
            }
            None => Verdict::new(READY, true, AS_EXPECTED, all.join("; ")),
        };
        let progressing = if !self.unsettled.is_empty() {
            Verdict::new(PROGRESSING, true, "RollingOut", waiting(&self.unsettled))
        } else if !gateways.is_empty() {
            Verdict::new(PROGRESSING, true, "RoutePending", waiting(&gateways))
        } else {
            Verdict::new(PROGRESSING, false, "RolledOut", "every component runs as declared")
        };
        let degraded = match self.problems.first() {
            Some(problem) => Verdict::new(DEGRADED, true, problem.reason, problems),
            None => Verdict::new(DEGRADED, false, AS_EXPECTED, ""),
        };
        [ready, progressing, degraded]
    }

    fn route_verdict(&self) -> Option<Verdict> {
        Some(match self.route.as_ref()? {
            Stand::Accepted => Verdict::new(ROUTE_ACCEPTED, true, "Accepted", ""),
            Stand::Waiting { for_, .. } => {
                Verdict::new(ROUTE_ACCEPTED, false, "Pending", format!("waiting for {for_}"))
            }
            Stand::Refused(why) => Verdict::new(ROUTE_ACCEPTED, false, "Refused", why.clone()),
        })
    }
}

/// Writes the status if it differs. Writes an Event when the shop becomes ready, stops being ready, or has
/// a new reason for not being ready.
pub(super) async fn write(shop: &Shop, report: Report, context: &Context) -> kube::Result<()> {
    let old = shop.status.clone().unwrap_or_default();
    let mut verdicts = Vec::from(report.verdicts());
    let mut before = old.conditions.clone();
    match report.route_verdict() {
        Some(verdict) => verdicts.push(verdict),
        None => before.retain(|condition| condition.type_ != ROUTE_ACCEPTED),
    }
    let new = ShopStatus {
        observed_generation: shop.metadata.generation,
        conditions: conditions::merge(&before, &verdicts, shop.metadata.generation),
        services: Some(report.services()),
        version: report.version.or_else(|| old.version.clone()),
        components: report.components,
    };
    // The decisions in the status belong to the autoscaler.
    let mut ours = old.clone();
    ours.components.iter_mut().for_each(|component| component.autoscaling = None);
    if new == ours {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": Shop::api_version(&()),
        "kind": Shop::kind(&()),
        "metadata": { "name": shop.name_any() },
        "status": new,
    });
    let api = context.namespaced::<Shop>(&shop.namespace().unwrap_or_default());
    metrics::counter!(telemetry::WRITES, "kind" => "Shop", "verb" => "status").increment(1);
    api.patch_status(&shop.name_any(), &PatchParams::apply(OPERATOR).force(), &Patch::Apply(&patch)).await?;

    let verdict = &verdicts[0];
    let before = old.conditions.iter().find(|condition| condition.type_ == READY);
    if before.is_none_or(|before| before.reason != verdict.reason) {
        tracing::info!(ready = verdict.status, reason = verdict.reason, because = verdict.message, "status");
        let type_ = if report.problems.is_empty() { EventType::Normal } else { EventType::Warning };
        let reason = if verdict.status { READY } else { verdict.reason.as_str() };
        context.tell(&shop.object_ref(&()), type_, reason, verdict.message.clone()).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{build::fixture, rollout::fixture::deployment},
        *,
    };

    fn all_ready() -> Vec<Deployment> {
        Component::ALL.iter().map(|component| deployment(component.as_str(), 1, json!([]))).collect()
    }

    #[test]
    fn a_shop_is_ready_when_every_component_is() {
        let report = Report::observed(&all_ready(), &Reasons::new());
        assert_eq!(report.services(), "10/10");
        assert!(report.is_healthy());
        assert!(report.verdicts()[0].status);
    }

    #[test]
    fn a_component_that_is_not_ready_is_named() {
        let mut deployments = all_ready();
        deployments[3] = deployment("order", 0, json!([]));
        deployments.remove(0);
        let [ready, progressing, degraded] = Report::observed(&deployments, &Reasons::new()).verdicts();
        assert_eq!(ready.message, "waiting for member (not made yet), order (0 of 1)");
        assert!(!ready.status && progressing.status && !degraded.status);
    }

    #[test]
    fn a_component_says_itself_why_it_is_not_ready() {
        let mut deployments = all_ready();
        deployments[3] = deployment("order", 0, json!([]));
        let why = "redis: this Redis belongs to the shop mart/first, and this is mart/second";
        let unready = Reasons::from([("order".to_owned(), why.to_owned())]);
        let [ready, ..] = Report::observed(&deployments, &unready).verdicts();
        assert_eq!(ready.message, format!("waiting for order (0 of 1; {why})"));
    }

    #[test]
    fn a_shop_stays_ready_while_a_component_is_scaled_or_rolled_out() {
        let mut deployments = all_ready();
        deployments[5].spec.as_mut().unwrap().replicas = Some(4);
        deployments[3].metadata.generation = Some(3);
        let report = Report::observed(&deployments, &Reasons::new());
        let [ready, progressing, _] = report.verdicts();
        assert!(ready.status && progressing.status && !report.is_healthy());
        assert_eq!(progressing.message, "waiting for order (1 of 1), order-worker (1 of 4)");
    }

    #[test]
    fn a_shop_whose_gateways_lead_nobody_to_it_is_not_ready() {
        let with_route =
            |route| Report { route: Some(route), ..Report::observed(&all_ready(), &Reasons::new()) };
        let waiting = |before| Stand::Waiting { for_: "Gateway public".into(), before };
        let report = with_route(waiting(false));
        let [ready, progressing, degraded] = report.verdicts();
        assert!(!ready.status && progressing.status && !degraded.status && !report.is_healthy());
        assert_eq!(
            (ready.reason.as_str(), ready.message.as_str()),
            ("RoutePending", "waiting for Gateway public")
        );

        let report = with_route(waiting(true));
        let [ready, progressing, _] = report.verdicts();
        assert!(ready.status && progressing.status && !report.route_verdict().unwrap().status);
        let report = with_route(Stand::Accepted);
        assert!(report.verdicts()[0].status && report.route_verdict().unwrap().status && report.is_healthy());
    }

    #[test]
    fn k18_a_component_that_is_declared_with_no_replicas_does_not_serve() {
        let stopped =
            Report { stopped: vec!["order".to_owned()], ..Report::observed(&all_ready(), &Reasons::new()) };
        let [ready, ..] = stopped.verdicts();
        assert_eq!((ready.status, ready.reason.as_str()), (false, "ScaledToZero"));
        assert_eq!(ready.message, "declared with 0 replicas: order");
        assert_eq!(stopped.services(), "9/10");
    }

    #[test]
    fn k7_a_component_without_its_service_does_not_serve() {
        let applied = Applied {
            deployments: all_ready(),
            unserved: ["rocket-order".to_owned()].into(),
            ..Applied::default()
        };
        let report = Report::of(&fixture::valid(&fixture::shop()), &applied, &fixture::facts());
        assert_eq!(report.services(), "9/10");
        assert_eq!(report.verdicts()[0].message, "waiting for order (without its Service)");
    }

    #[test]
    fn k6_whoever_else_sets_replicas_is_named() {
        let report = Report {
            notes: vec!["HorizontalPodAutoscaler mine sets the replicas of order".to_owned()],
            ..Report::observed(&all_ready(), &Reasons::new())
        };
        let said = "all 10 components serve; HorizontalPodAutoscaler mine sets the replicas of order";
        assert_eq!(report.verdicts()[0].message, said);
    }

    #[test]
    fn a_problem_makes_the_shop_degraded_with_its_reason() {
        let problem =
            Problem { reason: "SecretMissing", message: "Secret `databases` does not exist".into() };
        let live = Live { deployments: all_ready(), ..Live::default() };
        let [ready, _, degraded] = Report::refused(vec![problem], &live).verdicts();
        assert_eq!((ready.status, ready.reason.as_str()), (false, "SecretMissing"));
        assert_eq!((degraded.status, degraded.message.as_str()), (true, "Secret `databases` does not exist"));
    }
}
