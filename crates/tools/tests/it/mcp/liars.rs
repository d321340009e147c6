//! Servers that write what no server should: each test says what that is, byte for byte, and sees what becomes of it.
//! It does not know how answers are read.

use super::{Place, call, declared, tool, value};
use crate::world::{alone, attempt};
use fanout_plan::{McpCommand, McpSource, McpText, McpTransport};
use fanout_tools::{Progress, ToolResult, Toolbox};
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What is not answered within this is not answered at all.
const SOON: Duration = Duration::from_secs(20);

fn source(before: &str, set: &[(&str, &str)]) -> McpSource {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/mcp/liars.py");
    McpSource::new(McpTransport::Stdio(Box::new(McpCommand {
        command: McpText::literal("python3"),
        args: [script, before].map(McpText::literal).to_vec(),
        pass: Vec::new(),
        set: set.iter().map(|(name, value)| ((*name).to_owned(), McpText::literal(*value))).collect(),
        cwd: None,
        base_dir: "".into(),
    })))
}

fn with<F: Future<Output = ()>>(before: &str, set: &[(&str, &str)], test: impl FnOnce(Arc<Toolbox>) -> F) {
    alone(|_| async {
        let place = Place::new();
        let toolbox = place.opener.open(declared("box", source(before, set))).await;
        test(Arc::new(toolbox.unwrap_or_else(|problems| panic!("{problems:?}")))).await;
        place.opener.closed().await;
    });
}

/// What comes of a call whose server writes these parts, each so many times.
async fn said(toolbox: &Toolbox, parts: &[(&str, u64)]) -> String {
    let result = timeout(SOON, call(toolbox, "say", json!({"parts": parts}))).await;
    told(result.unwrap_or_else(|_| panic!("no answer to {:.200}", format!("{parts:?}"))))
}

fn told(result: ToolResult) -> String {
    match result {
        Ok(output) => output.value.get().to_owned(),
        Err(error) => format!("{} {:?} {:?}", error.code, error.class, error.reached),
    }
}

async fn works(toolbox: &Toolbox) {
    assert_eq!(value(toolbox, "echo", json!({"text": "four"})).await, "4");
}

const GOOD: &str =
    "{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"good\"}]}}\n";

#[test]
fn answers_that_cannot_be_read_end_their_call_at_once() {
    with("", &[], |toolbox| async move {
        let deep = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{{\"content\":{}{}}}}}\n",
            "[".repeat(9_999),
            "]".repeat(9_999)
        );
        let bad = "mcp_bad_answer Permanent Unknown";
        let cases = [
            // What Python writes for a number that is none.
            (
                "{\"jsonrpc\": \"2.0\", \"id\": $ID, \"result\": {\"content\": [], \"structuredContent\": {\"x\": NaN}}}\n",
                bad,
            ),
            ("{\"result\": {\"content\": [], \"x\": Infinity}, \"id\": $ID, \"jsonrpc\": \"2.0\"}\n", bad),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"caf\u{e9}\"}]}}\n",
                bad,
            ),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[\n", bad),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[]}} and more\n", bad),
            (&deep, bad),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":null}\n", bad),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":[1]}\n", bad),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":\"text\"}}\n", bad),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"error\":\"broken\"}\n", bad),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"error\":{\"code\":\"E1\",\"message\":7}}\n", bad),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"error\":{}}\n", "mcp_error Permanent Yes"),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID}\n", bad),
            // What is unusual and can be understood.
            (
                "{\"jsonrpc\":\"2.0\",\"id\":\"$ID\",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"good\"}]}}\n",
                "\"good\"",
            ),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":$ID.0,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"good\"}]}}\n",
                "\"good\"",
            ),
            (
                "\u{0}\r\n  {\"id\":$ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"good\"}]}}  \r\n",
                "\"good\"",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(said(&toolbox, &[(line, 1)]).await, expected, "{line:.300}");
        }
        works(&toolbox).await;
    });
}

