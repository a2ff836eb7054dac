//! Calls.

use bindery_contract::{Invocation, InvokeError, OpenError, Output, Reply};

use crate::error::{while_calling, while_opening};
use crate::link::{Link, Wire, origin};
use crate::names::lasting;
use crate::proto::output_binding_client::OutputBindingClient;
use crate::proto::{
    InvokeRequest, ListOperationsRequest, MetadataRequest, OutputBindingInitRequest,
};

/// The output of a component.
pub(crate) struct Outlet {
    client: OutputBindingClient<Wire>,
    operations: Vec<&'static str>,
    link: Link,
}

impl Outlet {
    /// Prepares the component, and asks it what it can do.
    pub(crate) async fn open(link: Link, metadata: MetadataRequest) -> Result<Self, OpenError> {
        // A component is trusted as our own code is: what it answers is taken, however large.
        let mut client = OutputBindingClient::with_origin(link.wire(), origin())
            .max_decoding_message_size(usize::MAX);
        let metadata = Some(metadata);
        let prepared = client.init(link.request(OutputBindingInitRequest { metadata }));
        let prepared = prepared.await;
        prepared.map_err(|status| while_opening("the component was not prepared", &status))?;
        let listed = client.list_operations(link.request(ListOperationsRequest {}));
        let listed = listed.await;
        let listed =
            listed.map_err(|status| while_opening("the component lists no operations", &status))?;
        let names = listed.get_ref().operations.iter();
        let operations: Option<Vec<_>> = names.map(|name| lasting(name)).collect();
        let operations = operations.ok_or_else(|| {
            OpenError::refused("the component lists too many, or too long, names")
        })?;
        Ok(Self {
            client,
            operations,
            link,
        })
    }
}

impl Output for Outlet {
    fn operations(&self) -> &[&'static str] {
        &self.operations
    }

    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        let request = InvokeRequest {
            data: call.data,
            metadata: call
                .metadata
                .into_iter()
                .map(|(name, value)| (name.into_owned(), value))
                .collect(),
            operation: call.operation.to_owned(),
        };
        let mut client = self.client.clone();
        match client.invoke(self.link.request(request)).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let metadata = answer.metadata.into_iter().collect();
                Ok(Some(Reply::new(answer.data).with_metadata(metadata)))
            }
            Err(status) => Err(while_calling(&self.link, &status)),
        }
    }
}

/// The output of a component that has none.
pub(crate) struct Nothing(#[expect(dead_code, reason = "its end is news")] pub(crate) Link);

impl Output for Nothing {
    async fn invoke(&self, _: Invocation) -> Result<Option<Reply>, InvokeError> {
        Err(InvokeError::bad_request(
            "the pluggable component offers no output binding",
        ))
    }
}
