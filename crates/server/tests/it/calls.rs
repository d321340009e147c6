//! Calls of a client: their order, their answers, what becomes of them when nobody wants them any more.
//! It does not know how lines are read.

use crate::client::{Client, calling};
use fanout_server::Expose;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test(start_paused = true)]
async fn conflicting_calls_keep_their_order_and_others_overlap() {
    let mut client = Client::greeted(json!({})).await;
    let began = tokio::time::Instant::now();
    // In one write, so that all are read before any has ended.
    let mut lines = String::new();
    for number in 0..100 {
        let key = number % 10;
        // Earlier ones are slower: without an order they would end the other way round.
        let args = json!({"key": format!("k{key}"), "value": number.to_string(), "ms": 20 - number / 10});
        lines.push_str(&format!("{}\n", calling(number, "box.put", args)));
    }
    client.send_text(&lines).await;
    assert_eq!(client.answers(100).await.len(), 100);
    // Ten at once, ten times: the sum of 20, 19, … 11, not of all.
    assert_eq!(began.elapsed(), Duration::from_millis(155));
    let written = client.leave().await;
    for key in 0..10 {
        let of_key: Vec<_> = written.iter().filter(|line| line.starts_with(&format!("k{key}="))).cloned().collect();
        let expected: Vec<_> = (0..10).map(|turn| format!("k{key}={}", turn * 10 + key)).collect();
        assert_eq!(of_key, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_go_out_as_calls_end() {
    let mut client = Client::greeted(json!({})).await;
    client.call(1, "box.wait", json!({"ms": 50})).await;
    client.call(2, "box.put", json!({"key": "a", "value": "${not_a_reference}"})).await;
    client.call(3, "box.fail", json!({})).await;
    client.call(4, "box.put", json!({"key": "a"})).await;
    client.call(5, "box.putt", json!({})).await;
    let mut answers = client.answers(5).await;
    assert_eq!(answers.pop(), Some((1, "waited".to_owned())));
    answers.sort();
    assert_eq!(answers[0], (2, r#"{"put":"${not_a_reference}"}"#.to_owned()));
    assert_eq!(answers[1], (3, "it is broken [tool_failed]".to_owned()));
    assert!(answers[2].1.contains("bad_args") && answers[2].1.contains("value"), "{answers:?}");
    assert_eq!(answers[3], (5, "-32602 Unknown tool: `box.putt`; did you mean `box.put`?".to_owned()));
    client.leave().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_is_not_answered_and_does_not_take_effect() {
    let mut client = Client::greeted(json!({})).await;
    client.call(1, "box.put", json!({"key": "a", "value": "slow", "ms": 60_000})).await;
    client.call(2, "box.put", json!({"key": "a", "value": "behind"})).await;
    client.send(json!({"method": "notifications/cancelled", "params": {"requestId": 1}})).await;
    assert_eq!(client.answers(1).await, [(2, r#"{"put":"behind"}"#.to_owned())]);
    // Its id is free again.
    client.call(1, "box.wait", json!({})).await;
    assert_eq!(client.answers(1).await, [(1, "waited".to_owned())]);
    assert_eq!(client.leave().await, ["a=behind"]);
}

#[tokio::test(start_paused = true)]
async fn when_the_client_is_gone_nothing_of_it_goes_on() {
    let mut client = Client::greeted(json!({})).await;
    client.call(1, "box.put", json!({"key": "a", "value": "first"})).await;
    assert_eq!(client.answers(1).await.len(), 1);
    client.call(2, "box.put", json!({"key": "a", "value": "slow", "ms": 60_000})).await;
    client.call(3, "box.put", json!({"key": "a", "value": "behind"})).await;
    assert_eq!(client.leave().await, ["a=first"]);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_bound_under_way_is_refused() {
    let mut client = Client::greeted(json!({})).await;
    let mut lines = String::new();
    for number in 0..10_100 {
        lines.push_str(&format!("{}\n", calling(number, "box.wait", json!({"ms": 60_000}))));
    }
    let mut write = client.write.take().expect("open");
    let writing = tokio::spawn(async move {
        write.write_all(lines.as_bytes()).await.expect("the gateway reads on");
        write
    });
    let refused = client.answers(100).await;
    assert!(refused.iter().all(|(id, text)| *id >= 10_000 && text.starts_with("-32000 10000 requests")), "{refused:?}");
    client.write = Some(writing.await.expect("no panic"));
    let answered = client.answers(10_000).await;
    assert!(answered.iter().all(|(_, text)| text == "waited"));
    client.leave().await;
}

/// Each in a process of its own, since other tests take memory too.
#[test]
fn memory_is_flat_over_many_calls() {
    for test in ["calls::many_calls", "calls::many_calls_that_could_ask"] {
        let alone = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--ignored"])
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success() && said.contains("1 passed"), "{said}");
    }
}

#[tokio::test]
#[ignore = "is run by `memory_is_flat_over_many_calls`"]
async fn many_calls() {
    many(Client::greeted(json!({})).await, &json!({})).await;
}

/// Of a client that is not greeted, and can be asked by the results of its calls.
#[tokio::test]
#[ignore = "is run by `memory_is_flat_over_many_calls`"]
async fn many_calls_that_could_ask() {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    });
    many(Client::new(Expose::All), &meta).await;
}

/// Makes calls that say this of their client, and looks at what is kept of them.
async fn many(mut client: Client, meta: &Value) {
    let mut begun = 0;
    let mut half_way = 0;
    while begun < 80_000 {
        let mut lines = String::new();
        for number in begun..begun + 500 {
            let mut call = calling(number, "box.wait", json!({}));
            call["params"]["_meta"] = meta.clone();
            lines.push_str(&format!("{call}\n"));
        }
        begun += 500;
        client.send_text(&lines).await;
        assert!(client.answers(500).await.iter().all(|(_, text)| text == "waited"));
        // By then what one call after the other takes and gives back has its room.
        if begun == 40_000 {
            half_way = resident_kib();
        }
    }
    let grown = resident_kib().saturating_sub(half_way);
    // 40,000 calls of which anything were kept would be more.
    assert!(grown < 4_000, "{grown} KiB");
    client.leave().await;
}

/// What this process holds of memory.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}
