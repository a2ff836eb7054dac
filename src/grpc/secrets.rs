//! `GetSecret` and `GetBulkSecret`.

use std::collections::HashMap;

use tonic::{Code, Response, Status};

use super::proto::runtime::v1 as proto;
use super::status;
use crate::secrets::{Asked, Secrets, Values, Withheld};

pub(super) async fn one(
    secrets: &Secrets,
    asked: &proto::GetSecretRequest,
) -> Result<Response<proto::GetSecretResponse>, Status> {
    let more = said(&asked.metadata);
    match secrets.get(&asked.store_name, &asked.key, &more).await {
        Ok(values) => Ok(Response::new(proto::GetSecretResponse {
            data: plain(&values),
        })),
        Err(withheld) => Err(refusal(&withheld)),
    }
}

pub(super) async fn all(
    secrets: &Secrets,
    asked: &proto::GetBulkSecretRequest,
) -> Result<Response<proto::GetBulkSecretResponse>, Status> {
    let all = secrets.all(&asked.store_name, &said(&asked.metadata)).await;
    let all = all.map_err(|withheld| refusal(&withheld))?;
    let data = all.into_iter().map(|(name, values)| {
        let secrets = plain(&values);
        (name, proto::SecretResponse { secrets })
    });
    Ok(Response::new(proto::GetBulkSecretResponse {
        data: data.collect(),
    }))
}

fn said(metadata: &HashMap<String, String>) -> Asked {
    Asked {
        namespace: metadata.get("namespace").cloned(),
    }
}

fn plain(values: &Values) -> HashMap<String, String> {
    let values = values.iter();
    values
        .map(|(key, value)| (key.clone(), value.expose().to_owned()))
        .collect()
}

fn refusal(withheld: &Withheld) -> Status {
    let code = match withheld {
        Withheld::NotConfigured => Code::FailedPrecondition,
        Withheld::NoStore(_) => Code::InvalidArgument,
        Withheld::Denied { .. } => Code::PermissionDenied,
        Withheld::Failed { .. } | Withheld::AllFailed { .. } | Withheld::Stopping => Code::Internal,
    };
    status::of_refusal(code, withheld.code(), withheld)
}
