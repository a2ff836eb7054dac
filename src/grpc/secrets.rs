//! `GetSecret` and `GetBulkSecret`.

use tonic::{Code, Response, Status};

use super::proto::runtime::v1 as proto;
use super::status;
use crate::secrets::{Secrets, Values, Withheld};

pub(super) async fn one(
    secrets: &Secrets,
    asked: &proto::GetSecretRequest,
) -> Result<Response<proto::GetSecretResponse>, Status> {
    match secrets.get(&asked.store_name, &asked.key).await {
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
    let all = secrets.all(&asked.store_name).await;
    let all = all.map_err(|withheld| refusal(&withheld))?;
    let data = all.into_iter().map(|(name, values)| {
        let secrets = plain(&values);
        (name, proto::SecretResponse { secrets })
    });
    Ok(Response::new(proto::GetBulkSecretResponse {
        data: data.collect(),
    }))
}

fn plain(values: &Values) -> std::collections::HashMap<String, String> {
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
