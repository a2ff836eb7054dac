//! A connection to a component. Once it is lost it stays lost: the process behind the next one
//! may be another, which has to be prepared anew.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bindery_contract::{OpenContext, OpenError, Role};
use futures_util::stream;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::metadata::{Ascii, MetadataValue};
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha::{ListServiceResponse, ServerReflectionRequest};
use tower_service::Service;

use crate::error::while_opening;
use crate::sockets::Sockets;

/// How long a component may take to say what it is. A socket on which nobody answers is given
/// up, and tried again.
const PATIENCE: Duration = Duration::from_secs(3);
/// Which of the component's instances a call is for: the resource's name.
const INSTANCE: &str = "x-component-instance";

/// A connection, what the other side offers, and for whom it is.
pub(crate) struct Link {
    wire: Wire,
    services: Vec<String>,
    instance: MetadataValue<Ascii>,
    lost: CancellationToken,
    _driving: AbortOnDropHandle<()>,
}

impl Link {
    /// Connects to the component of a type.
    ///
    /// # Errors
    /// When its socket is not there, nobody listens, or nobody says what is there in time.
    pub(crate) async fn open(
        sockets: &Sockets,
        type_name: &str,
        cx: &OpenContext,
    ) -> Result<Self, OpenError> {
        let instance = cx.component().parse().map_err(|_| {
            OpenError::refused(format!(
                "the name {:?} cannot be told to a component: it is not ASCII",
                cx.component()
            ))
        })?;
        let (searched, wanted) = (sockets.clone(), type_name.to_owned());
        let searching = cx.blocking(move || searched.find(&wanted));
        let socket = searching.await.map_err(OpenError::disconnected)??;
        let shown = socket.display();
        let failed = |what: String| OpenError::disconnected(format!("{shown}: {what}"));
        let reaching = async {
            let stream = UnixStream::connect(&socket).await;
            let stream = stream.map_err(|error| failed(format!("nobody listens: {error}")))?;
            let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (wire, connection) = shaken.map_err(|error| failed(error.to_string()))?;
            let lost = CancellationToken::new();
            let ended = lost.clone();
            let driving = cx.runtime().spawn(async move {
                // How it ended, those who wait for an answer are told.
                let _ = connection.await;
                ended.cancel();
            });
            let wire = Wire(wire);
            let driving = AbortOnDropHandle::new(driving);
            let services = services(wire.clone()).await?;
            Ok(Self {
                wire,
                services,
                instance,
                lost,
                _driving: driving,
            })
        };
        let late = || Err(failed("nobody answers".into()));
        let reached = cx.clock().timeout(PATIENCE, reaching).await;
        let link = reached.unwrap_or_else(late)?;
        link.introduce(
            &socket.file_stem().unwrap_or_default().to_string_lossy(),
            cx.role(),
        );
        link.watch(cx);
        Ok(link)
    }

    fn introduce(&self, name: &str, role: Role) {
        if self.offers(role) {
            tracing::info!(
                target: "dapr.runtime",
                "pluggable component '{name}' was successfully registered for '{}'", service(role)
            );
        }
    }

    /// That it was lost is news before the next call finds out.
    fn watch(&self, cx: &OpenContext) {
        let (lost, host) = (self.lost.clone(), cx.clone());
        cx.spawn(async move {
            lost.cancelled().await;
            host.report_disconnected("the component closed its connection");
        });
    }

    /// Whether the component has this side.
    pub(crate) fn offers(&self, role: Role) -> bool {
        self.services.iter().any(|offered| offered == service(role))
    }

    /// Whether the connection is gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// The way to the component.
    pub(crate) fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// A request to this resource's instance.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request
            .metadata_mut()
            .insert(INSTANCE, self.instance.clone());
        request
    }
}

/// What a side is called in gRPC.
fn service(role: Role) -> &'static str {
    match role {
        Role::Input => "dapr.proto.components.v1.InputBinding",
        Role::Output => "dapr.proto.components.v1.OutputBinding",
    }
}

/// What the other side offers, by reflection of the version that components have (runtime §8).
async fn services(wire: Wire) -> Result<Vec<String>, OpenError> {
    const WHAT: &str = "the component does not say what it is (reflection v1alpha)";
    let question = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut client = ServerReflectionClient::with_origin(wire, origin());
    let asked = client
        .server_reflection_info(stream::iter([question]))
        .await;
    let mut answers = asked
        .map_err(|status| while_opening(WHAT, &status))?
        .into_inner();
    let answer = answers.message().await;
    let answer = answer.map_err(|status| while_opening(WHAT, &status))?;
    match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(ListServiceResponse { service })) => {
            Ok(service.into_iter().map(|service| service.name).collect())
        }
        _ => Err(OpenError::refused(WHAT)),
    }
}

/// Carries gRPC over the one connection.
#[derive(Clone)]
pub(crate) struct Wire(SendRequest<Body>);

impl Service<Request<Body>> for Wire {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// What the component is called in requests, as gRPC does where there is no host.
pub(crate) fn origin() -> Uri {
    Uri::from_static("http://localhost")
}
