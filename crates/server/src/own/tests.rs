//! The own tools as a model calls them.
//! It does not know MCP's wire.

use super::{Asked, OwnTools};
use fanout::{AnswerFuture, Approval, AttemptId, Engine, JsonText, Native, Peer, PeerRequest, Told};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Search {
    query: String,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Fetch {
    url: String,
}

fn engine(running: &Arc<AtomicUsize>) -> Engine {
    let mut web = Native::new("web");
    web.add("search", "Searches the web.", |args: Search| async move {
        Ok(json!({"title": args.query, "urls": ["a", "b"]}))
    })
    .effects_none();
    web.add("fetch", "Fetches a page.", |args: Fetch| async move { Ok(format!("page {}", args.url)) }).effects_none();
    web.add("large", "Gives much.", |_: ()| async { Ok(vec!["entry"; 20_000]) }).effects_none();
    let running = running.clone();
    web.add("hang", "Never ends.", move |_: ()| {
        let running = running.clone();
        async move {
            running.fetch_add(1, Ordering::SeqCst);
            let _less = Less(running);
            std::future::pending::<Result<(), _>>().await
        }
    })
    .effects_none();
    web.add("drop_table", "Drops a table.", |_: ()| async { Ok("dropped") })
        .writes("db")
        .approval(Approval::Always)
        .uses("hands", 2);
    Engine::builder().limit("hands", 2).toolbox(web.into()).build().expect("good toolboxes")
}

struct Less(Arc<AtomicUsize>);

impl Drop for Less {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A client that says yes (or no) and remembers what it was told.
struct Client {
    yes: bool,
    told: Mutex<Vec<String>>,
}

impl Peer for Client {
    fn told(&self, _: &AttemptId, told: Told) {
        if let Told::Progress { done, total, message } = told {
            self.told.lock().unwrap().push(format!("{done}/{total:?} {message:?}"));
        }
    }

    fn ask(&self, _: &AttemptId, question: PeerRequest) -> AnswerFuture {
        assert_eq!(&*question.method, "elicitation/create");
        assert!(question.params.get().contains("May `web.drop_table` run?"), "{}", question.params);
        let action = if self.yes { "accept" } else { "decline" };
        let answer: JsonText = serde_json::value::to_raw_value(&json!({"action": action})).unwrap().into();
        Box::pin(async move { Ok(answer) })
    }
}

struct World {
    own: OwnTools,
    running: Arc<AtomicUsize>,
}

impl World {
    fn new() -> World {
        let running = Arc::new(AtomicUsize::new(0));
        World { own: OwnTools::giving(engine(&running), 2_000), running }
    }

    async fn call(&self, name: &str, args: Value) -> String {
        self.call_as("s1", None, name, args).await
    }

    async fn call_as(&self, session: &str, peer: Option<Arc<dyn Peer>>, name: &str, args: Value) -> String {
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let asked = Asked { session: session.into(), peer };
        let answer = self.own.call(name, args, asked).await.expect("an own tool");
        let texts = answer.content.iter().map(|block| block["text"].as_str().expect("text"));
        let text = texts.collect::<Vec<_>>().join("\n");
        format!("{}{text}", if answer.is_error { "! " } else { "" })
    }
}

#[tokio::test]
async fn the_example_of_the_description_runs() {
    let world = World::new();
    let plan = json!({"calls": [
        {"id": "found", "tool": "web.search", "args": {"query": "tax"}},
        {"id": "pages", "tool": "web.fetch", "foreach": "${found.urls}", "args": {"url": "${item}"}}],
        "output": {"title": "${found.title}", "pages": "${pages}"}});
    let given = world.call("run_plan", json!({"plan": plan})).await;
    assert!(given.starts_with("The run succeeded: 4 of 4 calls succeeded"), "{given}");
    assert!(given.contains(r#"output: {"title":"tax","pages":["page a","page b"]}"#), "{given}");
    // As text, and without an output: then every result.
    let text = "calls:\n- {id: a, tool: web.search, args: {query: x}}\n- {id: b, tool: web.fetch, args: {url: '${a.urls[1]}'}}";
    let given = world.call("run_plan", json!({"plan": text})).await;
    assert!(given.contains("\na: {\"title\":\"x\"") && given.contains("\nb: page b"), "{given}");
    let given = world.call("check_plan", json!({"plan": text})).await;
    assert!(given.contains("The plan is right: 2 calls") && given.contains("waits for a (input)"), "{given}");
}

#[tokio::test]
async fn common_mistakes_are_told_how_to_mend() {
    let world = World::new();
    let call =
        |call: Value| json!({"plan": {"calls": [{"id": "a", "tool": "web.search", "args": {"query": "x"}}, call]}});
    let cases = [
        (json!({"plan": {"steps": [{"id": "a", "tool": "web.search"}]}}), "named `calls`, not `steps`"),
        (json!({"plan": [{"id": "a", "tool": "web.search"}]}), "write {\"calls\": [ … ]}"),
        (
            call(json!({"id": "b", "tool": "web.fetch", "args": {"url": "u"}, "depends_on": ["a"]})),
            "`depends_on` is named `after`",
        ),
        (call(json!({"id": "b", "tool": "web.fetch", "arguments": {"url": "u"}})), "`arguments` is named `args`"),
        (call(json!({"id": "b", "name": "web.fetch", "args": {"url": "u"}})), "`name` is named `tool`"),
        (call(json!({"id": "b", "tool": "fetch", "args": {"url": "u"}})), "did you mean `web.fetch`"),
        (call(json!({"id": "b", "tool": "web.fetch", "args": {"url": "${c.url}"}})), "unknown_reference"),
        (call(json!({"id": "b", "tool": "web.fetch", "args": {"uri": "u"}})), "url"),
        (call(json!({"id": "a", "tool": "web.fetch", "args": {"url": "u"}})), "duplicate_id"),
        (json!({}), "`plan` is missing"),
        (json!({"plan": 3}), "plan"),
        (json!({"plan": {"calls": []}, "inputs": 3}), "`inputs` is to be an object"),
        (json!({"plan": {"calls": []}, "wait_seconds": -1}), "`wait_seconds` is to be a number"),
    ];
    for (args, told) in cases {
        for tool in ["run_plan", "check_plan"] {
            let given = world.call(tool, args.clone()).await;
            assert!(given.starts_with("! ") && given.contains(told), "{args}\n→ {given}\nlacks {told}");
        }
    }
    // What is not an error, but hardly meant: braces that nothing fills in.
    let given = world
        .call("run_plan", call(json!({"id": "b", "tool": "web.fetch", "args": {"url": "{{a.urls[0]}}", "more": 1}})))
        .await;
    assert!(given.contains("referred to as ${id}"), "{given}");
}

#[tokio::test]
async fn a_client_cannot_change_policy() {
    let world = World::new();
    let plan = |call: Value| json!({"plan": {"calls": [call]}});
    let given = world.call("run_plan", plan(json!({"id": "a", "tool": "web.drop_table", "approval": "never"}))).await;
    assert!(given.contains("plan_policy") && given.contains("less approval"), "{given}");
    let given = world.call("run_plan", plan(json!({"id": "a", "tool": "web.drop_table", "effects": "none"}))).await;
    assert!(given.contains("plan_policy"), "{given}");
    let given = world.call("run_plan", plan(json!({"id": "a", "tool": "web.drop_table", "in_doubt": "rerun"}))).await;
    assert!(given.contains("plan_policy"), "{given}");
    for amount in [0, 1] {
        let given =
            world.call("run_plan", plan(json!({"id": "a", "tool": "web.drop_table", "uses": {"hands": amount}}))).await;
        assert!(given.contains("plan_policy") && given.contains("write 2 or more"), "{given}");
    }
    let own = json!({"plan": {"tools": {"x": {"argv": ["rm", "-rf", "/"]}}, "calls": [{"id": "a", "tool": "x"}]}});
    let given = world.call("run_plan", own).await;
    assert!(given.contains("plan_tools"), "{given}");
}

#[tokio::test]
async fn approval_is_asked_of_the_client() {
    let world = World::new();
    let plan = json!({"plan": {"calls": [{"id": "a", "tool": "web.drop_table"}]}});
    let given = world.call("run_plan", plan.clone()).await;
    assert!(given.contains("was denied"), "nobody is there: {given}");
    for (yes, expected) in [(true, "a: dropped"), (false, "was denied")] {
        let client = Arc::new(Client { yes, told: Mutex::default() });
        let given = world.call_as("s1", Some(client.clone()), "run_plan", plan.clone()).await;
        assert!(given.contains(expected), "{given}");
        assert!(yes <= !client.told.lock().unwrap().is_empty(), "progress is told");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_run_is_handed_over_and_can_be_cancelled() {
    let world = World::new();
    let plan = json!({"plan": {"calls": [{"id": "a", "tool": "web.hang"}]}, "wait_seconds": 1});
    let given = world.call("run_plan", plan).await;
    assert!(given.contains("1 running") && given.contains("a (web.hang) runs for"), "{given}");
    let id = given.split(' ').nth(2).expect("an id").to_owned();
    let other = world.call_as("s2", None, "run_status", json!({"run": id})).await;
    assert!(other.starts_with("! there is no run"), "runs of one client are not another's: {other}");
    let given = world.call("run_status", json!({"run": id, "wait_seconds": 2})).await;
    assert!(given.contains("goes on after"), "{given}");
    assert_eq!(world.running.load(Ordering::SeqCst), 1);
    let given = world.call("cancel_run", json!({"run": id})).await;
    assert!(given.starts_with("The run was cancelled"), "{given}");
    assert_eq!(world.running.load(Ordering::SeqCst), 0);
    assert!(world.call("cancel_run", json!({"run": id})).await.contains("had ended already"));
}

#[tokio::test(start_paused = true)]
async fn who_goes_takes_what_runs_along() {
    let world = World::new();
    let plan = || json!({"plan": {"calls": [{"id": "a", "tool": "web.hang"}]}});
    // A request that is dropped while it waits, and a client that goes after a hand-over.
    let dropped = tokio::time::timeout(Duration::from_secs(1), world.call("run_plan", plan())).await;
    assert!(dropped.is_err());
    let mut args = plan();
    args["wait_seconds"] = json!(0.5);
    world.call_as("s2", None, "run_plan", args).await;
    world.own.end_session("s2");
    let gone = async {
        while world.running.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("nothing runs any more");
}

#[tokio::test]
async fn large_results_are_cut_and_read() {
    let world = World::new();
    let given = world.call("run_plan", json!({"plan": {"calls": [{"id": "a", "tool": "web.large"}]}})).await;
    assert!(
        given.contains("a list of 20000") && given.contains(r#"{"ref":"r1","path":"[0]"}"#) && given.len() < 3_000,
        "{given}"
    );
    assert_eq!(world.call("read_result", json!({"ref": "r1", "path": "[19999]"})).await, "entry");
    assert!(world.call("read_result", json!({"ref": "r2"})).await.starts_with("! there is no result"));
    let other = world.call_as("s2", None, "read_result", json!({"ref": "r1"})).await;
    assert!(other.starts_with("! there is no result"), "{other}");
}

#[tokio::test]
async fn tools_are_found_and_described() {
    let world = World::new();
    let given = world.call("find_tools", json!({"query": "fetch pages", "limit": 1})).await;
    assert!(
        given.starts_with("## web.fetch\nFetches a page.\ntouches nothing\nargs: {") && given.contains("\"url\""),
        "{given}"
    );
    let given = world.call("find_tools", json!({"query": "table"})).await;
    assert!(given.contains("writes db"), "{given}");
    let given = world.call("find_tools", json!({"query": "quux"})).await;
    assert!(given.contains("None of 5 tools") && given.contains("web"), "{given}");
    assert!(world.call("find_tools", json!({})).await.starts_with("! `query` is missing"));
    assert!(world.call("find_tools", json!({"query": "x", "limit": 0})).await.starts_with("! `limit`"));
}

/// Every own tool that is listed can be called, and what is listed is small enough to be read at each turn.
#[tokio::test]
async fn what_is_listed_is_there_and_short() {
    let world = World::new();
    let mut bytes = 0;
    for tool in world.own.list() {
        bytes += tool.description.len() + tool.args_schema.to_string().len();
        assert!(tool.args_schema["type"] == "object", "{}", tool.name);
        world.call(&tool.name, json!({})).await;
    }
    assert!(bytes < 8_000, "{bytes} bytes are read at each turn");
}
