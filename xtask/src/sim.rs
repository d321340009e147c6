//! `cargo xtask sim`: random plans under a simulated clock against an oracle, planted faults, and a naive scheduler.
//! It does not know how the core decides, nor what is right; `fanout_core::sim` does.

use anyhow::{Context, Result, bail};
use fanout_core::Fault;
use fanout_core::sim::{self, Options, Violation};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Worlds within which every planted fault must be caught.
const MUTANT_WORLDS_MAX: u64 = 200_000;

/// Worlds that a thread takes at once.
const CHUNK: u64 = 64;

/// Arguments of `cargo xtask sim`.
#[derive(clap::Args)]
pub(crate) struct SimArgs {
    /// How many worlds.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Print every event and action of the world of this seed.
    #[arg(long)]
    trace: Option<u64>,
    /// Plant every fault and count the worlds until it is caught.
    #[arg(long)]
    mutants: bool,
    /// Go on after a broken promise, and print the first of each kind.
    #[arg(long)]
    all: bool,
    /// Plant the fault of this name.
    #[arg(long)]
    fault: Option<String>,
    /// Compare the decisions of the core with a naive scheduler's in this many worlds.
    #[arg(long)]
    differential: Option<u64>,
}

/// Worlds in which a promise was broken once, far behind those that are lived by default.
const FOUND: [u64; 3] = [170_605, 432_900, 438_143];

/// Runs the simulation.
pub(crate) fn main(args: SimArgs) -> Result<()> {
    let fault = args.fault.as_deref().map(find_fault).transpose()?;
    if let Some(seed) = args.trace {
        return trace(seed, fault);
    }
    if args.mutants {
        return mutants(args.start);
    }
    if let Some(count) = args.differential {
        return worlds("differential worlds", args.start, count, args.all, |seed| {
            sim::differential(seed).map(|starts| (starts, starts))
        });
    }
    let live = |seed| {
        let lived = sim::run(seed, Options { fault, ..Options::default() });
        // Now and then a world is lived twice: the same seed must give the same trace.
        if seed % 64 == 0 && lived.violation.is_none() {
            let again = sim::run(seed, Options { fault, ..Options::default() });
            if again != lived {
                let what = "the same seed gave another trace".into();
                return Err(Violation { seed, step: lived.steps, at_ms: 0, what });
            }
        }
        lived.violation.map_or(Ok((lived.steps, lived.starts)), Err)
    };
    if fault.is_none() {
        for seed in FOUND {
            worlds("worlds", seed, 1, args.all, live)?;
        }
    }
    worlds("worlds", args.start, args.seeds, args.all, live)
}

fn find_fault(name: &str) -> Result<Fault> {
    let found = Fault::ALL.iter().find(|(fault, _)| format!("{fault:?}") == name);
    found.map(|x| x.0).with_context(|| {
        let names: Vec<String> = Fault::ALL.iter().map(|(f, _)| format!("{f:?}")).collect();
        format!("no fault is called `{name}`; there are: {}", names.join(", "))
    })
}

fn trace(seed: u64, fault: Option<Fault>) -> Result<()> {
    let options = Options { fault, trace: true, ..Options::default() };
    let lived = sim::run(seed, options);
    println!("{}", lived.trace);
    match lived.violation {
        None => {
            println!("seed {seed}: {} steps, {} starts, all promises kept", lived.steps, lived.starts);
            Ok(())
        }
        Some(violation) => bail!("{violation}"),
    }
}

/// Lives one world; a panic of the core is a violation.
fn caught<T>(seed: u64, live: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    catch_unwind(AssertUnwindSafe(live)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        Err(Violation { seed, step: 0, at_ms: 0, what: format!("the core panicked: {text}") })
    })
}

