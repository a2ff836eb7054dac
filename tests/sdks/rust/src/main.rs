//! An app over gRPC as the Rust SDK has it: an event of an input comes in, outputs are called,
//! the reply and its metadata are compared.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use dapr::Client;
use dapr::appcallback::{
    BindingEventRequest, BindingEventResponse, InvokeRequest, InvokeResponse, JobEventRequest,
    JobEventResponse, ListInputBindingsResponse, ListTopicSubscriptionsResponse,
    TopicEventBulkRequest, TopicEventBulkResponse, TopicEventRequest, TopicEventResponse,
};
use dapr::client::TonicClientWithAuth;
use dapr::dapr::proto::runtime::v1::ShutdownRequest;
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[derive(Default)]
struct App {
    begun: AtomicBool,
}

#[tonic::async_trait]
impl AppCallback for App {
    async fn list_input_bindings(&self, _: Request<()>) -> Answer<ListInputBindingsResponse> {
        Ok(Response::new(ListInputBindingsResponse::binding(
            "tick".into(),
        )))
    }

    async fn on_binding_event(
        &self,
        event: Request<BindingEventRequest>,
    ) -> Answer<BindingEventResponse> {
        if !self.begun.swap(true, Ordering::SeqCst) {
            let event = event.into_inner();
            println!(
                "event {} {}",
                event.name,
                event.metadata.contains_key("readTimeUTC")
            );
            tokio::spawn(async {
                if let Err(error) = call_outputs().await {
                    println!("failed {error}");
                }
            });
        }
        Ok(Response::new(BindingEventResponse::default()))
    }

    async fn on_invoke(&self, _: Request<InvokeRequest>) -> Answer<InvokeResponse> {
        Err(Status::unimplemented("no methods"))
    }

    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Answer<ListTopicSubscriptionsResponse> {
        Ok(Response::new(ListTopicSubscriptionsResponse::default()))
    }

    async fn on_topic_event(&self, _: Request<TopicEventRequest>) -> Answer<TopicEventResponse> {
        Err(Status::unimplemented("no topics"))
    }

    async fn on_bulk_topic_event(
        &self,
        _: Request<TopicEventBulkRequest>,
    ) -> Answer<TopicEventBulkResponse> {
        Err(Status::unimplemented("no topics"))
    }

    async fn on_job_event(&self, _: Request<JobEventRequest>) -> Answer<JobEventResponse> {
        Err(Status::unimplemented("no jobs"))
    }
}

async fn call_outputs() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut client: Client<TonicClientWithAuth> = Client::new().await?;
    let order = br#"{"orderId":7,"price":9007199254740993}"#.to_vec();
    let file = || Some(HashMap::from([("fileName".into(), "7.json".into())]));
    let sent = client
        .invoke_binding("files", order.clone(), "create", file())
        .await?;
    println!("created {}", !sent.data.is_empty());
    let got = client
        .invoke_binding("files", Vec::new(), "get", file())
        .await?;
    println!("got {}", got.data == order);
    let web = client
        .invoke_binding("web", Vec::new(), "get", None)
        .await?;
    println!(
        "web {} {}",
        String::from_utf8_lossy(&web.data),
        web.metadata["statusCode"]
    );
    let error = client
        .invoke_binding("nope", Vec::new(), "get", None)
        .await
        .unwrap_err();
    println!(
        "error {}",
        error
            .to_string()
            .contains("couldn't find output binding nope")
    );
    client.set_metadata("colour", "blue").await?;
    let metadata = client.get_metadata().await?;
    let mut names: Vec<_> = metadata
        .registered_components
        .iter()
        .map(|one| &one.name)
        .collect();
    names.sort();
    println!(
        "metadata {} {names:?} {}",
        metadata.id, metadata.extended_metadata["colour"]
    );
    // The SDK has no call for it, only what the protos have.
    let address = format!("http://127.0.0.1:{}", std::env::var("DAPR_GRPC_PORT")?);
    DaprClient::connect(address)
        .await?
        .shutdown(ShutdownRequest {})
        .await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = format!("127.0.0.1:{}", std::env::var("APP_PORT")?).parse()?;
    let app = AppCallbackServer::new(App::default());
    tonic::transport::Server::builder()
        .add_service(app)
        .serve(address)
        .await?;
    Ok(())
}
