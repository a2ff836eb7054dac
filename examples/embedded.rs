//! A whole service with Bindery in its process: orders come in over HTTP and are stored as files;
//! every ten seconds a cron input lists them.
//!
//! ```sh
//! cargo run --example embedded
//! curl -X POST localhost:8080/orders/1 -d '{"item": "a book"}'
//! curl -X POST localhost:8080/v1.0/bindings/orders -d '{"operation": "list"}'
//! ```

use actix_web::{App, HttpResponse, HttpServer, post, web};
use bindery::{CallError, Component, Event, NO_METADATA, Sidecar};

#[post("/orders/{id}")]
async fn order(id: web::Path<u32>, body: web::Bytes, bindery: web::Data<Sidecar>) -> HttpResponse {
    let name = [("fileName", format!("{id}.json"))];
    match bindery.invoke("orders", "create", body, name).await {
        Ok(_) => HttpResponse::Created().finish(),
        Err(error) => HttpResponse::BadGateway().body(error.to_string()),
    }
}

async fn list(bindery: Sidecar) -> Result<(), CallError> {
    let reply = bindery.invoke("orders", "list", "", NO_METADATA).await?;
    println!("{reply:?}");
    Ok(())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::temp_dir().join("bindery-orders");
    let root = root.to_string_lossy();
    let sidecar = Sidecar::builder("shop")
        .component(Component::new("orders", "bindings.localstorage").set("rootPath", root))
        .component(Component::new("every", "bindings.cron").set("schedule", "@every 10s"))
        .start()
        .await?;
    let for_list = sidecar.clone();
    sidecar.on("every", move |_: Event| list(for_list.clone()));

    let data = web::Data::new(sidecar.clone());
    let api = sidecar.api();
    HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .service(order)
            .configure(api.clone())
    })
    .bind(("127.0.0.1", 8080))?
    .run()
    .await?;
    sidecar.shutdown().await;
    Ok(())
}
