//! `GET /v1.0/secrets/{store}/{key}` and `…/bulk`: secrets for the app, from the stores that its
//! components use. Of the query, `metadata.namespace` concerns a cluster's; more is taken and means
//! nothing to these stores.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use super::api::Api;
use super::path::decode;
use super::reply;
use crate::secrets::{Asked, Values, Withheld};

impl Api {
    /// One secret: its values by their keys, or 204 where it has none.
    pub(super) async fn secret(&self, store: &str, key: &str, query: &str) -> HttpResponse {
        let asked =
            decode("secretStoreName", store).and_then(|store| Ok((store, decode("key", key)?)));
        let (store, key) = match asked {
            Ok(asked) => asked,
            Err(problem) => return reply::plain(StatusCode::BAD_REQUEST, problem),
        };
        match self.secrets().get(&store, &key, &said(query)).await {
            Ok(values) if values.is_empty() => HttpResponse::NoContent().finish(),
            Ok(values) => shown(&plain(&values)),
            Err(withheld) => refusal(&withheld),
        }
    }

    /// All secrets of a store that may be seen, by their names.
    pub(super) async fn all_secrets(&self, store: &str, query: &str) -> HttpResponse {
        let store = match decode("secretStoreName", store) {
            Ok(store) => store,
            Err(problem) => return reply::plain(StatusCode::BAD_REQUEST, problem),
        };
        match self.secrets().all(&store, &said(query)).await {
            Ok(all) => {
                let all = all.iter().map(|(name, values)| (name, plain(values)));
                shown(&all.collect::<BTreeMap<_, _>>())
            }
            Err(withheld) => refusal(&withheld),
        }
    }
}

/// What the query says.
fn said(query: &str) -> Asked {
    const NAMESPACE: &str = "metadata.namespace";
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let namespace = pairs.find(|(name, _)| *name == NAMESPACE);
    Asked {
        namespace: namespace.and_then(|(_, value)| decode(NAMESPACE, value).ok()),
    }
}

fn plain(values: &Values) -> BTreeMap<&str, &str> {
    let values = values.iter();
    values
        .map(|(key, value)| (key.as_str(), value.expose()))
        .collect()
}

fn shown(document: &impl Serialize) -> HttpResponse {
    reply::json(serde_json::to_string(document).unwrap_or_default())
}

fn refusal(withheld: &Withheld) -> HttpResponse {
    let status = match withheld {
        Withheld::NoStore(_) => StatusCode::UNAUTHORIZED,
        Withheld::Denied { .. } => StatusCode::FORBIDDEN,
        Withheld::NotConfigured
        | Withheld::Failed { .. }
        | Withheld::AllFailed { .. }
        | Withheld::Stopping => StatusCode::INTERNAL_SERVER_ERROR,
    };
    reply::error(status, withheld.code(), &withheld.to_string())
}
