//! Programs that misbehave: each ends with a clear error or result, in time, and leaves nothing behind.
//! It does not know what a well-behaved tool looks like.

use crate::world::{GuardKind, World, alone, argv, attempt, eventually, run, run_with, show, signs, this_program};
use fanout_plan::{ProcessSpec, Stdin, Stdout, TextTemplate};
use fanout_tools::Progress;
use serde_json::json;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Name, script, what its end begins with, and what the message or value holds.
const ENDS_BY_ITSELF: &[(&str, &str, &str, &str)] = &[
    ("floods stdout for ever", "yes", "permanent output_too_large, reached unknown", "`output_max`"),
    ("prints a gigabyte", "head -c 1073741824 /dev/zero", "permanent output_too_large", "more than 1048576 bytes"),
    ("floods stderr", "head -c 30000000 /dev/zero | tr '\\0' e >&2; echo fine", "ok", "fine"),
    ("dies by its own fault", "kill -SEGV $$", "permanent process_killed, reached unknown", "signal 11 (sigsegv)"),
    ("is killed", "kill -KILL $$", "transient process_killed, reached unknown", "signal 9 (sigkill)"),
    (
        "exits with an unknown code",
        "echo oh dear >&2; exit 42",
        "permanent process_exit, reached yes",
        "code 42: oh dear",
    ),
    ("leaves a child that holds its output", "sleep 1000 & echo fine", "ok", "fine"),
    ("leaves a daemon that holds its output", "setsid sleep 1000 & echo fine", "ok", "fine"),
    ("leaves a child that ignores TERM", "(trap '' TERM; exec sleep 1000) >/dev/null 2>&1 & echo fine", "ok", "fine"),
    ("closes its output and goes on for a while", "echo fine; exec >&- 2>&-; sleep 0.05", "ok", "fine"),
    ("prints nothing", "", "ok", "\"\""),
];

/// Name, script: all show life and then never end.
const NEVER_ENDS: &[(&str, &str)] = &[
    ("sleeps", "echo; exec sleep 1000"),
    ("ignores TERM", "trap '' TERM INT HUP; echo; while :; do sleep 1000; done"),
    ("has stopped itself", "echo; kill -STOP $$"),
    ("has a daemon", "setsid sleep 1000 >/dev/null 2>&1 & echo; exec sleep 1000"),
    (
        "has a daemon that ignores TERM",
        "setsid sh -c 'trap \"\" TERM; sleep 1000' >/dev/null 2>&1 & echo; exec sleep 1000",
    ),
    ("has forked twice", "(setsid sh -c '(exec sleep 1000) &' >/dev/null 2>&1 &); echo; exec sleep 1000"),
    ("has many children", "for i in 1 2 3 4 5 6 7 8 9 10; do (trap '' TERM; sleep 1000) & done; echo; wait"),
    ("keeps forking", "echo; trap '' TERM; while :; do sleep 0.01 & done"),
    ("floods slowly", "trap '' TERM; while :; do echo drip; sleep 0.01; done"),
];

#[test]
fn what_ends_by_itself() {
    alone(|world| async move {
        for (name, script, begin, holds) in ENDS_BY_ITSELF {
            let tool = world.sh(script, |spec| spec.output_max = 1 << 20);
            let began = Instant::now();
            let end = show(&run(&tool).await);
            assert!(end.starts_with(begin) && end.contains(holds), "{name}: {end}");
            assert_eq!(world.marked(), 0, "{name}");
            assert!(began.elapsed() < Duration::from_secs(5), "{name}: {:?}", began.elapsed());
        }
    });
}

#[test]
fn what_never_ends_is_aborted() {
    alone(|world| async move {
        for (name, script) in NEVER_ENDS {
            let (progress, sign) = signs();
            let (attempt, aborted) = attempt(json!({}), progress);
            let end = tokio::spawn(world.sh(script, |_| ()).call(attempt));
            sign.notified().await;
            let began = Instant::now();
            aborted.cancel();
            let end = tokio::time::timeout(Duration::from_secs(20), end).await.expect(name).unwrap();
            assert!(show(&end).starts_with("aborted aborted, reached unknown"), "{name}: {}", show(&end));
            assert_eq!(world.marked(), 0, "{name}");
            assert!(began.elapsed() < Duration::from_secs(3), "{name}: {:?}", began.elapsed());
        }
    });
}

#[test]
fn what_never_ends_is_dropped() {
    alone(|world| async move {
        for (name, script) in NEVER_ENDS {
            let (progress, sign) = signs();
            let end = tokio::spawn(world.sh(script, |_| ()).call(attempt(json!({}), progress).0));
            sign.notified().await;
            end.abort();
            assert!(end.await.unwrap_err().is_cancelled());
            eventually(&format!("{name}: it is gone"), || world.marked() == 0);
        }
    });
}