/// Lives many worlds on all processors; the first violation ends it.
fn worlds(
    name: &str,
    start: u64,
    count: u64,
    all: bool,
    live: impl Fn(u64) -> Result<(u64, u64), Violation> + Sync,
) -> Result<()> {
    let began = Instant::now();
    let (next, steps, starts) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let found: Mutex<Vec<Violation>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if from >= count {
                        return;
                    }
                    for seed in start + from..start + count.min(from + CHUNK) {
                        match caught(seed, || live(seed)) {
                            Ok((s, t)) => {
                                steps.fetch_add(s, Ordering::Relaxed);
                                starts.fetch_add(t, Ordering::Relaxed);
                            }
                            Err(violation) => {
                                if let Ok(mut found) = found.lock() {
                                    found.push(violation);
                                }
                                if !all {
                                    stop.store(true, Ordering::Relaxed);
                                    return;
                                }
                            }
                        }
                    }
                    progress(from, count, began);
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let seconds = began.elapsed().as_secs_f64();
    let mut found = found.into_inner().unwrap_or_default();
    found.sort_by_key(|v| v.seed);
    if all {
        let mut kinds = std::collections::BTreeMap::new();
        for violation in &found {
            let kind: String = violation.what.chars().filter(|c| !c.is_ascii_digit()).collect();
            kinds.entry(kind).or_insert((0, violation)).0 += 1;
        }
        for (times, first) in kinds.values() {
            println!("{times} times, first: {first}");
        }
    }
    if let Some(first) = found.first() {
        bail!("{first}\nsee it happen: cargo xtask sim --trace {}", first.seed);
    }
    let (steps, starts) = (steps.into_inner(), starts.into_inner());
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = count as f64 / seconds.max(1e-9);
    println!("{count} {name} from seed {start}: all promises kept; {steps} steps, {starts} starts, {rate:.0} a second");
    Ok(())
}

/// A line now and then, when it takes long.
fn progress(from: u64, count: u64, began: Instant) {
    if from.is_multiple_of(CHUNK * 1024) && from > 0 && began.elapsed() > Duration::from_secs(5) {
        eprintln!("{from} of {count} worlds, {} s", began.elapsed().as_secs());
    }
}

/// Every fault must be caught.
fn mutants(start: u64) -> Result<()> {
    let mut survived = 0;
    println!("{:<24} {:>8}  what it does; how it was caught", "fault", "worlds");
    for &(fault, what) in Fault::ALL {
        match first_caught(fault, start) {
            Some((worlds, violation)) => {
                println!("{:<24} {worlds:>8}  {what}; {}", format!("{fault:?}"), violation.what)
            }
            None => {
                survived += 1;
                println!("{:<24} {:>8}  {what}", format!("{fault:?}"), "SURVIVED");
            }
        }
    }
    if survived > 0 {
        bail!("{survived} faults were not caught in {MUTANT_WORLDS_MAX} worlds")
    }
    println!("all {} faults were caught", Fault::ALL.len());
    Ok(())
}

/// How many worlds it takes until a fault shows.
fn first_caught(fault: Fault, start: u64) -> Option<(u64, Violation)> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let first = AtomicU64::new(u64::MAX);
    let found: Mutex<Option<(u64, Violation)>> = Mutex::new(None);
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (first, found) = (&first, &found);
            scope.spawn(move || {
                let mut world = thread;
                while world < MUTANT_WORLDS_MAX && world < first.load(Ordering::Relaxed) {
                    let seed = start + world;
                    let options = Options { fault: Some(fault), steps_max: 100_000, ..Options::default() };
                    let lived = caught(seed, || sim::run(seed, options).violation.map_or(Ok(()), Err));
                    if let Err(violation) = lived {
                        first.fetch_min(world, Ordering::Relaxed);
                        if let Ok(mut found) = found.lock()
                            && found.as_ref().is_none_or(|(w, _)| world + 1 < *w)
                        {
                            *found = Some((world + 1, violation));
                        }
                        return;
                    }
                    world += threads;
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    found.into_inner().ok().flatten()
}
