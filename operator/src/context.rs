//! What every controller works with.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource,
    core::NamespaceResourceScope,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{Config, OPERATOR, gateway_api, kafka, leader::Fence};

/// One per process; shared by all controllers.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub config: Config,
    /// Fencing tokens for commands that move stock.
    pub fence: Fence,
    /// One connection per Kafka cluster, for topics and for lag.
    pub kafka: kafka::Clusters,
    recorder: Recorder,
}

impl Context {
    pub fn new(client: Client, config: Config, fence: Fence) -> Self {
        let reporter = Reporter { controller: OPERATOR.into(), instance: Some(config.identity.clone()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, config, fence, kafka: kafka::Clusters::default(), recorder }
    }

    /// The objects this operator is responsible for, in one namespace or in all.
    pub fn watched<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.config.watch_namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// The same, for watching a kind that the cluster may not have. The watch stays silent until it does.
    pub fn watched_once_installed<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        let client = gateway_api::patient(&self.client);
        match &self.config.watch_namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    /// The objects of a namespace.
    pub fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Tells people in an Event about something that happened to an object. An Event that cannot be written
    /// is only logged: the object's status holds the state.
    pub async fn tell(&self, about: &ObjectReference, type_: EventType, reason: &str, note: String) {
        self.tell_of(about, None, type_, reason, note).await;
    }

    /// The same, about an object and a second one that it concerns. Kubernetes counts Events together when
    /// only their note differs, so an Event about a part of a whole has to name the part.
    pub async fn tell_of(
        &self,
        about: &ObjectReference,
        part: Option<ObjectReference>,
        type_: EventType,
        reason: &str,
        note: String,
    ) {
        let mut note = note;
        // The API server refuses longer notes.
        if note.len() > 1024 {
            let end = (0..=1020).rev().find(|at| note.is_char_boundary(*at)).unwrap_or_default();
            note.truncate(end);
            note.push('…');
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: part,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(%error, reason, "cannot write an Event");
        }
    }
}