#[test]
fn a_tool_that_heeds_term_is_given_its_grace() {
    alone(|world| async move {
        let script = "trap 'echo bye >&2; echo x > gone; exit 0' TERM; echo; while :; do sleep 0.01; done";
        let (progress, sign) = signs();
        let (attempt, aborted) = attempt(json!({}), progress);
        let tool = world.sh(script, |spec| spec.grace = Duration::from_secs(20));
        let end = tokio::spawn(tool.call(attempt));
        sign.notified().await;
        aborted.cancel();
        let error = tokio::time::timeout(Duration::from_secs(10), end).await.unwrap().unwrap().unwrap_err();
        assert!(error.detail.unwrap().ends_with("bye"));
        assert!(world.path("gone").exists());
    });
}

#[test]
fn a_descendant_without_mark_goes_with_its_parent() {
    alone(|world| async move {
        // Its parent dies of TERM, or never hears it and is still there when KILL comes.
        for parent in ["", "trap '' TERM;"] {
            let script = "rm -f unmarked; setsid env -i sh -c 'echo $$ > unmarked; exec sleep 1000' >/dev/null 2>&1 &
                while [ ! -s unmarked ]; do sleep 0.01; done; echo; wait";
            let (progress, sign) = signs();
            let (attempt, aborted) = attempt(json!({}), progress);
            let end = tokio::spawn(world.sh(&format!("{parent} {script}"), |_| ()).call(attempt));
            sign.notified().await;
            let pid = std::fs::read_to_string(world.path("unmarked")).unwrap();
            assert!(lives(pid.trim()));
            aborted.cancel();
            end.await.unwrap().unwrap_err();
            eventually("the unmarked descendant is gone", || !lives(pid.trim()));
        }
    });
}

#[test]
fn a_daemon_left_by_a_good_end_is_found_soon() {
    alone(|world| async move {
        for daemon in ["setsid sleep 1000 >/dev/null 2>&1 &", "(setsid sh -c '(exec sleep 1000) &' >/dev/null 2>&1 &)"]
        {
            let tool = world.sh(&format!("{daemon}\nsleep 0.05; echo fine"), |_| ());
            assert_eq!(show(&run(&tool).await), "ok \"fine\"");
            tokio::task::block_in_place(|| eventually("the daemon is gone", || world.marked() == 0));
        }
    });
}

#[test]
fn a_daemon_of_a_running_attempt_is_let_live() {
    alone(|world| async move {
        let (progress, sign) = signs();
        let (attempt, aborted) = attempt(json!({}), progress);
        let script = "setsid sleep 1000 >/dev/null 2>&1 & echo; exec sleep 1000";
        let end = tokio::spawn(world.sh(script, |_| ()).call(attempt));
        sign.notified().await;
        eventually("both run", || world.marked() == 2);
        run(&world.sh("setsid sleep 1000 >/dev/null 2>&1 & sleep 0.05", |_| ())).await.unwrap();
        tokio::task::block_in_place(|| eventually("only those two run", || world.marked() == 2));
        assert!(!end.is_finished());
        aborted.cancel();
        end.await.unwrap().unwrap_err();
    });
}

#[test]
fn a_subreaper_ends_daemons_before_the_call_ends() {
    let _alone = crate::world::turn();
    let program = this_program("hostile::subreaper_program");
    let output = Command::new(program.program).args(program.args).env("TEST_SUBREAPER", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("no daemon was left"), "{text}");
}

/// Not a test: a process that adopts, which cannot be undone for the tests beside it.
#[test]
#[ignore = "started by another test"]
fn subreaper_program() {
    if std::env::var_os("TEST_SUBREAPER").is_none() {
        return;
    }
    alone(|_| async {
        let world = World::new(GuardKind::Program, true);
        for _ in 0..20 {
            let daemon = "(setsid sh -c '(exec sleep 1000) &' >/dev/null 2>&1 &); sleep 0.02; echo fine";
            assert_eq!(show(&run(&world.sh(daemon, |_| ())).await), "ok \"fine\"");
            assert_eq!(world.marked(), 0);
        }
        // Without mark, group and parents: it is ended with the engine, which `alone` checks.
        let escaped = "(setsid env -i sh -c '(exec sleep 1000) &' >/dev/null 2>&1 &); sleep 0.02; echo fine";
        run(&world.sh(escaped, |_| ())).await.unwrap();
        assert_eq!(crate::world::children().len(), 2, "the guard and the daemon");
        println!("\nno daemon was left");
    });
}

#[test]
fn input_that_nobody_reads() {
    alone(|world| async move {
        let much = "x".repeat(1 << 20);
        for script in ["exec <&-; sleep 0.02; echo fine", "echo fine", "head -c 1 >/dev/null; echo fine"] {
            let tool = world.sh(script, |spec| spec.stdin = Stdin::Text(TextTemplate::parse("${args.text}").unwrap()));
            for text in ["short", &much] {
                assert_eq!(show(&run_with(&tool, json!({"text": text})).await), "ok \"fine\"", "{script}");
            }
        }
    });
}

