//! Results: text, lines and JSON, small and spilled to a file.
//! It does not know how programs are started or ended.

use crate::world::{World, alone, run, show};
use expect_test::expect;
use fanout_plan::Stdout;
use serde_json::Value;

#[test]
fn printed_text_becomes_a_result() {
    alone(|world| async move {
        let mut ends = String::new();
        for (print, kind) in [
            (r"one\ntwo\n", Stdout::Text),
            (r"one\r\n", Stdout::Text),
            (r"one\n\n", Stdout::Text),
            (r"quote\042 caf\303\251", Stdout::Text),
            (r"one\ntwo\n", Stdout::Lines),
            (r"one\r\n\ntwo", Stdout::Lines),
            ("", Stdout::Lines),
            (r" {\042a\042: [1, 2.50, null]}\n", Stdout::Json),
            (r"17\n", Stdout::Json),
        ] {
            let end = run(&world.sh(&format!("printf '{print}'"), |spec| spec.stdout = kind)).await;
            ends += &format!("{kind:?} {print}: {}\n", show(&end));
        }
        expect![[r#"
            Text one\ntwo\n: ok "one\ntwo"
            Text one\r\n: ok "one"
            Text one\n\n: ok "one\n"
            Text quote\042 caf\303\251: ok "quote\" café"
            Lines one\ntwo\n: ok ["one","two"]
            Lines one\r\n\ntwo: ok ["one","","two"]
            Lines : ok []
            Json  {\042a\042: [1, 2.50, null]}\n: ok {"a": [1, 2.50, null]}
            Json 17\n: ok 17
        "#]]
        .assert_eq(&ends);
    });
}

#[test]
fn a_large_result_is_spilled() {
    alone(|world| async move {
        for (kind, script) in [
            (Stdout::Text, "head -c 300000 /dev/zero | tr '\\0' x"),
            (Stdout::Lines, "i=0; while [ $i -lt 20000 ]; do echo line é $i; i=$((i+1)); done"),
            (Stdout::Json, "printf '['; head -c 150000 /dev/zero | sed 's/\\x00/1,/g'; printf '2]'"),
        ] {
            let value = spilled(&world, kind, script).await;
            let file = std::fs::read(value["path"].as_str().unwrap()).unwrap();
            assert_eq!(value["bytes"].as_u64().unwrap(), file.len() as u64);
            let head = value["head"].as_str().unwrap();
            assert!(file.starts_with(head.as_bytes()) && head.len() > 4000, "{}", head.len());
            if kind == Stdout::Json {
                let numbers: Vec<u8> = serde_json::from_slice(&file).unwrap();
                assert_eq!(numbers.len(), 150_001);
            }
        }
    });
}

#[test]
fn a_large_result_that_cannot_be_read_leaves_no_file() {
    alone(|world| async move {
        let mut ends = String::new();
        for (kind, script) in [
            (Stdout::Text, "head -c 200000 /dev/zero | tr '\\0' x; printf '\\377'; head -c 9 /dev/zero"),
            (Stdout::Text, "head -c 200000 /dev/zero | tr '\\0' x; printf '\\303'"),
            (Stdout::Json, "head -c 200000 /dev/zero | tr '\\0' ['"),
            (Stdout::Json, "printf '\"'; head -c 200000 /dev/zero | tr '\\0' x; printf '\" 1'"),
            (Stdout::Text, "head -c 200000 /dev/zero | tr '\\0' x; exit 1"),
        ] {
            let tool = world.sh(&script.replace("['", "["), |spec| {
                spec.stdout = kind;
                spec.inline_max = 100_000;
            });
            ends += &format!("{}\n", show(&run(&tool).await));
        }
        expect![[r#"
            permanent output_not_utf8, reached yes: standard output is not utf-8, at byte 200000; make the tool give utf-8, or encode what it gives (base64)
            permanent output_not_utf8, reached yes: standard output is not utf-8, at byte 200000; make the tool give utf-8, or encode what it gives (base64)
            permanent output_not_json, reached yes: standard output is json that breaks off: eof while parsing a list at line 1 column 200000; make the tool give one json value, or declare it as text
            permanent output_not_json, reached yes: standard output is not one json value: trailing characters at line 1 column 200004; make the tool give one json value, or declare it as text
            permanent process_exit, reached yes: `sh` exited with code 1
        "#]].assert_eq(&ends);
        assert_eq!(std::fs::read_dir(world.path("spill")).unwrap().count(), 0);
    });
}

#[test]
fn the_limit_itself_is_inline() {
    alone(|world| async move {
        let tool = |n: u32| world.sh(&format!("head -c {n} /dev/zero | tr '\\0' x"), |spec| spec.inline_max = 100_000);
        assert_eq!(show(&run(&tool(100_000)).await).len(), 100_000 + "ok \"\"".len());
        assert!(show(&run(&tool(100_001)).await).contains("spilled"));
    });
}

#[test]
fn a_spill_directory_that_cannot_be_written_is_an_error() {
    alone(|world| async move {
        std::fs::write(world.path("spill"), "in the way").unwrap();
        let tool = world.sh("head -c 300000 /dev/zero", |spec| spec.inline_max = 1000);
        let error = run(&tool).await.unwrap_err();
        assert_eq!(error.code, "spill_failed");
    });
}

async fn spilled(world: &World, kind: Stdout, script: &str) -> Value {
    let tool = world.sh(script, |spec| {
        spec.stdout = kind;
        spec.inline_max = 100_000;
    });
    let output = run(&tool).await.unwrap();
    let value: Value = serde_json::from_str(output.value.get()).unwrap();
    value["spilled"].clone()
}
