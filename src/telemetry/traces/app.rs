//! A span for each attempt to give the app an event.

use std::sync::Arc;

use bindery_actors::app::{Answer, App, AppConnection, InputName, LocalBoxFuture, Refusal};
use bindery_contract::{BoxFuture, Cause, Event};
use opentelemetry::KeyValue;

use super::{Place, Traces};
use crate::trace::parent_of_event;

/// An app whose events are traced.
pub(crate) struct Traced {
    app: Arc<dyn App>,
    traces: Traces,
    over_grpc: bool,
}

impl Traced {
    /// Traces the events of an app.
    pub(crate) fn new(app: Arc<dyn App>, traces: Traces, over_grpc: bool) -> Self {
        Self {
            app,
            traces,
            over_grpc,
        }
    }
}

impl App for Traced {
    fn subscribes<'a>(&'a self, input: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>> {
        self.app.subscribes(input)
    }

    fn connect(&self) -> Box<dyn AppConnection> {
        Box::new(TracedConnection {
            connection: self.app.connect(),
            traces: self.traces.clone(),
            over_grpc: self.over_grpc,
        })
    }
}

struct TracedConnection {
    connection: Box<dyn AppConnection>,
    traces: Traces,
    over_grpc: bool,
}

impl AppConnection for TracedConnection {
    fn deliver<'a>(
        &'a self,
        input: &'a InputName,
        event: &'a Event,
    ) -> LocalBoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(self.deliver_traced(input, event))
    }
}

impl TracedConnection {
    async fn deliver_traced(&self, input: &InputName, event: &Event) -> Result<Answer, Refusal> {
        let parent = parent_of_event(&event.metadata);
        let state = event.metadata.get_any_case("tracestate");
        let state = parent.as_ref().and(state);
        let name = || format!("bindings/{}", input.component).into();
        let Place { traceparent, span } = self.traces.begin(parent.as_deref(), state, name);
        let mut event = event.clone();
        // However it is spelt.
        let spelt = event.metadata.iter().map(|(key, _)| key);
        let spelt = spelt.filter(|key| key.eq_ignore_ascii_case("traceparent"));
        let spelt: Vec<String> = spelt.map(str::to_owned).collect();
        for key in spelt {
            event.metadata.remove(&key);
        }
        event.metadata.insert("traceparent", traceparent);
        let outcome = self.connection.deliver(input, &event).await;
        if let Some(span) = span {
            let to = if self.over_grpc {
                "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent".to_owned()
            } else {
                format!("POST {}", input.route)
            };
            let attributes = vec![
                KeyValue::new("db.name", input.component.to_string()),
                KeyValue::new("db.system", "bindings"),
                KeyValue::new("rpc.service", "Dapr"),
                KeyValue::new("db.connection_string", to),
            ];
            let error = outcome.as_ref().err().map(|refusal| refusal.error.clone());
            span.end(attributes, error);
        }
        outcome
    }
}