#[test]
fn output_that_is_no_result() {
    alone(|world| async move {
        let mut ends = String::new();
        for (print, kind) in [
            (r#"{"a": [1, 2"#, Stdout::Json),
            (r#"{"a": 1} extra"#, Stdout::Json),
            ("", Stdout::Json),
            (r"caf\351", Stdout::Text),
            (r"a\n\377", Stdout::Lines),
        ] {
            let end = run(&world.sh(&format!("printf '{print}'"), |spec| spec.stdout = kind)).await;
            ends += &format!("{print}: {}\n", show(&end));
        }
        let deep =
            world.sh("head -c 100000 /dev/zero | tr '\\0' '['; head -c 100000 /dev/zero | tr '\\0' ']'", |spec| {
                spec.stdout = Stdout::Json;
            });
        ends += &format!("100,000 deep: {}\n", show(&run(&deep).await));
        expect_test::expect![[r#"
            {"a": [1, 2: permanent output_not_json, reached yes: standard output is json that breaks off: eof while parsing a list at line 1 column 11; make the tool give one json value, or declare it as text
            {"a": 1} extra: permanent output_not_json, reached yes: standard output is not one json value: trailing characters at line 1 column 10; make the tool give one json value, or declare it as text
            : permanent output_not_json, reached yes: standard output is empty where json was expected; make the tool give a value, or declare it as text
            caf\351: permanent output_not_utf8, reached yes: standard output is not utf-8, at byte 3; make the tool give utf-8, or encode what it gives (base64)
            a\n\377: permanent output_not_utf8, reached yes: standard output is not utf-8, at byte 2; make the tool give utf-8, or encode what it gives (base64)
            100,000 deep: permanent output_not_json, reached yes: standard output is json nested deeper than 127 levels, at byte 127
        "#]].assert_eq(&ends);
    });
}

#[test]
fn every_drip_is_a_sign_of_life() {
    alone(|world| async move {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let progress = Progress::every(Duration::ZERO, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let tool = world.sh("for i in 1 2 3 4 5; do echo $i; sleep 0.02; echo $i >&2; sleep 0.02; done", |_| ());
        tool.call(attempt(json!({}), progress).0).await.unwrap();
        assert!(count.load(Ordering::Relaxed) >= 8, "{count:?}");
    });
}

#[test]
fn many_at_once_aborted_together() {
    alone(|world| async move {
        let tool = world.sh("(setsid sleep 1000 >/dev/null 2>&1 &); echo; sleep 1000", |_| ());
        let mut running = Vec::new();
        for _ in 0..40 {
            let (progress, sign) = signs();
            let (attempt, aborted) = attempt(json!({}), progress);
            running.push((tokio::spawn(tool.call(attempt)), aborted, sign));
        }
        for (_, aborted, sign) in &running {
            sign.notified().await;
            aborted.cancel();
        }
        for (end, _, _) in running {
            end.await.unwrap().unwrap_err();
        }
        assert_eq!(world.marked(), 0);
    });
}

#[test]
fn programs_that_cannot_be_started() {
    alone(|world| async move {
        let dir = world.dir.path().display().to_string();
        std::fs::write(world.path("not-a-program"), "text").unwrap();
        let mut ends = String::new();
        let cases: [(&[&str], Option<&str>); 5] = [
            (&["no-such-program-anywhere"], None),
            (&["./no-such-file"], None),
            (&["./not-a-program"], None),
            (&["true"], Some("no/such/dir")),
            (&["echo", "${args.missing}"], None),
        ];
        for (args, cwd) in cases {
            let mut spec = ProcessSpec::new(argv(args));
            spec.base_dir = world.dir.path().into();
            spec.set.insert("PATH".into(), TextTemplate::parse("/usr/bin:/bin").unwrap());
            spec.cwd = cwd.map(|cwd| TextTemplate::parse(cwd).unwrap());
            ends += &format!("{args:?}: {}\n", show(&run(&world.tool(spec)).await).replace(&dir.to_lowercase(), "DIR"));
        }
        let long = world.sh("exit 0 # ${args.text}", |spec| {
            spec.argv = argv(&["true", "${args.text}"]);
        });
        let text = "x".repeat(4 << 20);
        ends += &format!("long: {}\n", show(&run_with(&long, json!({"text": text})).await));
        expect_test::expect![[r#"
            ["no-such-program-anywhere"]: permanent process_not_started, reached no: `no-such-program-anywhere` was not started: no such program in /usr/bin:/bin; install it, or give its path
            ["./no-such-file"]: permanent process_not_started, reached no: `./no-such-file` was not started: no such file or directory (os error 2)
            ["./not-a-program"]: permanent process_not_started, reached no: `./not-a-program` was not started: permission denied (os error 13)
            ["true"]: permanent process_not_started, reached no: `true` was not started: its working directory DIR/no/such/dir does not exist
            ["echo", "${args.missing}"]: permanent argument_missing, reached no: "${args.missing}": args is an object without keys; there is no `missing`
            long: permanent process_not_started, reached no: `true` was not started: argument list too long (os error 7)
        "#]].assert_eq(&ends);
    });
}

fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
