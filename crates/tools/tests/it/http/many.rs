//! Ten thousand calls leave nothing behind: no descriptor, no connection, no task, no memory.
//! It does not know what a call costs.

use super::server::Server;
use super::{spec, tool};
use crate::world::{alone, attempt, eventually, signs};
use fanout_tools::Connections;
use futures_util::StreamExt;
use serde_json::json;

const CALLS: usize = 10_000;

#[test]
fn ten_thousand_calls_leave_nothing() {
    alone(|world| async move {
        let server = Server::start().await;
        let connections = Connections::new(world.path("spill"));
        let tools: Vec<_> =
            ["/json", "/json", "/json", "/redirect", "/fails", "/cut-chunk", "/bad-gzip", "/closes", "/json", "/hang"]
                .iter()
                .map(|path| (*path, tool(&connections, spec(&server.origin(), path, |_| {}))))
                .collect();
        let batch = |calls: usize| {
            let tools = &tools;
            futures_util::stream::iter(0..calls)
                .map(move |at| async move {
                    let (path, tool) = &tools[at % tools.len()];
                    let (progress, sign) = signs();
                    let (attempt, aborted) = attempt(json!({}), progress);
                    let end = tokio::spawn(tool.call(attempt));
                    if *path == "/hang" {
                        sign.notified().await;
                        aborted.cancel();
                    }
                    let _end = end.await.unwrap();
                })
                .buffer_unordered(64)
                .for_each(|()| async {})
        };
        batch(CALLS / 5).await;
        let (tasks, memory) = (tasks(), resident_bytes());
        batch(CALLS - CALLS / 5).await;
        let grown = resident_bytes().saturating_sub(memory);
        assert!(grown < 24 << 20, "memory grew by {} MiB", grown >> 20);
        eventually("no task is left", || self::tasks() <= tasks);
        drop((tools, connections));
        eventually("no connection is left", || server.open() == 0);
    });
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
