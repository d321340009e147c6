//! Which keys templates name, known and not yet known.
//! It does not know which calls conflict.

use crate::{tool, validate};
use expect_test::expect;
use fanout_plan::{
    ArgsView, Catalog, Effects, EffectsSpec, NamedKey, TextTemplate, ToolKind, ToolboxSpec, first_outside,
};
use serde_json::{Map, Value, json};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Makes paths absolute under `/work` and takes `/link` for `/real`.
fn canon(path: &Path) -> PathBuf {
    let mut whole = PathBuf::from("/");
    for part in Path::new("/work").join(path).components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::Normal(name) => whole.push(name),
            _ => {}
        }
    }
    match whole.strip_prefix("/link") {
        Ok(rest) => Path::new("/real").join(rest),
        Err(_) => whole,
    }
}

fn effects(writes: &str) -> Effects {
    let spec = EffectsSpec { writes: vec![writes.to_owned()], ..EffectsSpec::default() };
    Effects::compile(&spec, Arc::default()).unwrap_or_else(|wrong| panic!("{writes}: {wrong:?}"))
}

fn show(keys: &[NamedKey]) -> String {
    let show = |key: &NamedKey| format!("{} {:?}{}", key.text, key.segments, if key.known { "" } else { " open" });
    keys.iter().map(show).collect::<Vec<_>>().join(" | ")
}

