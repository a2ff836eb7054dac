//! `bindery invoke`: calls an output of a running sidecar.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::client::{self, Answer};
use super::find;

/// Arguments of `bindery invoke`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery invoke files list
  bindery invoke files create --data '{\"order\": 1}' --metadata fileName=1.json
  bindery invoke files create --data @report.pdf.json
  echo '\"hello\"' | bindery invoke cache create --data - --metadata key=greeting
  bindery invoke --app-id orders db query --metadata sql='select 1'

Data that is not JSON is sent as a JSON string. The token is taken from DAPR_API_TOKEN.
Exit codes: 0 it was done, 1 it was not, 2 the command line is wrong.")]
pub(super) struct InvokeArgs {
    /// The component's name.
    name: String,
    /// What it shall do.
    operation: String,
    /// The data: a text, @FILE, or - for standard input.
    #[arg(long, allow_hyphen_values = true)]
    data: Option<String>,
    /// An entry of the request's metadata; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    #[command(flatten)]
    sidecar: find::SidecarAt,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| String::from("write key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Calls, and prints the answer: the data on standard output, the metadata on standard error.
pub(super) fn run(arguments: &InvokeArgs) -> ExitCode {
    let place = match arguments.sidecar.place() {
        Ok(place) => place,
        Err(problem) => return wrong(&problem),
    };
    let data = match arguments.data.as_deref().map(read_data).transpose() {
        Ok(data) => data,
        Err(problem) => return wrong(&problem),
    };
    let mut body = Map::from_iter([("operation".to_owned(), json!(arguments.operation))]);
    let metadata = arguments.metadata.iter();
    let metadata: Map<_, _> = metadata
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    body.insert("metadata".into(), metadata.into());
    let mut body = Value::from(body).to_string();
    if let Some(data) = data {
        // Put in as it is: no digit of a number may change on the way.
        body.truncate(body.len() - 1);
        body.push_str(",\"data\":");
        body.push_str(&data);
        body.push('}');
    }
    let path = format!("/v1.0/bindings/{}", client::encoded(&arguments.name));
    let asking = client::ask(&place, Method::POST, &path, body);
    match actix_rt::System::new().block_on(asking) {
        Ok(answer) => show(&answer),
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn wrong(problem: &str) -> ExitCode {
    eprintln!("error: {problem}");
    ExitCode::from(2)
}

/// The data as JSON text.
fn read_data(data: &str) -> Result<String, String> {
    let bytes = match data.strip_prefix('@') {
        Some(path) => {
            let path = PathBuf::from(path);
            std::fs::read(&path).map_err(|error| format!("--data: {}: {error}", path.display()))?
        }
        None if data == "-" => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            read.map_err(|error| format!("--data: standard input: {error}"))?;
            bytes
        }
        None => data.as_bytes().to_vec(),
    };
    let text = String::from_utf8(bytes).map_err(|_| String::from("--data is not UTF-8 text"))?;
    if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
        return Ok(text);
    }
    Ok(Value::from(text.trim_end_matches('\n')).to_string())
}

fn show(answer: &Answer) -> ExitCode {
    for (name, value) in &answer.headers {
        if let Some(key) = name.as_str().strip_prefix("metadata.") {
            eprintln!("{key}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    if answer.status.is_success() {
        let mut out = std::io::stdout().lock();
        // A reader that has gone away has seen enough.
        let _ = out.write_all(&answer.data);
        if !answer.data.is_empty() && !answer.data.ends_with(b"\n") {
            let _ = out.write_all(b"\n");
        }
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {}", answer.problem());
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_or_becomes_a_json_string() {
        for (data, sent) in [
            ("{\"a\": 1.10}", "{\"a\": 1.10}"),
            ("9007199254740993", "9007199254740993"),
            ("hello", "\"hello\""),
            ("a \"quoted\" word\n", r#""a \"quoted\" word""#),
            ("", "\"\""),
        ] {
            assert_eq!(read_data(data).unwrap(), sent);
        }
        assert!(read_data("@/nowhere").unwrap_err().contains("/nowhere"));
    }
}
