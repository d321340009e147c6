//! How a program is started: arguments, input, environment, directory, and what its end says about cost.
//! It does not know programs that misbehave.

use crate::world::{alone, argv, run, run_with, show};
use expect_test::expect;
use fanout_plan::{ProcessSpec, Stdin, Stdout, TextTemplate};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn text(template: &str) -> TextTemplate {
    TextTemplate::parse(template).unwrap()
}

#[test]
fn arguments_are_never_read_by_a_shell() {
    alone(|world| async move {
        let mut spec = ProcessSpec::new(argv(&["printf", "<%s>", "${args.x}", "${args.list}"]));
        spec.base_dir = world.dir.path().into();
        let args = json!({"x": "$(touch oops); `id` \"' *", "list": ["a b", 1, ""]});
        let end = run_with(&world.tool(spec), args).await;
        expect![[r#"ok "<$(touch oops); `id` \"' *><a b><1><>""#]].assert_eq(&show(&end));
        assert!(!world.path("oops").exists());
    });
}

#[test]
fn input_by_kind() {
    alone(|world| async move {
        let args = json!({"x": "a\nb", "list": ["one", 2]});
        let mut ends = String::new();
        for stdin in [Stdin::None, Stdin::Json, Stdin::Text(text("<${args.x}>")), Stdin::Lines(text("${args.list}"))] {
            let tool = world.sh("cat", |spec| spec.stdin = stdin.clone());
            ends += &format!("{stdin:?}: {}\n", show(&run_with(&tool, args.clone()).await));
        }
        let torn = world.sh("cat", |spec| spec.stdin = Stdin::Lines(text("${args.list}")));
        ends += &format!("torn: {}\n", show(&run_with(&torn, json!({"list": ["a\nb"]})).await));
        expect![[r#"
            None: ok ""
            Json: ok "{\"x\":\"a\\nb\",\"list\":[\"one\",2]}"
            Text("<${args.x}>"): ok "<a\nb>"
            Lines("${args.list}"): ok "one\n2"
            torn: permanent argument_newline, reached no: "a\nb" holds a line end and cannot be one line of standard input
        "#]].assert_eq(&ends);
    });
}

#[test]
fn a_large_input_flows_while_output_does() {
    alone(|world| async move {
        let tool = world.sh("cat", |spec| {
            spec.stdin = Stdin::Text(text("${args.x}"));
            spec.inline_max = 8 << 20;
        });
        let much = "0123456789".repeat(400_000);
        let output = run_with(&tool, json!({"x": much})).await.unwrap();
        assert_eq!(serde_json::from_str::<String>(output.value.get()).unwrap(), much);
    });
}

#[test]
fn the_environment_is_what_is_listed() {
    alone(|world| async move {
        let tool = world.sh("exec env", |spec| {
            spec.argv = argv(&["env"]);
            spec.stdout = Stdout::Lines;
            spec.env = vec!["PATH".into(), "NOT_SET_ANYWHERE".into()];
            spec.set.insert("GREETING".into(), text("hello ${args.name}"));
            spec.set.insert("FANOUT_ENGINE".into(), text("a lie"));
        });
        let output = run_with(&tool, json!({"name": "you"})).await.unwrap();
        let mut lines: Vec<String> = serde_json::from_str(output.value.get()).unwrap();
        lines.sort();
        let lines: Vec<String> = lines
            .iter()
            .map(|line| match line.split_once('=').unwrap() {
                ("FANOUT_IDEMPOTENCY_KEY", key) if key.len() == 64 => "FANOUT_IDEMPOTENCY_KEY=…".into(),
                ("FANOUT_ATTEMPT", number) if number.parse::<u32>().is_ok() => "FANOUT_ATTEMPT=…".into(),
                ("PATH", _) => "PATH=…".into(),
                ("FANOUT_ENGINE", id) if id == world.processes.engine_id() => "FANOUT_ENGINE=…".into(),
                _ => line.clone(),
            })
            .collect();
        expect!["FANOUT_ATTEMPT=… FANOUT_CALL=call[3] FANOUT_ENGINE=… FANOUT_IDEMPOTENCY_KEY=… FANOUT_RUN=run-1 GREETING=hello you PATH=…"]
            .assert_eq(&lines.join(" "));
    });
}

#[test]
fn descriptors_do_not_leak_into_programs() {
    alone(|world| async move {
        let _open = std::fs::File::open("/dev/null").unwrap();
        let tool = world.sh("ls /proc/self/fd", |spec| {
            spec.argv = argv(&["ls", "/proc/self/fd"]);
            spec.stdout = Stdout::Lines;
        });
        let output = run(&tool).await.unwrap();
        let seen: Vec<String> = serde_json::from_str(output.value.get()).unwrap();
        // What this process itself was given by whoever started it is passed on; nothing else is.
        let given = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
        let given: Vec<String> = String::from_utf8(given.stdout).unwrap().lines().map(String::from).collect();
        assert_eq!(seen, given);
        assert!(seen.len() < std::fs::read_dir("/proc/self/fd").unwrap().count());
    });
}

#[test]
fn directories() {
    alone(|world| async move {
        std::fs::create_dir(world.path("sub")).unwrap();
        let base = world.dir.path().canonicalize().unwrap();
        for (cwd, expected) in [(None, base.clone()), (Some("sub"), base.join("sub")), (Some("/"), "/".into())] {
            let tool = world.sh("pwd -P", |spec| spec.cwd = cwd.map(text));
            assert_eq!(run(&tool).await.unwrap().value.get(), json!(expected).to_string());
        }
    });
}

#[test]
fn exit_codes_as_declared() {
    alone(|world| async move {
        let tool = world.sh("exit ${args.code}", |spec| {
            spec.argv = argv(&["sh", "-c", "echo $0; exit $0", "${args.code}"]);
            spec.success = vec![0, 1];
            spec.transient = vec![75];
        });
        let mut ends = String::new();
        for code in [0, 1, 2, 75] {
            ends += &format!("{}\n", show(&run_with(&tool, json!({"code": code})).await));
        }
        expect![[r#"
            ok "0"
            ok "1"
            permanent process_exit, reached yes: `sh` exited with code 2
            transient process_exit, reached yes: `sh` exited with code 75
        "#]]
        .assert_eq(&ends);
    });
}

#[test]
fn the_kernel_counts() {
    alone(|world| async move {
        // More than other tests make this process take: up to that a child's memory cannot be told from its parent's.
        let mut spec = ProcessSpec::new(argv(&[
            "python3",
            "-c",
            "import time\nx = bytearray(700_000_000)\nwhile time.process_time() < 0.2: pass",
        ]));
        spec.env = vec!["PATH".into(), "HOME".into()];
        let usage = run(&world.tool(spec)).await.unwrap().usage.unwrap();
        assert!(usage.cpu >= Duration::from_millis(190), "{usage:?}");
        assert!((700_000_000..950_000_000).contains(&usage.memory_bytes_max), "{usage:?}");
        let small = run(&world.sh("exit 0", |_| ())).await.unwrap().usage.unwrap();
        assert!(small.memory_bytes_max < 700_000_000, "{small:?}");
    });
}

#[test]
fn defaults_of_arguments_are_filled_in() {
    alone(|world| async move {
        let tool = world.sh("cat", |spec| {
            spec.stdin = Stdin::Json;
            spec.stdout = Stdout::Json;
            spec.defaults.insert("n".into(), json!(5));
        });
        let value = |output: fanout_tools::ToolOutput| serde_json::from_str::<Value>(output.value.get()).unwrap();
        assert_eq!(value(run(&tool).await.unwrap()), json!({"n": 5}));
        assert_eq!(value(run_with(&tool, json!({"n": 6})).await.unwrap()), json!({"n": 6}));
    });
}

#[test]
#[ignore = "measures; run it alone with --release"]
fn cost_of_a_process() {
    alone(|world| async move {
        let mut spec = ProcessSpec::new(argv(&["/bin/true"]));
        spec.base_dir = "/".into();
        let tool = world.tool(spec);
        run(&tool).await.unwrap();
        let measured = tokio::spawn(async move {
            let (mut bare, mut ours, n) = (Duration::ZERO, Duration::ZERO, 1000);
            for _ in 0..n {
                let began = Instant::now();
                let mut command = Command::new("/bin/true");
                command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().unwrap().wait().unwrap();
                bare += began.elapsed();
                let began = Instant::now();
                run(&tool).await.unwrap();
                ours += began.elapsed();
            }
            eprintln!("bare {:?}, tool {:?}, ratio {:.2}", bare / n, ours / n, ours.as_secs_f64() / bare.as_secs_f64());
        });
        measured.await.unwrap();
    });
}
