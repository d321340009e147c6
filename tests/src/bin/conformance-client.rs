//! The client that the MCP conformance suite starts for each scenario: connects, lists the tools, calls each, answers.
//! It does not know what a scenario looks at: it does what any program does that uses the library.
//!
//! `conformance-client URL` with `MCP_CONFORMANCE_SCENARIO` and `MCP_CONFORMANCE_CONTEXT` in its environment.
//! The person's browser goes where it is sent.

use anyhow::{Context, Result, anyhow, bail, ensure};
use fanout::tools::{Opener, ProcessOptions};
use fanout::{AnswerFuture, AttemptId, Call, Engine, JsonText, Peer, PeerRequest, Plan, RunOptions, Told, ToolError};
use serde_json::{Map, Value, json, value::to_raw_value};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The suite waits for half a minute: then it should be told what was waited for.
const PATIENCE: Duration = Duration::from_secs(25);

/// What the suite's authorisation servers know clients by that describe themselves.
const CLIENT_METADATA: &str = "https://conformance-test.local/client-metadata.json";

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("the URL of a server is missing")?;
    tokio::time::timeout(PATIENCE, scenario(&url)).await.context("it takes too long")?
}

/// Follows an authorisation server's redirect to wherever it leads.
async fn authorize(url: String) -> Result<()> {
    let answer = reqwest::Client::builder().no_proxy().build()?.get(url).send().await?;
    ensure!(answer.status().is_success(), "the browser ends with {}", answer.status());
    Ok(())
}

/// What a scenario says beside the URL.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "toolCalls")]
    calls: Option<Vec<Value>>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

async fn scenario(url: &str) -> Result<()> {
    let said = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_else(|_| "{}".to_owned());
    let said: Said = serde_json::from_str(&said)?;
    let folder = tempfile::tempdir()?;
    let engine = engine(url, &said, folder.path()).await?;
    let listed = || {
        let catalog = engine.catalog();
        let tools = catalog.tools().iter().map(|tool| &tool.spec);
        tools.map(|tool| json!({"name": tool.name, "arguments": arguments(&tool.args_schema)})).collect()
    };
    let mut wrong = Vec::new();
    for call in said.calls.unwrap_or_else(listed) {
        let name = call["name"].as_str().context("a name")?;
        let plan = Plan::new(name).call(Call::new("call", name).args(call["arguments"].clone()));
        let valid = engine.validate(plan, Map::new()).map_err(|problems| anyhow!("{problems:?}"))?;
        let run = engine.start(valid, RunOptions { peer: Some(Arc::new(Person)), ..RunOptions::default() });
        let report = run.report().await;
        wrong.extend(report.calls.iter().filter_map(|call| Some(format!("{name}: {:?}", call.error.as_ref()?))));
    }
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

/// An engine whose one toolbox is the server; tokens and large results go into the folder.
async fn engine(url: &str, said: &Said, folder: &Path) -> Result<Engine> {
    // Secrets stand in toolbox files by name only.
    let mut oauth = vec![format!("client_metadata = {CLIENT_METADATA:?}")];
    for (name, secret) in [("client_id", &said.client_id), ("client_secret", &said.client_secret)] {
        if let Some(secret) = secret {
            let file = folder.join(name);
            std::fs::write(&file, secret)?;
            oauth.push(format!("{name} = {:?}", format!("file:{}", file.display())));
        }
    }
    let oauth = format!("oauth = {{ {} }}", oauth.join(", "));
    let mcp = format!("mcp = {{ url = {url:?}, private = [\"127.0.0.1\", \"::1\"], proxies = false, {oauth} }}");
    let file = format!("[toolbox.suite]\n{mcp}\nprefix = false\n");
    let read = fanout::plan::read_toolbox("suite.toml", file.as_bytes());
    let opener = Opener::new(ProcessOptions::new(folder.join("spill")))
        .with_tokens(&folder.join("tokens"))
        .with_person(|url| _ = tokio::spawn(authorize(url.to_owned())));
    let mut builder = Engine::builder();
    for declared in read.map_err(|problems| anyhow!("{problems:?}"))? {
        builder = builder.toolbox(opener.open(declared).await.map_err(|problems| anyhow!("{problems:?}"))?);
    }
    builder.build().map_err(|problems| anyhow!("{problems:?}"))
}

/// Arguments that a schema allows: a value for each that is required.
fn arguments(schema: &Value) -> Value {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let names = required.iter().filter_map(Value::as_str);
    names.map(|name| (name.to_owned(), value(&schema["properties"][name]))).collect::<Map<_, _>>().into()
}

fn value(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("number" | "integer") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => arguments(schema),
        _ => json!("text"),
    }
}

/// The person and the model behind the client: says yes to everything, with the values that were proposed.
struct Person;

impl Peer for Person {
    fn told(&self, _: &AttemptId, _: Told) {}

    fn ask(&self, _: &AttemptId, question: PeerRequest) -> AnswerFuture {
        let answer = answer(&question);
        Box::pin(async move { answer.map_err(|error| ToolError::permanent(error.to_string())) })
    }
}

fn answer(question: &PeerRequest) -> Result<JsonText> {
    let params: Value = serde_json::from_str(question.params.get())?;
    let answer = match &*question.method {
        "elicitation/create" => {
            let properties = params["requestedSchema"]["properties"].as_object().cloned().unwrap_or_default();
            let proposed =
                properties.into_iter().filter_map(|(name, schema)| Some((name, schema.get("default")?.clone())));
            json!({"action": "accept", "content": proposed.collect::<Map<_, _>>()})
        }
        "sampling/createMessage" => {
            let content = json!({"type": "text", "text": "what a model would say"});
            json!({"role": "assistant", "content": content, "model": "none", "stopReason": "endTurn"})
        }
        "roots/list" => json!({"roots": []}),
        method => bail!("nobody knows what to say to {method}"),
    };
    Ok(to_raw_value(&answer)?.into())
}
