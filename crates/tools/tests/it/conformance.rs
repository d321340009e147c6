//! One suite for all adapters: the same behaviours, treated the same way, end the same way.
//! It does not know adapters beyond how to make one behave.

use crate::http::server::Server;
use crate::world::{World, alone, attempt, show, signs};
use fanout_plan::Stdout;
use fanout_tools::{Connections, Native, Progress, Tool, ToolError, Toolbox};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a tool does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    /// Gives `{"n": 7}`.
    Succeeds,
    /// Tells a failure.
    Fails,
    /// Tells a failure that may go away.
    FailsForNow,
    /// Gives back a string of three million characters.
    PrintsMuch,
    /// Shows life, then waits for ever.
    Hangs,
    /// Shows life, then dies without a word.
    Dies,
}

/// What is done to the attempt.
#[derive(Clone, Copy, Debug)]
enum Treatment {
    Run,
    AbortBefore,
    AbortAfterStart,
    DropAfterStart,
}

use Behaviour::*;
use Treatment::*;

const NATIVE: &str = "native";
const BLOCKING: &str = "blocking";
const PROCESS: &str = "process";
const HTTP: &str = "http";

/// A behaviour, how it is treated, and what its end begins with by adapter ("": all others).
type Case = (Behaviour, Treatment, &'static [(&'static str, &'static str)]);

/// Behaviour, treatment, and how the end begins, for all adapters or by adapter.
const CASES: &[Case] = &[
    (Succeeds, Run, &[("", r#"ok {"n":7}"#)]),
    (
        Fails,
        Run,
        &[
            (HTTP, "permanent http_status, reached yes"),
            (PROCESS, "permanent process_exit, reached yes"),
            ("", "permanent tool_failed, reached yes"),
        ],
    ),
    (
        FailsForNow,
        Run,
        &[
            (HTTP, "transient http_status, reached yes"),
            (PROCESS, "transient process_exit, reached yes"),
            ("", "transient tool_failed, reached yes"),
        ],
    ),
    (
        PrintsMuch,
        Run,
        &[(HTTP, r#"ok {"spilled":{"path":"#), (PROCESS, r#"ok {"spilled":{"path":"#), ("", r#"ok "xxxxxxxx"#)],
    ),
    (
        Dies,
        Run,
        &[
            (HTTP, "transient http_lost, reached unknown"),
            (PROCESS, "transient process_killed, reached unknown"),
            ("", "permanent tool_panicked, reached unknown"),
        ],
    ),
    (Succeeds, AbortBefore, &[("", "aborted aborted, reached no")]),
    (Hangs, AbortBefore, &[("", "aborted aborted, reached no")]),
    // A thread cannot be killed: the end it comes to itself is told.
    (
        Hangs,
        AbortAfterStart,
        &[(BLOCKING, "permanent tool_failed, reached yes"), ("", "aborted aborted, reached unknown")],
    ),
    (Hangs, DropAfterStart, &[("", "dropped")]),
];

/// A tool of one adapter that behaves so, and how many of its attempts run now.
struct Subject {
    tool: Arc<dyn Tool>,
    running: Box<dyn Fn() -> usize>,
}

#[test]
fn every_adapter_ends_as_the_table_says() {
    for adapter in [NATIVE, BLOCKING, PROCESS, HTTP] {
        alone(|world| async move {
            let server = Server::start().await;
            for (behaviour, treatment, expected) in CASES {
                let subject = match adapter {
                    PROCESS => process(&world, *behaviour),
                    HTTP => http(&world, &server, *behaviour),
                    _ => native(adapter == BLOCKING, *behaviour),
                };
                let end = treat(&subject, *treatment).await;
                let (_, expected) = expected.iter().find(|(of, _)| of.is_empty() || *of == adapter).unwrap();
                assert!(end.starts_with(expected), "{adapter} {behaviour:?} {treatment:?}: {end}");
                crate::world::eventually("nothing of the attempt runs", || (subject.running)() == 0);
            }
        });
    }
}

#[test]
fn nothing_of_an_attempt_runs_when_its_end_is_told() {
    alone(|world| async move {
        for behaviour in [Succeeds, Fails, PrintsMuch, Dies] {
            let subject = process(&world, behaviour);
            treat(&subject, Run).await;
            assert_eq!((subject.running)(), 0, "{behaviour:?}");
        }
        let subject = process(&world, Hangs);
        treat(&subject, AbortAfterStart).await;
        assert_eq!((subject.running)(), 0);
    });
}

async fn treat(subject: &Subject, treatment: Treatment) -> String {
    let (progress, sign) = signs();
    let (attempt, aborted) = attempt(json!({}), progress);
    let bounded = |end| tokio::time::timeout(Duration::from_secs(20), end);
    match treatment {
        Run => show(&bounded(subject.tool.call(attempt)).await.unwrap()),
        AbortBefore => {
            aborted.cancel();
            show(&bounded(subject.tool.call(attempt)).await.unwrap())
        }
        AbortAfterStart => {
            let end = tokio::spawn(subject.tool.call(attempt));
            sign.notified().await;
            aborted.cancel();
            show(&tokio::time::timeout(Duration::from_secs(20), end).await.unwrap().unwrap())
        }
        DropAfterStart => {
            let end = tokio::spawn(subject.tool.call(attempt));
            sign.notified().await;
            crate::world::eventually("the attempt runs", || (subject.running)() == 1);
            end.abort();
            assert!(end.await.unwrap_err().is_cancelled());
            "dropped".into()
        }
    }
}

fn process(world: &World, behaviour: Behaviour) -> Subject {
    let script = match behaviour {
        Succeeds => r#"echo '{"n": 7}' | tr -d ' '"#,
        Fails => "echo no >&2; exit 3",
        FailsForNow => "exit 75",
        PrintsMuch => r#"printf '"'; head -c 3000000 /dev/zero | tr '\0' x; printf '"'"#,
        Hangs => "echo; exec sleep 1000",
        Dies => "echo; kill -KILL $$",
    };
    let tool = world.sh(script, |spec| {
        spec.stdout = Stdout::Json;
        spec.transient = vec![75];
    });
    let engine = world.processes.engine_id().to_owned();
    Subject { tool, running: Box::new(move || crate::world::marked(&engine).len()) }
}

fn http(world: &World, server: &Server, behaviour: Behaviour) -> Subject {
    let path = match behaviour {
        Succeeds => "/json",
        Fails => "/fails",
        FailsForNow => "/fails-for-now",
        PrintsMuch => "/much",
        Hangs => "/hang-after-head",
        Dies => "/closes",
    };
    let spec = crate::http::spec(&server.origin(), path, |spec| spec.waits.idle = Duration::from_secs(60));
    let tool = crate::http::tool(&Connections::new(world.path("spill")), spec);
    Subject { tool, running: Box::new(server.answering()) }
}

/// Counts up while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn native(blocking: bool, behaviour: Behaviour) -> Subject {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let mut native = Native::new("");
    if blocking {
        native.add_blocking("it", "behaves", move |context, (): ()| {
            let _alive = Alive::new(&counter);
            if behaviour == Hangs {
                context.progress.made();
                while !context.aborted.is_cancelled() {
                    std::thread::yield_now();
                }
            }
            behave(behaviour, &context.progress)
        });
    } else {
        native.add_with("it", "behaves", move |context, (): ()| {
            let counter = Arc::clone(&counter);
            async move {
                let _alive = Alive::new(&counter);
                if behaviour == Hangs {
                    context.progress.made();
                    std::future::pending::<()>().await;
                }
                behave(behaviour, &context.progress)
            }
        });
    }
    let tool = Arc::clone(&Toolbox::from(native).tools[0]);
    Subject { tool, running: Box::new(move || count.load(Ordering::SeqCst)) }
}

fn behave(behaviour: Behaviour, progress: &Progress) -> Result<Value, ToolError> {
    match behaviour {
        Succeeds => Ok(json!({"n": 7})),
        Fails => Err("no".into()),
        FailsForNow => Err(ToolError::transient("not now")),
        PrintsMuch => Ok("x".repeat(3_000_000).into()),
        Hangs => Err("it was told to stop".into()),
        Dies => {
            progress.made();
            panic!("without a word")
        }
    }
}
