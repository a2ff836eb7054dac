//! The least that answers a call over gRPC.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use actix_rt::Arbiter;
use actix_web::web::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{until_unwanted, workers};

/// Answers every call with an empty message. Connections are dealt to the threads in turn.
pub(super) async fn bare() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let threads: Vec<Arbiter> = (0..workers()).map(|_| Arbiter::new()).collect();
    actix_rt::spawn(async move {
        let mut turns = threads.iter().cycle();
        while let (Ok((stream, _)), Some(thread)) = (listener.accept().await, turns.next()) {
            if let Ok(stream) = stream.into_std() {
                thread.spawn(serve(stream));
            }
        }
    });
    until_unwanted(port).await;
    Ok(())
}

async fn serve(stream: std::net::TcpStream) {
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
        return;
    };
    let _ = stream.set_nodelay(true);
    let server = http2::Builder::new(TokioExecutor::new());
    let serving = server.serve_connection(TokioIo::new(stream), service_fn(answer));
    let _ = serving.await;
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let _ = request.into_body().collect().await;
    let trailers = async {
        let ok = (
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        );
        Some(Ok(HeaderMap::from_iter([ok])))
    };
    let message = Full::new(Bytes::from_static(&[0; 5])).with_trailers(trailers);
    let mut response = Response::new(message);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(response)
}
