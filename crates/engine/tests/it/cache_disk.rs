//! Results on disk: they outlive engines, writes of any engine end them, and what is wrong with the disk fails no call.
//! It does not know how they are found; `fanout-store` tests that.

use crate::valid;
use fanout::state::{CacheBounds, cache_clear, cache_held};
use fanout::{
    CacheCounts, CacheScope, CacheSpec, Engine, Native, Outcome, Reached, Report, RunOptions, ToolError, Toolbox,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tempfile::TempDir;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Key {
    key: String,
    /// Bytes of the result, in place of what is there.
    #[serde(default)]
    bytes: usize,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Write {
    key: String,
    value: String,
    /// Nobody is told whether it took effect.
    #[serde(default)]
    lost: bool,
}

/// A world outside of all engines: files under a directory, and how often they were read.
struct World {
    dir: TempDir,
    reads: Arc<AtomicU32>,
    /// While set, a read has read and does not end.
    hold: Arc<AtomicBool>,
    version: &'static str,
    bounds: CacheBounds,
}

impl World {
    fn new() -> World {
        let dir = TempDir::new().expect("a directory");
        std::fs::create_dir(dir.path().join("files")).expect("a directory");
        let (reads, hold) = (Arc::default(), Arc::default());
        World { dir, reads, hold, version: "1", bounds: CacheBounds::default() }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn file(&self, key: &str) -> PathBuf {
        self.dir.path().join("files").join(key)
    }

    fn set(&self, key: &str, value: &str) {
        std::fs::write(self.file(key), value).expect("a file");
    }

    fn tools(&self) -> Native {
        let mut tools = Native::new("");
        let (reads, hold, dir) = (self.reads.clone(), self.hold.clone(), self.dir.path().join("files"));
        tools
            .add("read", "Reads.", move |args: Key| {
                let (hold, path) = (hold.clone(), dir.join(&args.key));
                reads.fetch_add(1, Ordering::SeqCst);
                async move {
                    let text = std::fs::read_to_string(path).unwrap_or_default();
                    let text = if args.bytes > 0 { "x".repeat(args.bytes) } else { text };
                    while hold.load(Ordering::SeqCst) {
                        tokio::task::yield_now().await;
                    }
                    Ok(text)
                }
            })
            .version(self.version)
            .reads("db:${args.key}");
        let dir = self.dir.path().join("files");
        tools
            .add("write", "Writes.", move |args: Write| {
                let path = dir.join(&args.key);
                async move {
                    if args.lost {
                        return Err(ToolError::permanent("who knows").reached(Reached::Unknown));
                    }
                    std::fs::write(path, &args.value).map_err(|error| ToolError::permanent(error.to_string()))
                }
            })
            .writes("db:${args.key}");
        tools
    }

    fn engine(&self) -> Engine {
        let mut tools: Toolbox = self.tools().into();
        for tool in tools.spec.tools.iter_mut().filter(|tool| &*tool.name == "read") {
            tool.settings.cache = Some(CacheSpec { scope: Some(CacheScope::Disk), ttl: None });
        }
        let builder = Engine::builder().toolbox(tools).state_dir(self.state()).cache_bounds(self.bounds);
        builder.build().expect("good tools")
    }

    async fn run(&self, engine: &Engine, calls: &str) -> Arc<Report> {
        engine.run(valid(engine, &format!("name: t\ncalls:\n{calls}"))).report().await
    }

    /// What a new engine is told when it reads a key, and whether it was made to read.
    async fn read(&self, key: &str) -> (String, bool) {
        let engine = self.engine();
        let report = self.run(&engine, &read(key)).await;
        let text = serde_json::from_str(report.calls[0].result.as_ref().expect("a result").get()).expect("a text");
        (text, !report.calls[0].reused)
    }
}

fn read(key: &str) -> String {
    format!("  - {{id: r, tool: read, args: {{key: \"{key}\"}}, cache: {{scope: disk}}}}\n")
}

fn write(key: &str, value: &str) -> String {
    format!("  - {{id: w, tool: write, args: {{key: \"{key}\", value: \"{value}\"}}}}\n")
}

#[tokio::test]
async fn a_result_outlives_its_engine_until_a_write_of_any_engine() {
    let mut world = World::new();
    world.set("a", "old");
    assert_eq!(world.read("a").await, ("old".into(), true));
    // Somebody who is not an engine changes it: that is what `ttl` is for.
    world.set("a", "changed");
    assert_eq!(world.read("a").await, ("old".into(), false));
    let engine = world.engine();
    let report = world.run(&engine, &(write("a", "new") + &read("a"))).await;
    assert_eq!(report.calls[1].result.as_ref().map(|text| text.get()), Some("\"new\""));
    drop(engine);
    assert_eq!(world.read("a").await, ("new".into(), false));
    // Another version of the tool is asked anew.
    world.version = "2";
    assert!(world.read("a").await.1);
    assert_eq!(cache_clear(&world.state(), Some("read")).expect("a cache").entries, 2);
    assert!(world.read("a").await.1);
}

#[tokio::test]
async fn the_report_says_what_became_of_results() {
    let world = World::new();
    let engine = world.engine();
    let same = |id: &str, after: &str| {
        format!("  - {{id: {id}, tool: read, args: {{key: a}}, cache: {{scope: disk}}, after: [{after}]}}\n")
    };
    let calls = same("a", "") + &same("b", "") + &same("c", "a") + &write("a", "x") + &same("d", "w");
    let report = world.run(&engine, &calls).await;
    let cache = report.cache.as_ref().expect("counts");
    // `b` joins `a`, or finds what it left.
    let (hits, joined) = (cache.total.hits, cache.total.joined);
    assert_eq!(hits + joined, 2);
    let expected = CacheCounts { hits, joined, misses: 2, stored: 2, dropped: 1, ..CacheCounts::default() };
    assert_eq!((cache.total, cache.tools.get("read")), (expected, Some(&expected)));
    assert_eq!(cache.tools.len(), 1);
    let report = world.run(&engine, &write("b", "x")).await;
    assert_eq!(report.cache, None);
}

/// Names that are long, empty, or in other scripts; and one that is a prefix of another.
#[tokio::test]
async fn keys_in_any_script_are_found_by_writes_and_only_by_theirs() {
    let world = World::new();
    let long = "ü".repeat(100);
    for key in ["日本語", "e\u{301}", "\u{e9}", "a'b", "%25", "\u{10ffff}", &long] {
        assert!(world.read(key).await.1, "{key}");
        assert!(!world.read(key).await.1, "{key}");
    }
    let engine = world.engine();
    world.run(&engine, &write("e\u{301}", "x")).await;
    drop(engine);
    assert!(!world.read("\u{e9}").await.1);
    assert!(world.read("e\u{301}").await.1);
}

/// One engine reads and does not end; another writes and reads meanwhile; then the first stores what it read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_a_write_of_another_engine_is_not_kept_after_it() {
    let world = World::new();
    world.set("a", "old");
    let (one, two) = (world.engine(), world.engine());
    world.hold.store(true, Ordering::SeqCst);
    let run = one.run(valid(&one, &format!("name: t\ncalls:\n{}", read("a"))));
    while world.reads.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    world.run(&two, &write("a", "new")).await;
    world.hold.store(false, Ordering::SeqCst);
    assert_eq!(run.report().await.calls[0].result.as_ref().map(|text| text.get()), Some("\"old\""));
    assert_eq!(world.read("a").await, ("new".into(), true));
    assert_eq!(world.read("a").await, ("new".into(), false));
}

#[tokio::test]
async fn while_nobody_knows_whether_a_write_took_effect_nothing_it_writes_is_kept() {
    let world = World::new();
    assert!(world.read("a").await.1);
    let engine = world.engine();
    let plan = "name: t\ncalls:\n  - {id: w, tool: write, args: {key: a, value: b, lost: true}}\n";
    let options = RunOptions { open: true, ..RunOptions::default() };
    let run = engine.start(valid(&engine, plan), options);
    while run.snapshot().await.is_some_and(|now| now.counts.failed == 0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(cache_held(&world.state()).expect("a cache").open_writes, 1);
    assert!(world.read("a").await.1);
    assert!(world.read("a").await.1);
    run.close();
    assert_eq!(run.report().await.calls[0].outcome, Outcome::InDoubt);
    assert_eq!(cache_held(&world.state()).expect("a cache").open_writes, 0);
    assert!(world.read("a").await.1);
    assert!(!world.read("a").await.1);
}

#[tokio::test]
async fn without_the_cache_nothing_is_handed_on_and_writes_count_all_the_same() {
    let world = World::new();
    world.set("a", "old");
    world.read("a").await;
    let engine = world.engine();
    let plan = format!("name: t\ncalls:\n{}{}", read("a"), write("a", "new"));
    let options = RunOptions { cache: false, ..RunOptions::default() };
    let report = engine.start(valid(&engine, &plan), options).report().await;
    assert_eq!((report.calls[0].reused, report.cache.as_ref()), (false, None));
    drop(engine);
    assert_eq!(world.read("a").await, ("new".into(), true));
}

#[tokio::test]
async fn a_ttl_says_how_old_a_result_on_disk_may_be() {
    let world = World::new();
    world.read("a").await;
    let reused = async |ttl: &str| {
        let engine = world.engine();
        let call = format!("  - {{id: r, tool: read, args: {{key: a}}, cache: {{scope: disk, ttl: {ttl}}}}}\n");
        world.run(&engine, &call).await.calls[0].reused
    };
    assert!(reused("1h").await);
    assert!(!reused("0s").await);
}

#[tokio::test]
async fn what_is_too_large_is_not_kept_and_the_oldest_make_room() {
    let world = World { bounds: CacheBounds { bytes: 16_000, entries: 2 }, ..World::new() };
    let engine = world.engine();
    let large = "  - {id: r, tool: read, args: {key: a, bytes: 4000}, cache: {scope: disk}}\n";
    world.run(&engine, large).await;
    assert_eq!(cache_held(&world.state()).expect("a cache").tools, []);
    for key in ["a", "b", "c", "d"] {
        world.run(&engine, &read(key)).await;
    }
    assert!(cache_held(&world.state()).expect("a cache").tools[0].entries <= 2);
}

#[tokio::test]
async fn elements_of_a_foreach_are_found_one_by_one() {
    let world = World::new();
    let plan = |list: &str| {
        format!("  - {{id: r, tool: read, foreach: {list}, args: {{key: \"${{item}}\"}}, cache: {{scope: disk}}}}\n")
    };
    let engine = world.engine();
    world.run(&engine, &plan("[a, b]")).await;
    drop(engine);
    let engine = world.engine();
    let report = world.run(&engine, &plan("[b, c, a, b]")).await;
    assert_eq!(report.outcome, fanout::RunOutcome::Succeeded);
    let total = report.cache.as_ref().expect("counts").total;
    assert_eq!((total.hits, total.misses, total.stored), (3, 1, 1));
}
