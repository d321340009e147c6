//! Stub tools: they sleep on tokio's clock, fail on demand, and read and write a store in memory.
//! They do not know the engine.

use fanout::{Engine, Native, ToolError, Toolbox};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What stub tools write.
pub(crate) type Store = Arc<Mutex<BTreeMap<String, i64>>>;

#[derive(Deserialize, schemars::JsonSchema)]
struct Sleep {
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Keyed {
    key: String,
    #[serde(default = "ten")]
    ms: u64,
}

fn ten() -> u64 {
    10
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Fails {
    /// How many attempts fail, counted by `name`.
    times: u32,
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Silent {
    /// Signs of life, one every 100 ms; then silence for an hour.
    signs: u32,
}

/// The usual engine over a fresh store.
pub(crate) fn engine() -> Engine {
    engine_with(&Store::default())
}

/// An engine over this store.
pub(crate) fn engine_with(store: &Store) -> Engine {
    build(Engine::builder().toolbox(toolbox(store)))
}

pub(crate) fn build(builder: fanout::EngineBuilder) -> Engine {
    builder.seed(1).build().unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

pub(crate) fn toolbox(store: &Store) -> Toolbox {
    let mut tools = Native::new("");
    let sleep = |args: Sleep| async move {
        if args.ms > 0 {
            tokio::time::sleep(Duration::from_millis(args.ms)).await;
        }
        Ok(args.value)
    };
    tools.add("sleep", "Sleeps, then gives a value.", sleep).effects_none();
    tools.add("vague", "The same, without declared effects.", sleep);
    failing(&mut tools);
    storing(&mut tools, store);
    tools.into()
}

fn failing(tools: &mut Native) {
    let failed = Arc::new(AtomicU32::new(0));
    let fail = move |args: Fails| {
        let failed = failed.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(args.ms)).await;
            if failed.fetch_add(1, Ordering::Relaxed) < args.times {
                let error = ToolError::transient("no luck this time");
                return Err(args.retry_after_ms.map_or(error.clone(), |ms| error.after(Duration::from_millis(ms))));
            }
            Ok("at last")
        }
    };
    tools.add("flaky", "Fails some times, then succeeds.", fail).effects_none();
    let broken = |_: ()| async { Err::<(), _>(ToolError::permanent("it is broken")) };
    tools.add("broken", "Always fails for good.", broken).effects_none();
    tools.add("panics", "Panics.", |_: ()| async { if true { panic!("what a pity") } else { Ok(()) } }).effects_none();
    let silent = |context: fanout::tools::Context, args: Silent| async move {
        for _ in 0..args.signs {
            tokio::time::sleep(Duration::from_millis(100)).await;
            context.progress.made();
        }
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        Ok(())
    };
    tools.add_with("silent", "Goes silent.", silent).effects_none();
}

fn storing(tools: &mut Native, store: &Store) {
    let add = |store: &Store| {
        let store = store.clone();
        move |args: Keyed| {
            let store = store.clone();
            async move {
                // Reads, then writes what it read plus one: overlapping calls lose updates.
                let before = value(&store, &args.key);
                tokio::time::sleep(Duration::from_millis(args.ms)).await;
                set(&store, &args.key, before + 1);
                Ok(before + 1)
            }
        }
    };
    tools.add("add", "Adds one to a key.", add(store)).writes("db:${args.key}");
    tools.add("lie", "Adds one to a key and declares nothing of it.", add(store)).effects_none();
    let reads = store.clone();
    let read = move |args: Keyed| {
        let store = reads.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(args.ms)).await;
            Ok(value(&store, &args.key))
        }
    };
    tools.add("get", "Reads a key.", read).reads("db:${args.key}");
}

fn value(store: &Store, key: &str) -> i64 {
    store.lock().map(|store| store.get(key).copied().unwrap_or(0)).unwrap_or(0)
}

fn set(store: &Store, key: &str, value: i64) {
    if let Ok(mut store) = store.lock() {
        store.insert(key.to_owned(), value);
    }
}
