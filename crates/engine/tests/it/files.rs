//! Keys of files: spellings, links, directories, and what they lead to.
//! It does not know what is in the files.

use crate::{run, stubs, timeline};
use expect_test::expect;
use fanout::{Engine, Native};
use serde::Deserialize;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Deserialize, schemars::JsonSchema)]
struct File {
    path: PathBuf,
    #[serde(default)]
    to: PathBuf,
}

/// Tools over the files of a directory: each takes 10 ms between reading and writing.
fn engine(dir: &Path) -> Engine {
    let mut tools = Native::new("");
    let base: Arc<Path> = dir.into();
    let edit_in = |dir: PathBuf| {
        move |args: File| {
            let path = dir.join(args.path);
            async move {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                tokio::time::sleep(Duration::from_millis(10)).await;
                std::fs::write(&path, format!("{text}x"))?;
                Ok(text.len() + 1)
            }
        }
    };
    tools.add("edit", "Adds to a file.", edit_in(base.to_path_buf())).writes("file:${args.path}");
    tools.add("edit_in", "Adds to a file of `real`.", edit_in(base.join("real"))).writes("file:real/${args.path}");
    let relink = move |args: File| {
        let (link, to) = (base.join(args.path), base.join(args.to));
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            std::fs::remove_file(&link)?;
            Ok(symlink(to, link)?)
        }
    };
    tools.add("relink", "Lets a link lead elsewhere.", relink).writes("file:.");
    stubs::build(
        Engine::builder().toolbox(tools.into()).toolbox(stubs::toolbox(&stubs::Store::default())).base_dir(dir),
    )
}

fn dir() -> std::io::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir_all(dir.path().join("real/sub"))?;
    std::fs::create_dir_all(dir.path().join("other"))?;
    symlink("real", dir.path().join("link"))?;
    Ok(dir)
}

async fn timeline_in(dir: &tempfile::TempDir, plan: &str) -> std::io::Result<String> {
    let report = run(&engine(dir.path()), plan).await;
    let base = std::fs::canonicalize(dir.path())?;
    Ok(timeline(&report).replace(&base.display().to_string(), "DIR"))
}

#[tokio::test(start_paused = true)]
async fn all_spellings_of_a_file_are_one_key() -> std::io::Result<()> {
    let dir = dir()?;
    let plan = r#"
name: spellings
calls:
  - {id: p, tool: sleep, args: {value: "real/sub/../a"}}
  - {id: a, tool: edit, args: {path: real/a}}
  - {id: b, tool: edit, args: {path: ./link/a}}
  - {id: c, tool: edit, args: {path: "${p}"}}
  - {id: d, tool: edit, args: {path: other/a}}
  - {id: e, tool: edit_in, args: {path: a}}
"#;
    expect![[r#"
        p      0..0 succeeded "real/sub/../a"
        a      0..10 succeeded 1
        b      10..20 succeeded 2 [key a file:DIR/real/a 10]
        c      20..30 succeeded 3 [key a file:DIR/real/a 10] [key b file:DIR/real/a 10]
        d      0..10 succeeded 1
        e      30..40 succeeded 4 [key a file:DIR/real/a 20] [key c file:DIR/real/a 10]
        succeeded 40 of 50: a b c e"#]]
    .assert_eq(&timeline_in(&dir, plan).await?);
    assert_eq!(std::fs::read_to_string(dir.path().join("real/a"))?, "xxxx");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_path_that_leaves_what_was_announced_is_refused() -> std::io::Result<()> {
    let dir = dir()?;
    symlink(dir.path().join("other"), dir.path().join("real/out"))?;
    let plan = r#"
name: outside
calls:
  - {id: p, tool: sleep, args: {value: "../other/a"}}
  - {id: q, tool: sleep, args: {value: "out/a"}}
  - {id: a, tool: edit_in, args: {path: "${p}"}}
  - {id: b, tool: edit_in, args: {path: "${q}"}}
  - {id: c, tool: edit_in, args: {path: sub/a}}
"#;
    expect![[r#"
        p      0..0 succeeded "../other/a"
        q      0..0 succeeded "out/a"
        a      -..0 failed key_outside_prefix: its key `file:DIR/other/a` lies outside what its effects announced before its arguments were known (file:DIR/real/…); a path that leaves a directory by `..` or a link needs a key that covers where it leads
        b      -..0 failed key_outside_prefix: its key `file:DIR/other/a` lies outside what its effects announced before its arguments were known (file:DIR/real/…); a path that leaves a directory by `..` or a link needs a key that covers where it leads
        c      0..10 succeeded 1
        failed 10 of 10: c"#]].assert_eq(&timeline_in(&dir, plan).await?);
    assert!(!dir.path().join("other/a").exists());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn keys_are_named_anew_when_a_writer_may_have_moved_a_link() -> std::io::Result<()> {
    let dir = dir()?;
    let plan = r#"
name: moved
calls:
  - {id: a, tool: relink, args: {path: link, to: other}}
  - {id: b, tool: edit, args: {path: link/a}}
  - {id: c, tool: edit, args: {path: other/a}}
"#;
    expect![[r#"
        a      0..10 succeeded null
        b      10..20 succeeded 1 [key a file:DIR/other/a 10]
        c      20..30 succeeded 2 [key a file:DIR/other/a 10] [key b file:DIR/other/a 10]
        succeeded 30 of 30: a b c"#]]
    .assert_eq(&timeline_in(&dir, plan).await?);
    assert_eq!(std::fs::read_to_string(dir.path().join("other/a"))?, "xx");
    Ok(())
}
