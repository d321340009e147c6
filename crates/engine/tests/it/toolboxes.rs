//! Toolboxes that change while runs go on: which tool a call has, which numbers and limits stay, what servers tell.
//! It does not know any server.

use crate::stubs;
use fanout::tools::{AnswerFuture, Peer, Remote};
use fanout::{
    Call, CallEnd, Engine, JsonText, Live, Native, Outcome, PeerRequest, Plan, Rate, RunHandle, RunOptions, ToolError,
    Toolbox, What,
};
use serde_json::{Map, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Nap {
    #[serde(default)]
    ms: u64,
}

/// A toolbox `box` with these tools, all of which say what they are told to.
fn toolbox(tools: &[(&'static str, &'static str)]) -> Toolbox {
    let mut native = Native::new("box");
    for (name, says) in tools {
        let says = *says;
        native
            .add(name, &format!("Says {says}."), move |args: Nap| async move {
                tokio::time::sleep(Duration::from_millis(args.ms)).await;
                Ok(says)
            })
            .effects_none();
    }
    native.into()
}

fn engine(toolbox: Toolbox) -> Engine {
    stubs::build(Engine::builder().toolbox(toolbox))
}

fn session(engine: &Engine) -> RunHandle {
    let empty = engine.validate(Plan::new("session"), Map::new()).expect("a plan without calls");
    engine.start(empty, RunOptions { open: true, ..RunOptions::default() })
}

async fn said(answer: fanout::Submitted) -> String {
    let end: CallEnd = answer.await.unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    end.value.as_ref().map_or("-".to_owned(), |value| value.get().to_owned())
}

#[tokio::test(start_paused = true)]
async fn listed_calls_keep_their_tool_and_new_ones_see_the_new() {
    let engine = engine(toolbox(&[("a", "old"), ("b", "same"), ("gone", "gone")]));
    let before = engine.catalog();
    let run = session(&engine);
    let mut events = run.events();
    // It waits for the first to end, and starts behind the change.
    let first = run.submit(Call::new("c1", "box.b").args(json!({"ms": 10})));
    let waits = run.submit(Call::new("c2", "box.a").after(["c1"]));
    let leaves = run.submit(Call::new("c3", "box.gone").after(["c1"]));
    engine.set_toolbox(toolbox(&[("new", "new"), ("b", "same"), ("a", "now")])).expect("a good toolbox");
    let now = run.submit(Call::new("c4", "box.a").after(["c1"]));
    let new = run.submit(Call::new("c5", "box.new"));
    let gone = run.submit(Call::new("c6", "box.gone")).await.expect_err("it is gone");
    assert_eq!(gone[0].code, "unknown_tool");
    assert_eq!(
        [said(first).await, said(waits).await, said(leaves).await, said(now).await, said(new).await],
        [r#""same""#, r#""old""#, r#""gone""#, r#""now""#, r#""new""#]
    );
    let after = engine.catalog();
    let names: Vec<&str> = after.tools().iter().map(|tool| &*tool.spec.name).collect();
    assert_eq!(names, ["box.new", "box.b", "box.a"]);
    assert_eq!(after.find("box.b"), before.find("box.b"));
    assert_ne!(after.find("box.a"), before.find("box.a"));
    assert_eq!(after.find("box.gone"), None);
    run.close();
    let report = run.report().await;
    let tools: Vec<&str> = report.calls.iter().map(|call| &*call.tool).collect();
    assert_eq!(tools, ["box.b", "box.a", "box.gone", "box.a", "box.new"]);
    let mut started = Vec::new();
    while let Some(event) = events.next().await {
        if let What::CallStarted { call, tool, .. } = event.what {
            started.push(format!("{call} {tool}"));
        }
    }
    started.sort();
    assert_eq!(started, ["c1 box.b", "c2 box.a", "c3 box.gone", "c4 box.a", "c5 box.new"]);
}

#[tokio::test]
async fn what_does_not_change_costs_no_number_and_what_comes_back_has_its_own() {
    let engine = engine(toolbox(&[("a", "one"), ("b", "two")]));
    let first = engine.catalog();
    for round in 0..1_000 {
        engine.set_toolbox(toolbox(&[("a", "one"), ("b", "two")])).expect("the same toolbox");
        let other = if round % 2 == 0 { "three" } else { "two" };
        engine.set_toolbox(toolbox(&[("a", "one"), ("b", other)])).expect("a good toolbox");
    }
    assert_eq!(engine.catalog().ids(), 3);
    assert_eq!(engine.catalog().find("box.b"), first.find("box.b"));
    // What declares nothing writes what its siblings declare: it is another tool when they are others.
    let vague = |key: &str| -> Toolbox {
        let mut native = Native::new("box");
        native.add("vague", "Says nothing of itself.", |_: Nap| async { Ok(()) });
        native.add("reads", "Reads.", |_: Nap| async { Ok(()) }).reads(key);
        native.into()
    };
    engine.set_toolbox(vague("db:a")).expect("a good toolbox");
    let before = engine.catalog().find("box.vague");
    engine.set_toolbox(vague("db:b")).expect("a good toolbox");
    assert_ne!(engine.catalog().find("box.vague"), before);
}

#[tokio::test(start_paused = true)]
async fn a_changed_limit_is_the_same_limit() {
    let with = |running_max: u32, says: &'static str| {
        let mut toolbox = toolbox(&[("a", says)]);
        toolbox.spec.running_max = Some(running_max);
        toolbox.spec.tools[0].rate = Some(Rate { count: 100, per: Duration::from_millis(1), burst: None });
        toolbox
    };
    let engine = engine(with(1, "one"));
    let run = session(&engine);
    let call = |id: &str| Call::new(id, "box.a").args(json!({"ms": 100}));
    let began = tokio::time::Instant::now();
    let old = [run.submit(call("c1")), run.submit(call("c2"))];
    engine.set_toolbox(with(2, "two")).expect("a good toolbox");
    let new = [run.submit(call("c3")), run.submit(call("c4"))];
    let mut said_at = Vec::new();
    for submitted in old.into_iter().chain(new) {
        said_at.push((said(submitted).await, began.elapsed().as_millis()));
    }
    let said_at: Vec<(&str, u128)> = said_at.iter().map(|(said, at)| (said.as_str(), *at)).collect();
    assert_eq!(said_at, [(r#""one""#, 100), (r#""one""#, 100), (r#""two""#, 200), (r#""two""#, 200)]);
}

#[tokio::test]
async fn a_bad_toolbox_changes_nothing() {
    let mut other = Native::new("other");
    other.add("x", "Does nothing.", |_: Nap| async { Ok(()) }).effects_none();
    let engine = stubs::build(Engine::builder().toolbox(toolbox(&[("a", "one")])).toolbox(other.into()));
    let before = engine.catalog();
    let mut clash = toolbox(&[("a", "two")]);
    clash.spec.tools[0].name = "other.x".into();
    let code = |wrong: Result<(), Vec<fanout::Diagnostic>>| wrong.expect_err("it is wrong")[0].code;
    assert_eq!(code(engine.set_toolbox(clash)), "duplicate_tool");
    let mut broken = toolbox(&[("a", "two")]);
    broken.spec.tools[0].args_schema = json!({"type": 7});
    assert_eq!(code(engine.set_toolbox(broken)), "bad_schema");
    assert!(Arc::ptr_eq(&before, &engine.catalog()));
}

/// A server that offers nothing but tools.
struct Quiet;

impl Remote for Quiet {
    fn introduction(&self) -> JsonText {
        serde_json::value::RawValue::from_string("{}".to_owned()).expect("JSON").into()
    }

    fn request(&self, _request: PeerRequest, _peer: Option<Arc<dyn Peer>>) -> AnswerFuture {
        Box::pin(async { Err(ToolError::permanent("it offers nothing")) })
    }

    fn notices(&self) -> broadcast::Receiver<PeerRequest> {
        broadcast::channel(1).1
    }
}

fn live(tools: &[(&'static str, &'static str)]) -> (Toolbox, mpsc::Sender<Toolbox>) {
    let (tell, updates) = mpsc::channel(4);
    let mut toolbox = toolbox(tools);
    toolbox.live = Some(Live { server: Arc::new(Quiet), updates });
    (toolbox, tell)
}

#[tokio::test]
async fn what_a_server_tells_is_taken_over_and_ends_with_the_engine() {
    let (first, tell) = live(&[("a", "one")]);
    let engine = engine(first);
    assert_eq!(engine.servers().keys().map(|name| &**name).collect::<Vec<_>>(), ["box"]);
    let mut changes = engine.catalog_changes();
    tell.send(toolbox(&[("a", "one"), ("b", "two")])).await.expect("somebody listens");
    changes.changed().await.expect("the engine is there");
    assert!(engine.catalog().find("box.b").is_some());
    // What cannot be taken over leaves all as it was, and is told.
    let mut broken = toolbox(&[("c", "three")]);
    broken.spec.tools[0].args_schema = json!({"type": 7});
    tell.send(broken).await.expect("somebody listens");
    changes.changed().await.expect("the engine is there");
    assert_eq!(engine.toolbox_problems()["box"][0].code, "bad_schema");
    assert!(engine.catalog().find("box.b").is_some() && engine.servers().contains_key("box"));
    tell.send(toolbox(&[("a", "four")])).await.expect("somebody listens");
    changes.changed().await.expect("the engine is there");
    assert!(engine.toolbox_problems().is_empty() && engine.catalog().find("box.b").is_none());
    let run = session(&engine);
    assert_eq!(said(run.submit(Call::new("c1", "box.a"))).await, r#""four""#);
    // Another server under that name: the first is listened to no longer.
    let (second, tell_second) = live(&[("a", "five")]);
    engine.set_toolbox(second).expect("a good toolbox");
    tell.closed().await;
    assert_eq!(run.submit(Call::new("c2", "box.a")).await.expect("accepted").outcome, Outcome::Succeeded);
    drop((engine, run));
    tell_second.closed().await;
}

/// Answers with what it is told to.
struct Says(&'static str);

impl fanout::Tool for Says {
    fn call(&self, _attempt: fanout::Attempt) -> fanout::ToolFuture {
        let text = serde_json::value::RawValue::from_string(self.0.to_owned()).expect("JSON");
        Box::pin(async move {
            let mut output = fanout::ToolOutput::new(text.into());
            output.whole = Some(serde_json::value::to_raw_value("all of it").expect("JSON").into());
            Ok(output)
        })
    }
}

#[tokio::test]
async fn a_result_that_breaks_its_schema_fails_the_call_and_is_not_tried_again() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let tell = |kind: fanout::ToolKind, says: &'static str| {
        let mut toolbox = toolbox(&[("a", "x")]);
        toolbox.spec.tools[0].kind = kind;
        toolbox.spec.tools[0].result_schema = Some(schema.clone());
        toolbox.tools = vec![Arc::new(Says(says))];
        engine(toolbox)
    };
    let deep: &'static str = Box::leak(("[".repeat(200) + &"]".repeat(200)).into_boxed_str());
    let file = tempfile::Builder::new().prefix("result-").suffix(".out").tempfile().expect("a file");
    let elsewhere = json!({"spilled": {"path": file.path(), "bytes": 7, "head": "…"}}).to_string();
    let cases = [
        (fanout::ToolKind::Process, r#"{"n":1}"#, None),
        (fanout::ToolKind::Process, r#"{"n":"one"}"#, Some("n: \"one\" is not of type \"integer\"")),
        (fanout::ToolKind::Process, "{}", Some("\"n\" is a required property")),
        (fanout::ToolKind::Process, "null", Some("null is not of type \"object\"")),
        (fanout::ToolKind::Process, deep, Some("nested more than 127 levels deep")),
        (fanout::ToolKind::Process, Box::leak(elsewhere.into_boxed_str()), None),
        (
            fanout::ToolKind::Process,
            r#"{"spilled":{"path":"/etc/passwd","bytes":7}}"#,
            Some("\"n\" is a required property"),
        ),
        (fanout::ToolKind::Http, "null", None),
        (fanout::ToolKind::Native, r#"{"n":"one"}"#, None),
    ];
    for (kind, says, wrong) in cases {
        let engine = tell(kind, says);
        let run = session(&engine);
        let end = run.submit(Call::new("c1", "box.a")).await.expect("accepted");
        match (wrong, end.error) {
            (None, None) => assert_eq!(end.outcome, Outcome::Succeeded, "{kind:?} {says}"),
            (Some(wrong), Some(error)) => {
                assert_eq!((&*error.code, end.outcome, end.attempts), ("result_invalid", Outcome::Failed, 1));
                assert!(error.message.contains(wrong) && error.message.contains("box.a"), "{}", error.message);
                assert!(end.whole.is_some() && end.value.is_none(), "what the tool answered goes along");
            }
            (_, error) => panic!("{kind:?} {says}: {error:?}"),
        }
    }
}
