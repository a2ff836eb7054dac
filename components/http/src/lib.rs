//! `bindings.http`: calls an HTTP endpoint.

mod address;
mod client;
mod connect;
mod error;
mod output;
mod proxy;
mod redirect;
mod request;
mod response;
mod settings;

use std::sync::Arc;

use bindery_contract::settings::SettingsError;
use bindery_contract::{Binding, OpenContext, OpenError, Opened, Operation};

use self::client::Blueprint;
use self::output::{Endpoint, Upstream};
pub use self::settings::{HttpSettings, Renegotiation};

/// The binding.
pub struct Http;

impl Binding for Http {
    const TYPE: &'static str = "bindings.http";
    const SUMMARY: &'static str = "Calls an HTTP endpoint.";
    const OPERATIONS: &'static [Operation] = &[
        Operation {
            name: "create",
            summary: "The same as post.",
        },
        Operation {
            name: "get",
            summary: "Sends a GET to url joined with metadata.path. For this and all operations: \
                      metadata keys that begin with A–Z are sent as headers; the answer is the \
                      reply's body, with statusCode, status and all headers as metadata; a status \
                      other than 2xx is an error unless metadata.errorIfNot2XX is false.",
        },
        Operation {
            name: "head",
            summary: "Sends a HEAD.",
        },
        Operation {
            name: "post",
            summary: "Sends a POST with the data as its body.",
        },
        Operation {
            name: "put",
            summary: "Sends a PUT with the data as its body.",
        },
        Operation {
            name: "patch",
            summary: "Sends a PATCH with the data as its body.",
        },
        Operation {
            name: "delete",
            summary: "Sends a DELETE.",
        },
        Operation {
            name: "options",
            summary: "Sends an OPTIONS.",
        },
        Operation {
            name: "trace",
            summary: "Sends a TRACE.",
        },
    ];
    type Settings = HttpSettings;

    fn check(settings: &HttpSettings) -> Result<(), SettingsError> {
        settings.base()?;
        settings.token()?;
        settings.tls().map(drop)
    }

    async fn open(settings: HttpSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        for remark in settings.remarks() {
            tracing::warn!("binding {}: {remark}", cx.component());
        }
        let proxies = proxy::from(|name| std::env::var(name).ok()).map_err(OpenError::invalid)?;
        let endpoint = Endpoint::new(cx.component(), &settings).map_err(OpenError::invalid)?;
        let tls = cx.blocking(move || settings.tls()).await;
        let tls = tls
            .map_err(OpenError::disconnected)?
            .map_err(OpenError::invalid)?;
        let blueprint = Blueprint::new(tls, proxies);
        let endpoint = Arc::new(endpoint);
        Ok(Opened::per_thread(move |cx| {
            let upstream = Upstream::new(Arc::clone(&endpoint), &blueprint, cx.clock);
            async move { Ok(upstream) }
        }))
    }
}
