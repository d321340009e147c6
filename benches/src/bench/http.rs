//! What an HTTP tool costs, against plain reqwest and a semaphore asking the same server on this machine.
//! It does not know how the engine sends requests.

use super::runner::{Best, inside, resident_mib};
use super::table::{Budget, Row, Size};
use anyhow::{Context, Result};
use fanout::tools::{Opener, ProcessOptions};
use fanout::{Call, Engine, Plan};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many requests are open at once.
const WIDTH: usize = 64;
/// How long an answer is.
const BYTES: usize = 1_000;

/// Ten thousand GETs of a kilobyte, and what the memory of ours grows by between the first round and the last.
pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    let calls = size.of(10_000);
    let rounds = size.rounds(20);
    let (ours, peer, grown) = inside(async move {
        let url = serve().await?;
        let engine = engine(&url).await?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let (mut ours, mut peer) = (Best::new(), Best::new());
        let mut resident = Vec::new();
        for _ in 0..rounds.max(2) {
            let plan = Plan::new("requests")
                .limit("running", WIDTH as u64)
                .with_calls((0..calls).map(|at| Call::new(format!("c{at}"), "get")));
            let begun = Instant::now();
            super::runner::run(&engine, plan).await?;
            ours.ended(begun);
            let begun = Instant::now();
            plain(&client, &url, calls).await?;
            peer.ended(begun);
            resident.push(resident_mib("self")?);
        }
        let grown = resident.last().zip(resident.first()).map_or(0.0, |(last, first)| last - first);
        anyhow::Ok((ours, peer, grown))
    })??;
    let name = format!("HTTP GET of 1 kB, {WIDTH} at a time");
    let (ours, peer) = (ours.per_call_us(calls), peer.per_call_us(calls));
    let memory = Row::new("the same: growth of memory", "MiB", grown.max(0.0), "none", 1.0, Budget::AtMost(16.0));
    Ok(vec![Row::new(name, "µs", ours, "reqwest + semaphore", peer, Budget::Ratio(1.1)), memory])
}

async fn engine(url: &str) -> Result<Engine> {
    let tools = format!("[tools.get]\nurl = \"{url}\"\neffects = \"none\"\nprivate = \"127.0.0.1\"\nproxies = false\n");
    let opener = Opener::new(ProcessOptions::new(std::env::temp_dir().join("fanout-bench-spill")));
    let read = fanout::plan::read_toolbox("bench.toml", tools.as_bytes());
    let mut builder = Engine::builder();
    for declared in read.map_err(|problems| anyhow::anyhow!("{problems:?}"))? {
        builder = builder.toolbox(opener.open(declared).await.map_err(|problems| anyhow::anyhow!("{problems:?}"))?);
    }
    builder.build().map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

/// The same as a careful program would do it by itself: the status looked at, the answer read as JSON.
async fn plain(client: &reqwest::Client, url: &str, calls: usize) -> Result<()> {
    let limit = Arc::new(Semaphore::new(WIDTH));
    let mut all = JoinSet::new();
    for _ in 0..calls {
        let (client, url, permit) = (client.clone(), url.to_owned(), Arc::clone(&limit).acquire_owned().await?);
        all.spawn(async move {
            let answer = client.get(url).send().await?.error_for_status()?.bytes().await?;
            let value: Box<serde_json::value::RawValue> = serde_json::from_slice(&answer)?;
            drop(permit);
            anyhow::Ok(value)
        });
    }
    let mut results = Vec::with_capacity(calls);
    while let Some(ended) = all.join_next().await {
        results.push(ended??);
    }
    Ok(())
}

/// A server as quick as can be, on a thread of its own, since it is nobody's to account for.
async fn serve() -> Result<String> {
    let (told, address) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(listen(told))
    });
    Ok(format!("http://{}/", address.await.context("the server did not start")?))
}

async fn listen(told: tokio::sync::oneshot::Sender<std::net::SocketAddr>) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    // Nobody waits for it when the measuring is over.
    let _gone = told.send(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream));
    }
}

/// Answers every request of a connection with the same; requests without a body, one after the other.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let body = format!("\"{}\"", "x".repeat(BYTES - 2));
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {BYTES}\r\n\r\n{body}");
    let mut bytes = Vec::with_capacity(4_096);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if bytes.ends_with(b"\r\n\r\n") {
            bytes.clear();
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}
