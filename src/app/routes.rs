//! The routes of an actix-web service, called in process.

use std::sync::Arc;

use actix_http::Request;
use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{AppConfig, Service as _, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error};
use bindery_actors::app::{Answer, InputName, LocalBoxFuture, Refusal};
use bindery_contract::{Cause, Event};
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::http::encoded;
use super::{answer, headers};

type Call = dyn Fn(Request) -> LocalBoxFuture<'static, Result<ServiceResponse<BoxBody>, Error>>;
type Make = dyn Fn() -> LocalBoxFuture<'static, Result<Box<Call>, ()>> + Send + Sync;

/// The routes of a service, made anew on each thread that delivers events: actix-web's services
/// stay on their thread.
#[derive(Clone)]
pub struct Routes {
    make: Arc<Make>,
}

impl Routes {
    /// The routes of the service that `factory` makes.
    pub fn new<F, T, B>(factory: F) -> Self
    where
        F: Fn() -> App<T> + Send + Sync + 'static,
        T: ServiceFactory<
                ServiceRequest,
                Config = (),
                Response = ServiceResponse<B>,
                Error = Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        let make = move || -> LocalBoxFuture<'static, _> {
            let app = factory();
            Box::pin(async move {
                let factory = actix_service::IntoServiceFactory::into_factory(app);
                let service = factory.new_service(AppConfig::default()).await?;
                let call = move |request| -> LocalBoxFuture<'static, _> {
                    let calling = service.call(request);
                    Box::pin(async move { Ok(calling.await?.map_into_boxed_body()) })
                };
                Ok(Box::new(call) as Box<Call>)
            })
        };
        Self {
            make: Arc::new(make),
        }
    }

    /// The service of the current thread, made at the first event.
    pub(super) fn service(&self) -> Service {
        Service {
            routes: self.clone(),
            call: OnceCell::new(),
            names: headers::Names::default(),
        }
    }
}

/// The service of one thread.
pub(super) struct Service {
    routes: Routes,
    call: OnceCell<Box<Call>>,
    names: headers::Names,
}

impl Service {
    /// Gives the service one event.
    pub(super) async fn deliver(
        &self,
        input: &InputName,
        event: &Event,
    ) -> Result<Answer, Refusal> {
        let mut request = request(&input.route);
        let mut metadata = http::HeaderMap::new();
        headers::add(&mut metadata, &event.metadata, &self.names, true);
        for (name, value) in &metadata {
            let name = actix_http::header::HeaderName::from_bytes(name.as_str().as_bytes());
            let value = actix_http::header::HeaderValue::from_bytes(value.as_bytes());
            if let (Ok(name), Ok(value)) = (name, value) {
                request.headers_mut().insert(name, value);
            }
        }
        let length = event.data.len().into();
        let headers = request.headers_mut();
        headers.insert(actix_http::header::CONTENT_LENGTH, length);
        let (request, _) = request.replace_payload(actix_http::Payload::from(event.data.clone()));
        let (status, body) = self.call(request).await.map_err(Refusal::unreachable)?;
        answer::judge(status, body)
    }

    async fn call(&self, request: Request) -> Result<(u16, Bytes), Cause> {
        let making = || async { (self.routes.make)().await };
        let call = self.call.get_or_try_init(making).await;
        let call = call.map_err(|()| Cause::from("the service could not be made"))?;
        let response = match call(request).await {
            Ok(response) => response,
            // What a handler could not handle is an answer too.
            Err(error) => {
                let response = error.error_response();
                let status = response.status().as_u16();
                let body = to_bytes(response.into_body())
                    .await
                    .map_err(|e| e.to_string())?;
                return Ok((status, body));
            }
        };
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body())
            .await
            .map_err(|e| e.to_string())?;
        Ok((status, body))
    }
}

fn request(route: &str) -> Request {
    let mut request = Request::new();
    let head = request.head_mut();
    head.method = actix_http::Method::POST;
    head.uri = encoded(route).parse().unwrap_or_default();
    let json = actix_http::header::HeaderValue::from_static("application/json");
    request
        .headers_mut()
        .insert(actix_http::header::CONTENT_TYPE, json);
    request
}