#[test]
fn what_is_written_beside_answers_ends_nothing() {
    with("", &[], |toolbox| async move {
        let long = "x".repeat(1 << 20);
        let noise: [(&str, u64); 12] = [
            ("Debug: {\"id\": $ID}\n", 1),
            ("{\"level\":\"info\",\"id\":$ID,\"x\":NaN}\n", 1),
            ("{\"jsonrpc\":\"2.0\",\"id\":$ID,\"method\":\"roots/list\",\"params\":{\"x\":NaN}}\n", 1),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"id\":$ID,\"x\":NaN}}\n", 1),
            ("{\"jsonrpc\":\"2.0\",\"id\":123456,\"result\":{}}\n", 1_000),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":-1,\"result\":{}}\n{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1,\"message\":\"x\"}}\n",
                9,
            ),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":$ID}}\n", 1),
            (
                "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":[],\"progress\":\"x\"}}\n",
                9,
            ),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nothing\",\"params\":[1]}\n", 100_000),
            ("{\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"no/such\"}\n", 2_000),
            ("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"ping\"}\n", 2_000),
            ("[[[[[[\n", 1),
        ];
        for part in noise {
            assert_eq!(said(&toolbox, &[part, (GOOD, 1)]).await, "\"good\"", "{}", part.0);
        }
        // More than a line may have, of what is no answer, and of one that nobody waits for.
        let lines = [
            ("", "\n"),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"id\":$ID,\"data\":\"", "\"}}\n"),
            ("{\"jsonrpc\":\"2.0\",\"id\":123456,\"result\":{\"text\":\"", "\"}}\n"),
        ];
        for (begin, end) in lines {
            assert_eq!(said(&toolbox, &[(begin, 1), (&long, 70), (end, 1), (GOOD, 1)]).await, "\"good\"", "{begin}");
        }
        works(&toolbox).await;
    });
}

#[test]
fn what_is_written_before_the_greeting_harms_nobody() {
    with(
        "Starting up\n{\"level\": \"info\"}\n[1]\n\u{ff}\nLONG\n{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}\n",
        &[],
        |toolbox| async move {
            works(&toolbox).await;
        },
    );
}

#[test]
fn a_list_without_an_end_is_cut() {
    with("", &[("TEST_MCP_ENDLESS", "1")], |toolbox| async move {
        let warning = toolbox.spec.warnings.iter().find(|warning| warning.message.contains("pages"));
        assert!(warning.is_some(), "{:?}", toolbox.spec.warnings);
        works(&toolbox).await;
    });
}

#[test]
fn a_server_that_closes_its_output_and_lives_on_is_ended_and_another_started() {
    with("", &[], |toolbox| async move {
        for _ in 0..3 {
            let begun = Instant::now();
            let lost = timeout(SOON, call(&toolbox, "close", json!({}))).await.expect("an end").unwrap_err();
            assert_eq!((lost.code, begun.elapsed() < Duration::from_secs(5)), ("mcp_lost", true), "{lost:?}");
            works(&toolbox).await;
        }
    });
}

#[test]
fn a_server_that_reads_no_more_holds_up_nobody_for_long() {
    with("", &[], |toolbox| async move {
        assert_eq!(value(&toolbox, "deaf", json!({})).await, Value::Null);
        // More than a pipe holds.
        let large = json!({"text": "x".repeat(1 << 20)});
        let (one, aborted) = attempt(large.clone(), Progress::none());
        let stuck = tokio::spawn(tool(&toolbox, "echo").call(one));
        let (other, never_sent) = attempt(large, Progress::none());
        let behind = tokio::spawn(tool(&toolbox, "echo").call(other));
        tokio::task::yield_now().await;
        never_sent.cancel();
        assert!(told(timeout(SOON, behind).await.expect("an end").unwrap()).starts_with("aborted"));
        aborted.cancel();
        assert!(told(timeout(SOON, stuck).await.expect("an end").unwrap()).starts_with("aborted"));
    });
}

#[test]
fn a_flood_of_changes_lists_the_tools_a_few_times() {
    with("", &[], |toolbox| async move {
        let flood = ("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n", 50_000);
        assert_eq!(said(&toolbox, &[flood, (GOOD, 1)]).await, "\"good\"");
        let pages = value(&toolbox, "pages", json!({})).await;
        let pages: u32 = pages.as_str().and_then(|text| text.parse().ok()).expect("a number");
        assert!(pages < 100, "{pages}");
    });
}
