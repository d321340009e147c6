//! A thousand calls of one server at once by a plan, against the same by rmcp alone.
//! It does not know the transport under them.

use super::super::runner::{Best, inside, run};
use super::super::table::{Budget, Row, Size};
use anyhow::{Result, ensure};
use fanout::tools::{Opener, ProcessOptions};
use fanout::{Call, Engine, Plan};
use rmcp::model::CallToolRequestParams;
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::TokioChildProcess;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::json;
use std::time::Instant;
use tokio::process::Command;
use tokio::task::JoinSet;

/// How many calls are under way at once.
const WIDTH: usize = 1_000;

/// Through one server on pipes, and through one over HTTP.
pub(super) fn rows(size: Size) -> Result<Vec<Row>> {
    let pipes = inside(async move {
        let toolbox = super::toolbox("s", 0)?;
        let mut server = Command::new(super::own()?);
        server.args(super::server::arguments(0));
        let peer = ().serve(TokioChildProcess::new(server)?).await?;
        measure(size, "stdio", &toolbox, peer).await
    })??;
    let http = inside(async move {
        let url = super::server::serve_http().await?;
        let toolbox = format!("[toolbox.s]\nmcp = {{ url = \"{url}\" }}\n");
        // The engine has set up what HTTP needs.
        let engine = engine(&toolbox).await?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut config = StreamableHttpClientTransportConfig::with_uri(url).max_concurrent_requests(WIDTH);
        config.channel_buffer_capacity = WIDTH;
        let peer = ().serve(StreamableHttpClientTransport::with_client(client, config)).await?;
        drop(engine);
        measure(size, "HTTP", &toolbox, peer).await
    })??;
    Ok(vec![pipes, http])
}

async fn measure(size: Size, way: &str, toolbox: &str, peer: RunningService<RoleClient, ()>) -> Result<Row> {
    let calls = size.of(WIDTH);
    let engine = engine(toolbox).await?;
    let (mut ours, mut theirs) = (Best::new(), Best::new());
    for _ in 0..size.rounds(20) {
        let plan = Plan::new("calls")
            .limit("running", WIDTH as u64)
            .with_calls((0..calls).map(|at| Call::new(format!("c{at}"), "s.echo").args(json!({"n": at}))));
        let begun = Instant::now();
        run(&engine, plan).await?;
        ours.ended(begun);
        let params: Vec<_> = (0..calls).map(params).collect();
        let begun = Instant::now();
        plain(&peer, params).await?;
        theirs.ended(begun);
    }
    peer.cancel().await?;
    let name = format!("{calls} MCP calls at once, one {way} server");
    let (ours, theirs) = (ours.per_call_us(calls), theirs.per_call_us(calls));
    Ok(Row::new(name, "µs", ours, "rmcp alone", theirs, Budget::Ratio(1.2)))
}

async fn engine(toolbox: &str) -> Result<Engine> {
    let opener = Opener::new(ProcessOptions::new(std::env::temp_dir().join("fanout-bench-spill")));
    let read = fanout::plan::read_toolbox("bench.toml", toolbox.as_bytes());
    let mut builder = Engine::builder();
    for declared in read.map_err(|problems| anyhow::anyhow!("{problems:?}"))? {
        builder = builder.toolbox(opener.open(declared).await.map_err(|problems| anyhow::anyhow!("{problems:?}"))?);
    }
    // As many as there are calls: the default is for people's machines.
    let builder = builder.limit("running", WIDTH as u64);
    builder.build().map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

fn params(at: usize) -> CallToolRequestParams {
    let mut params = CallToolRequestParams::new("echo");
    params.arguments = Some(serde_json::Map::from_iter([("n".to_owned(), json!(at))]));
    params
}

/// The same as a careful program would do it by itself: whether the tool failed is looked at, results are kept.
async fn plain(peer: &RunningService<RoleClient, ()>, params: Vec<CallToolRequestParams>) -> Result<()> {
    let mut all = JoinSet::new();
    let mut results = Vec::with_capacity(params.len());
    for params in params {
        let peer = peer.peer().clone();
        all.spawn(async move { peer.call_tool(params).await });
    }
    while let Some(ended) = all.join_next().await {
        let result = ended??;
        ensure!(result.is_error != Some(true), "a call failed");
        results.push(result);
    }
    Ok(())
}
