//! Calls: what comes back, what fails and how, what is aborted, what is told and asked meanwhile.
//! It does not know how tools are listed.

use super::{Manner, Place, call, tool, value};
use crate::world::{attempt, eventually, eventually_async};
use fanout_tools::{
    AnswerFuture, AttemptId, ErrorClass, Peer, PeerRequest, Progress, Reached, Told, ToolError, ToolResult, Toolbox,
};
use serde_json::{Value, json};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Runs a test with a server of this manner, and sees that nothing of it is left.
fn with<F: Future<Output = ()>>(manner: Manner, test: impl FnOnce(Arc<Place>, Arc<Toolbox>) -> F) {
    crate::world::alone(|_| async {
        let place = Arc::new(Place::new());
        let log = place.log();
        let toolbox = Arc::new(place.open(Manner { log, ..manner }, |_| ()).await.unwrap());
        test(Arc::clone(&place), toolbox).await;
        place.opener.closed().await;
    });
}

fn told(result: ToolResult) -> String {
    match result {
        Ok(output) => output.value.get().to_owned(),
        Err(error) => format!("{} {:?} {:?}", error.code, error.class, error.reached),
    }
}

#[test]
fn results_by_what_they_are() {
    for modern in [false, true] {
        with(Manner { modern, ..Manner::default() }, |place, toolbox| async move {
            assert_eq!(value(&toolbox, "echo", json!({"text": "a\nb"})).await, "a\nb");
            assert_eq!(value(&toolbox, "echo", json!({"text": "cut"})).await, "\u{fffd}");
            assert_eq!(value(&toolbox, "structured", json!({})).await, json!({"sum": 3, "list": [1, null]}));
            assert_eq!(value(&toolbox, "nothing", json!({})).await, json!(null));
            let whole = call(&toolbox, "structured", json!({})).await.unwrap().whole.unwrap();
            assert!(whole.get().contains("structuredContent"), "{whole}");
            let blocks = value(&toolbox, "blocks", json!({})).await;
            assert_eq!(blocks[0], "a picture");
            let image = &blocks[1]["spilled"];
            assert_eq!((&blocks[1]["type"], &image["bytes"]), (&json!("image"), &json!(8)));
            assert_eq!(image["content_type"], "image/png");
            assert_eq!(std::fs::read(image["path"].as_str().unwrap()).unwrap(), b"\x89PNG\r\n\x1a\n");
            let inside = json!({"type": "resource", "uri": "test://a", "content_type": "text/plain", "text": "inside"});
            assert_eq!(blocks[2], inside);
            assert_eq!(std::fs::read(blocks[3]["spilled"]["path"].as_str().unwrap()).unwrap(), [0, 1, 2]);
            assert_eq!(blocks[4], json!({"type": "resource_link", "uri": "test://c", "name": "c"}));
            drop(place);
        });
    }
}