#[test]
fn known_arguments() {
    let args = json!({"path": "a.rs", "abs": "/src//b/", "up": "../etc", "sl": "/link/x", "id": "a/b%", "n": 42, "xs": ["p", "q/r"], "none": [], "o": {"k": [1, 2]}, "null": null});
    let templates = [
        "*",
        "browser",
        "db:orders/42",
        "db:",
        "db:orders/${args.id}",
        "db:orders/${args.n}/x",
        "order-${args.n}",
        "${args.id}",
        "file:${args.path}",
        "file:${args.abs}",
        "file:${args.up}",
        "file:${args.sl}",
        "file:/src/${args.path}",
        "file:/src/${args.xs}",
        "file:src",
        "file:",
        "db:${args.xs}/${args.o.k}",
        "db:${args.none}",
        "file:${args.none}",
        "db:a//b/",
        "http://h/p",
        "db:x/${args.null}/y",
        "db:x-${args.missing}/y",
        "db:$${x}",
        "db:${args.o.k[1]}",
        "file:/",
        "file:/src/${args.missing}",
        "a b/c",
    ];
    let line = |text: &str| format!("{text} → {}\n", show(&effects(text).keys(ArgsView::Known(&args), &canon)));
    expect![[r#"
        * → * []
        browser → browser ["browser"]
        db:orders/42 → db:orders/42 ["db:", "orders", "42"]
        db: → db: ["db:"]
        db:orders/${args.id} → db:orders/a%2Fb%25 ["db:", "orders", "a%2Fb%25"]
        db:orders/${args.n}/x → db:orders/42/x ["db:", "orders", "42", "x"]
        order-${args.n} → order-42 ["order-42"]
        ${args.id} → a%2Fb%25 ["a%2Fb%25"]
        file:${args.path} → file:/work/a.rs ["file:", "work", "a.rs"]
        file:${args.abs} → file:/src/b ["file:", "src", "b"]
        file:${args.up} → file:/etc ["file:", "etc"]
        file:${args.sl} → file:/real/x ["file:", "real", "x"]
        file:/src/${args.path} → file:/src/a.rs ["file:", "src", "a.rs"]
        file:/src/${args.xs} → file:/src/p ["file:", "src", "p"] | file:/src/q/r ["file:", "src", "q", "r"]
        file:src → file:/work/src ["file:", "work", "src"]
        file: → file:/ ["file:"]
        db:${args.xs}/${args.o.k} → db:p/1 ["db:", "p", "1"] | db:p/2 ["db:", "p", "2"] | db:q%2Fr/1 ["db:", "q%2Fr", "1"] | db:q%2Fr/2 ["db:", "q%2Fr", "2"]
        db:${args.none} → 
        file:${args.none} → 
        db:a//b/ → db:a/b ["db:", "a", "b"]
        http://h/p → http:h/p ["http:", "h", "p"]
        db:x/${args.null}/y → db:x/… ["db:", "x"]
        db:x-${args.missing}/y → db:… ["db:"]
        db:$${x} → db:${x} ["db:", "${x}"]
        db:${args.o.k[1]} → db:2 ["db:", "2"]
        file:/ → file:/ ["file:"]
        file:/src/${args.missing} → file:/src/… ["file:", "src"]
        a b/c → a b/c ["a b", "c"]
    "#]].assert_eq(&templates.iter().map(|text| line(text)).collect::<String>());
}

#[test]
fn unknown_arguments() {
    let templates = [
        "*",
        "browser",
        "db:orders/${args.id}",
        "db:orders/${args.id}/x",
        "order-${args.id}",
        "db:${args.id}",
        "db:o-${args.id}",
        "file:${args.path}",
        "file:/src/${args.path}",
        "file:/src/x-${args.path}.rs",
        "file:src/${args.path}",
        "file:s-${args.path}",
        "file:/link/${args.path}",
        "file:/",
    ];
    let line = |text: &str| format!("{text} → {}\n", show(&effects(text).keys(ArgsView::Unknown, &canon)));
    expect![[r#"
        * → * []
        browser → browser ["browser"]
        db:orders/${args.id} → db:orders/… ["db:", "orders"] open
        db:orders/${args.id}/x → db:orders/… ["db:", "orders"] open
        order-${args.id} → … [] open
        db:${args.id} → db:… ["db:"] open
        db:o-${args.id} → db:… ["db:"] open
        file:${args.path} → file:… ["file:"] open
        file:/src/${args.path} → file:/src/… ["file:", "src"] open
        file:/src/x-${args.path}.rs → file:/src/… ["file:", "src"] open
        file:src/${args.path} → file:/work/src/… ["file:", "work", "src"] open
        file:s-${args.path} → file:… ["file:"] open
        file:/link/${args.path} → file:/real/… ["file:", "real"] open
        file:/ → file:/ ["file:"]
    "#]]
    .assert_eq(&templates.iter().map(|text| line(text)).collect::<String>());
}

#[test]
fn arguments_known_in_part() {
    let text = "calls:\n  - {id: f, tool: any}\n  - {id: g, tool: any, args: {a: x, b: \"${f}\", c: {d: 1, e: \"${f.e}\"}, l: [p, \"${f}\"]}, effects: {writes: ['db:${args.a}/${args.b}', 'db:${args.c.d}', 'db:${args.c.e}', 'db:${args.c}', 'db:${args.l[0]}', 'db:${args.l}', 'file:/src/${args.a}/${args.b}', 'db:t/${args.zip}']}}\n  - {id: lit, tool: file.write, args: {path: q}}\n";
    let plan = validate("p.yaml", text.as_bytes(), Map::new()).expect("fine");
    let keys = |call: usize| plan.calls[call].effects.keys(ArgsView::Partial(&plan.calls[call].args), &canon);
    expect![[r#"
        db:x/… ["db:", "x"] open
        db:1 ["db:", "1"]
        db:… ["db:"] open
        db:… ["db:"] open
        db:p ["db:", "p"]
        db:… ["db:"] open
        file:/src/x/… ["file:", "src", "x"] open
        db:t/… ["db:", "t"]
    "#]]
    .assert_eq(&keys(1).iter().map(|key| show(std::slice::from_ref(key)) + "\n").collect::<String>());
    assert_eq!(show(&keys(2)), r#"file:/work/q ["file:", "work", "q"]"#);
}

#[test]
fn a_resolved_key_outside_what_was_announced_is_found() {
    let effects = effects("file:/src/${args.path}");
    let announced = effects.keys(ArgsView::Unknown, &canon);
    let outside = |path: &str| {
        first_outside(&announced, &effects.keys(ArgsView::Known(&json!({"path": path})), &canon))
            .map(|key| key.text.to_string())
    };
    assert_eq!(outside("a/b"), None);
    assert_eq!(outside("a/../b"), None);
    assert_eq!(outside("../src2/b"), Some("file:/src2/b".to_owned()));
}

#[test]
fn overlap_is_by_segments() {
    let key = |text: &str| effects(text).keys(ArgsView::Unknown, &canon).remove(0);
    for (a, b, overlap) in [
        ("file:/src", "file:/src/a.rs", true),
        ("file:/src", "file:/src2", false),
        ("*", "db:x", true),
        ("file:/", "file:/x", true),
        ("db:x", "file:/x", false),
        ("db:", "db:x", true),
        ("order-${args.x}", "db:x", true),
    ] {
        assert_eq!(key(a).overlaps(&key(b)), overlap, "{a} {b}");
        assert_eq!(key(b).overlaps(&key(a)), overlap, "{b} {a}");
    }
}

fn undeclared(kind: ToolKind, key: Option<&str>) -> String {
    let declared = |key: &str| Some(EffectsSpec { reads: vec![key.to_owned()], ..EffectsSpec::default() });
    let any = || json!({"type": "object"});
    let mut plain = tool("t.plain", any(), None);
    plain.kind = kind;
    let tools = vec![
        plain,
        tool("t.a", any(), declared("db:orders/${args.id}")),
        tool("t.b", any(), declared("file:/src/${args.p}")),
        tool("t.c", any(), Some(EffectsSpec::default())),
    ];
    let toolbox = ToolboxSpec { name: "t".into(), key: key.map(str::to_owned), tools, ..ToolboxSpec::default() };
    let catalog = Catalog::new([toolbox]).expect("it compiles");
    assert!(catalog.tools()[0].undeclared && !catalog.tools()[3].undeclared && catalog.tools()[3].effects.repeatable());
    show(&catalog.tools()[0].effects.keys(ArgsView::Unknown, &canon))
}

#[test]
fn what_declares_nothing_writes_what_its_siblings_touch() {
    expect![[r#"t ["t"] | db:orders ["db:", "orders"] | file:/src ["file:", "src"]"#]]
        .assert_eq(&undeclared(ToolKind::Native, None));
    expect![[r#"repo ["repo"] | db:orders ["db:", "orders"] | file:/src ["file:", "src"]"#]]
        .assert_eq(&undeclared(ToolKind::Native, Some("repo")));
    expect!["* []"].assert_eq(&undeclared(ToolKind::Process, None));
    // Somebody said what the toolbox is over.
    assert_eq!(undeclared(ToolKind::Process, Some("repo")), undeclared(ToolKind::Native, Some("repo")));
}

#[test]
fn defaults_of_arguments_count() {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string", "default": "out.txt"}}});
    let effects = EffectsSpec { writes: vec!["file:${args.path}".into()], ..EffectsSpec::default() };
    let catalog =
        Catalog::new([ToolboxSpec { tools: vec![tool("w", schema, Some(effects))], ..ToolboxSpec::default() }])
            .expect("it compiles");
    let keys = |args: Value| show(&catalog.tools()[0].effects.keys(ArgsView::Known(&args), &canon));
    assert_eq!(keys(json!({})), r#"file:/work/out.txt ["file:", "work", "out.txt"]"#);
    assert_eq!(keys(json!({"path": "x"})), r#"file:/work/x ["file:", "work", "x"]"#);
}

#[test]
fn a_directory_that_depends_on_arguments_is_followed() {
    let properties = json!({"repo": {"type": "string"}, "path": {"type": "string"}, "x": {}});
    let keys = |text: &str, args: Value| {
        let effects = EffectsSpec { writes: vec![text.to_owned()], ..EffectsSpec::default() };
        let mut works = tool("w", json!({"type": "object", "properties": properties}), Some(effects));
        works.base_dir = Some(Path::new("/base").into());
        works.cwd = Some(TextTemplate::parse("in/${args.repo}").expect("a template"));
        let plain = tool("plain", json!({"type": "object"}), None);
        let catalog = Catalog::new([ToolboxSpec { tools: vec![works, plain], ..ToolboxSpec::default() }]);
        let catalog = catalog.expect("it compiles");
        let mut shown = String::new();
        if args.is_null() {
            shown = show(&catalog.tools()[0].effects.keys(ArgsView::Unknown, &canon)) + " | without effects: ";
        }
        let tool = usize::from(args.is_null());
        shown + &show(&catalog.tools()[tool].effects.keys(ArgsView::Known(&args), &canon))
    };
    let line = |text: &str, args: Value| format!("{text} {args} → {}\n", keys(text, args.clone()));
    let all = json!({"path": "a", "repo": "r"});
    expect![[r#"
        file:${args.path} {"path":"a","repo":"r"} → file:/base/in/r/a ["file:", "base", "in", "r", "a"]
        file:.git {"path":"a","repo":"r"} → file:/base/in/r/.git ["file:", "base", "in", "r", ".git"]
        file:.git {"repo":"/r"} → file:/base/in/r/.git ["file:", "base", "in", "r", ".git"]
        file:.git {} → file:… ["file:"]
        file:/abs/${args.path} {"path":"a"} → file:/abs/a ["file:", "abs", "a"]
        file:${args.path} {"path":"/abs"} → file:/abs ["file:", "abs"]
        file:src/${args.x} {"repo":"r"} → file:/base/in/r/src/… ["file:", "base", "in", "r", "src"]
        file:src/${args.x} null → file:… ["file:"] open | without effects: * [] | file:/ ["file:"]
        file:/src/${args.x} null → file:/src/… ["file:", "src"] open | without effects: * [] | file:/src ["file:", "src"]
        file:${args.x} null → file:… ["file:"] open | without effects: * [] | file:/ ["file:"]
    "#]]
    .assert_eq(
        &[
            line("file:${args.path}", all.clone()),
            line("file:.git", all),
            line("file:.git", json!({"repo": "/r"})),
            line("file:.git", json!({})),
            line("file:/abs/${args.path}", json!({"path": "a"})),
            line("file:${args.path}", json!({"path": "/abs"})),
            line("file:src/${args.x}", json!({"repo": "r"})),
            line("file:src/${args.x}", Value::Null),
            line("file:/src/${args.x}", Value::Null),
            line("file:${args.x}", Value::Null),
        ]
        .concat(),
    );
}

#[test]
fn bad_templates_are_refused() {
    for text in ["", "db:${x}", "db:${args}", "db:${args.x", "db:*/x", "db:${args.x[*]}"] {
        let spec = EffectsSpec { reads: vec![text.to_owned()], ..EffectsSpec::default() };
        assert!(Effects::compile(&spec, Arc::default()).is_err(), "{text}");
    }
}