#[test]
fn failures_by_who_tells_them() {
    with(Manner::default(), |_place, toolbox| async move {
        let failed = call(&toolbox, "fail", json!({})).await.unwrap_err();
        assert_eq!((failed.code, failed.class), ("mcp_tool_error", ErrorClass::Permanent));
        assert_eq!(failed.message, "`box.fail` failed: out of paper");
        for (code, expected) in [
            (-32_602, "mcp_error Permanent No"),
            (-32_601, "mcp_error Permanent No"),
            (-32_603, "mcp_error Transient Unknown"),
            (-32_000, "mcp_error Permanent Unknown"),
            (418, "mcp_error Permanent Yes"),
        ] {
            assert_eq!(told(call(&toolbox, "refuse", json!({"code": code})).await), expected, "{code}");
        }
        let refused = call(&toolbox, "refuse", json!({"code": 418})).await.unwrap_err();
        assert_eq!(refused.whole.unwrap().get(), r#"{"code":418,"message":"refused","data":{"why":1}}"#);
        assert_eq!(told(call(&toolbox, "forbidden", json!({})).await), r#"{"sum":"three"}"#);
    });
}

#[test]
fn a_server_that_dies_is_started_again() {
    with(Manner::default(), |place, toolbox| async move {
        let dead = call(&toolbox, "die_after", json!({})).await.unwrap_err();
        assert_eq!((dead.code, dead.class, dead.reached), ("mcp_lost", ErrorClass::Transient, Reached::Unknown));
        let expected = "the MCP server `box` was lost before it answered: it exited with code 9";
        assert_eq!(dead.message, expected);
        assert!(dead.detail.unwrap().ends_with("a bug in line 1"));
        assert_eq!(value(&toolbox, "echo", json!({"text": "again"})).await, "again");
        // Those in flight beside it are lost too, and each is told.
        let hanging = (0..5).map(|_| call(&toolbox, "hang", json!({})));
        let dying = async {
            eventually_async("all hang", || place.logged().matches("hangs").count() == 5).await;
            call(&toolbox, "die_before", json!({})).await
        };
        let (hung, died) = tokio::join!(futures_util::future::join_all(hanging), dying);
        for result in hung.into_iter().chain([died]) {
            assert_eq!(told(result), "mcp_lost Transient Unknown");
        }
        assert_eq!(place.logged().matches("effect").count(), 1);
        assert_eq!(value(&toolbox, "echo", json!({"text": "again"})).await, "again");
    });
}

#[test]
fn a_server_that_always_dies_is_not_started_on_and_on() {
    with(Manner::default(), |place, toolbox| async move {
        // The first had answered when its tools were listed.
        assert_eq!(told(call(&toolbox, "die_before", json!({})).await), "mcp_lost Transient Unknown");
        assert_eq!(told(call(&toolbox, "die_before", json!({})).await), "mcp_lost Transient Unknown");
        let begun = Instant::now();
        let waiting = call(&toolbox, "die_before", json!({})).await.unwrap_err();
        assert_eq!((waiting.code, waiting.reached), ("mcp_lost", Reached::No));
        let delay = waiting.retry_after.unwrap();
        assert!(delay <= Duration::from_millis(200) && begun.elapsed() < Duration::from_millis(200), "{delay:?}");
        tokio::time::sleep_until((begun + delay).into()).await;
        assert_eq!(told(call(&toolbox, "die_before", json!({})).await), "mcp_lost Transient Unknown");
        let longer = call(&toolbox, "die_before", json!({})).await.unwrap_err().retry_after.unwrap();
        assert!(longer > Duration::from_millis(250), "{longer:?}");
        assert_eq!(place.logged().matches("heard initialize").count(), 3);
    });
}

#[test]
fn an_abort_reaches_the_server() {
    with(Manner::default(), |place, toolbox| async move {
        // It answers all the same: then it is known how it ended.
        let (one, aborted) = attempt(json!({"ms": 50}), Progress::none());
        let running = tokio::spawn(tool(&toolbox, "late").call(one));
        eventually_async("it runs", || place.logged().contains("late")).await;
        aborted.cancel();
        assert_eq!(told(running.await.unwrap()), "\"late\"");
        assert!(place.logged().contains("cancelled"));
        // It does not: nobody knows.
        let (one, aborted) = attempt(json!({}), Progress::none());
        let running = tokio::spawn(tool(&toolbox, "hang").call(one));
        eventually_async("it hangs", || place.logged().contains("hangs")).await;
        aborted.cancel();
        assert_eq!(told(running.await.unwrap()), "aborted Aborted Unknown");
        // Dropped instead of aborted.
        let (one, _aborted) = attempt(json!({}), Progress::none());
        let running = tokio::spawn(tool(&toolbox, "late").call(one));
        eventually_async("it runs again", || place.logged().matches("late").count() == 2).await;
        running.abort();
        eventually_async("it is told", || place.logged().matches("cancelled").count() >= 4).await;
        assert_eq!(value(&toolbox, "echo", json!({"text": "well"})).await, "well", "late answers harm nobody");
        let (one, aborted) = attempt(json!({}), Progress::none());
        aborted.cancel();
        assert_eq!(told(tool(&toolbox, "effect").call(one).await), "aborted Aborted No");
        assert!(!place.logged().contains("effect"));
    });
}

#[test]
fn what_a_server_prints_harms_nobody() {
    with(Manner::default(), |_place, toolbox| async move {
        assert_eq!(value(&toolbox, "noise", json!({})).await, "after the noise");
        assert_eq!(value(&toolbox, "pieces", json!({})).await, "whole");
        assert_eq!(value(&toolbox, "twice", json!({})).await, "first");
        assert_eq!(value(&toolbox, "echo", json!({"text": "x"})).await, "x");
    });
}

#[test]
fn large_answers_go_to_files_and_larger_ones_end_their_call() {
    crate::world::alone(|_| async {
        let place = Place::new();
        let toolbox = place.open(Manner::default(), |source| source.output_max = 60 << 20).await.unwrap();
        let big = value(&toolbox, "big", json!({"bytes": 50 << 20})).await;
        assert_eq!(big["spilled"]["bytes"], 50 << 20);
        let (too_large, beside) = tokio::join!(
            call(&toolbox, "big", json!({"bytes": 61 << 20})),
            call(&toolbox, "slow", json!({"ms": 300})),
        );
        assert_eq!(told(too_large), "output_too_large Permanent Unknown");
        assert_eq!(told(beside), "\"slow\"", "others on the same connection go on");
        drop(toolbox);
        place.opener.closed().await;
    });
}

/// Hears and answers.
#[derive(Default)]
struct Person {
    told: Mutex<Vec<String>>,
    silent: bool,
}

impl Peer for Person {
    fn told(&self, attempt: &AttemptId, told: Told) {
        let text = match told {
            Told::Progress { done, total, .. } => format!("{} {done}/{}", attempt.call, total.unwrap_or(0.0)),
            Told::Log(message) => format!("{} {message}", attempt.call),
        };
        self.told.lock().unwrap().push(text);
    }

    fn ask(&self, attempt: &AttemptId, question: PeerRequest) -> AnswerFuture {
        self.told.lock().unwrap().push(format!("{} {}", attempt.call, question.method));
        let answer = match &*question.method {
            "elicitation/create" => json!({"action": "accept", "content": {"name": "Ada"}}),
            "roots/list" => json!({"roots": [{"uri": "file:///x"}]}),
            _ => json!({"role": "assistant", "content": {"type": "text", "text": "!"}, "model": "m"}),
        };
        let silent = self.silent;
        Box::pin(async move {
            match silent {
                true => Err(ToolError::permanent("nobody")),
                false => Ok(serde_json::value::to_raw_value(&answer).unwrap().into()),
            }
        })
    }
}

async fn with_peer(toolbox: &Toolbox, name: &str, args: Value, peer: &Arc<Person>) -> String {
    let (mut one, _aborted) = attempt(args, Progress::none());
    one.peer = Some(Arc::clone(peer) as Arc<dyn Peer>);
    told(tool(toolbox, name).call(one).await)
}

#[test]
fn what_is_told_is_heard_in_its_order() {
    for modern in [false, true] {
        with(Manner { modern, ..Manner::default() }, |_place, toolbox| async move {
            let person = Arc::<Person>::default();
            assert_eq!(with_peer(&toolbox, "flood", json!({"count": 10_000}), &person).await, "\"done\"");
            let heard = std::mem::take(&mut *person.told.lock().unwrap());
            let expected: Vec<String> = (0..10_000).map(|done| format!("call[3] {done}/10")).collect();
            assert!(heard == expected, "{} of 10,000, in order", heard.len());
            assert_eq!(with_peer(&toolbox, "log", json!({}), &person).await, "\"done\"");
            assert_eq!(*person.told.lock().unwrap(), [r#"call[3] {"level":"info","data":"hello"}"#]);
        });
    }
}

#[test]
fn what_is_asked_reaches_whoever_is_behind_the_call() {
    for modern in [false, true] {
        with(Manner { modern, ..Manner::default() }, |_place, toolbox| async move {
            let person = Arc::<Person>::default();
            let accepted = r#""{\"action\":\"accept\",\"content\":{\"name\":\"Ada\"}}""#;
            assert_eq!(with_peer(&toolbox, "ask", json!({}), &person).await, accepted);
            let nobody = told(call(&toolbox, "ask", json!({})).await);
            assert_eq!(nobody, r#""{\"action\":\"decline\"}""#);
            let silent = Arc::new(Person { silent: true, ..Person::default() });
            assert_eq!(with_peer(&toolbox, "ask", json!({}), &silent).await, nobody);
            if modern {
                assert_eq!(with_peer(&toolbox, "ask_on", json!({}), &person).await, "mcp_no_answer Permanent Yes");
            } else {
                let sampled = with_peer(&toolbox, "sample", json!({}), &person).await;
                assert!(sampled.contains("assistant"), "{sampled}");
                assert!(told(call(&toolbox, "sample", json!({})).await).contains("nobody is there"));
                assert!(with_peer(&toolbox, "roots", json!({}), &person).await.contains("file:///x"));
                assert!(told(call(&toolbox, "roots", json!({})).await).contains(r#"roots\":[]"#));
                assert_eq!(told(call(&toolbox, "ping", json!({})).await), r#""{}""#);
            }
        });
    }
}

#[test]
fn a_thousand_calls_share_one_server() {
    for serial in [false, true] {
        with(Manner { serial, ..Manner::default() }, |place, toolbox| async move {
            let calls = (0..1_000).map(|n| {
                let toolbox = Arc::clone(&toolbox);
                tokio::spawn(async move { told(call(&toolbox, "echo", json!({"text": n.to_string()})).await) })
            });
            for (n, said) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
                assert_eq!(said.unwrap(), format!("\"{n}\""));
            }
            assert_eq!(place.logged().matches("heard initialize").count(), 1);
        });
    }
}

#[test]
fn a_server_has_only_the_environment_it_is_given() {
    with(Manner::default(), |_place, toolbox| async move {
        let said = value(&toolbox, "env", json!({})).await;
        let mut names: Vec<&String> = said["env"].as_object().unwrap().keys().collect();
        let base = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "LANG"];
        names.retain(|name| !name.starts_with("TEST_MCP_") && !base.contains(&name.as_str()));
        names.sort();
        assert_eq!(names, ["FANOUT_ATTEMPT", "FANOUT_CALL", "FANOUT_ENGINE", "FANOUT_RUN"]);
        assert_eq!(said["cwd"], json!(std::env::current_dir().unwrap()));
    });
}

#[test]
fn a_server_that_stays_is_ended() {
    with(Manner { start: "stay".into(), ..Manner::default() }, |place, toolbox| async move {
        let pid = value(&toolbox, "env", json!({})).await["pid"].to_string();
        drop(toolbox);
        eventually("its input is closed", || place.logged().contains("input closed"));
        place.opener.closed().await;
        assert!(!std::path::Path::new("/proc").join(pid).exists());
    });
}
