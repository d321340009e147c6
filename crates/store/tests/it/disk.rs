//! Disks that are full, small or read-only: the writer stops with a code, and what was acknowledged can be read.
//! It does not know disks that lie.

use crate::child::{SAID, after_shell};
use crate::made::{batch, begin, facts, numbered, quiet};
use fanout_store::Reader;
use std::path::Path;
use std::process::Command;

/// What a child said, line by line; `None` when it could not do so here (no namespaces, say).
fn said(mut command: Command) -> Option<Vec<String>> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<String> = text.lines().filter_map(|line| Some(line.split(SAID).nth(1)?.to_owned())).collect();
    (!lines.is_empty()).then_some(lines)
}

#[test]
fn a_file_that_may_not_grow_stops_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    // Files of at most 400 blocks of 512 bytes; the signal that comes with it is ignored.
    let lines = said(after_shell("trap '' XFSZ && ulimit -f 400", "writes_until_full", dir.path())).unwrap();
    let words: Vec<&str> = lines.last().unwrap().split(' ').collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(words[1..].iter().all(|code| *code == "state_io"), "{lines:?}");
    let reader = Reader::open(dir.path()).unwrap();
    let (found, error) = facts(&reader, "a");
    assert_eq!(error, None);
    assert!(found.len() >= words[0].parse().unwrap(), "{} {words:?}", found.len());
    assert!(found.len() >= 100, "{}", found.len());
    assert_eq!(reader.check().unwrap(), []);
    drop(reader);
    // And a process that may write goes on.
    let journal = quiet(dir.path());
    let run = journal.take("a", |_| Ok(())).unwrap();
    journal.append(batch(&run, [numbered(1)])).unwrap();
    journal.flush().unwrap();
}

#[test]
fn a_full_disk_stops_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    // What is left is copied out before the file system ends with its namespace.
    let mount = "mount -t tmpfs -o size=600k none \"$FANOUT_STORE_TEST_DIR\"";
    let Some(lines) = said(in_namespace(mount, "writes_until_full", &small, dir.path())) else {
        // No namespaces here; the test above covers what can be shown without.
        return;
    };
    let words: Vec<&str> = lines.last().unwrap().split(' ').collect();
    assert!(words[1..].iter().all(|code| *code == "state_full"), "{lines:?}");
    let reader = Reader::open(&dir.path().join("kept")).unwrap();
    let (found, error) = facts(&reader, "a");
    assert_eq!(error, None);
    assert!(found.len() >= words[0].parse().unwrap() && found.len() >= 100, "{} {words:?}", found.len());
    assert_eq!(reader.check().unwrap(), []);
}

#[test]
fn a_read_only_disk_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let journal = quiet(&data);
    let run = begin(&journal, "a");
    journal.append(batch(&run, (0..9).map(numbered))).unwrap();
    journal.flush().unwrap();
    // With the log that a process leaves that was killed: not yet in the database.
    let left = dir.path().join("left");
    assert!(Command::new("cp").arg("-r").args([&data, &left]).status().unwrap().success());
    std::fs::remove_file(left.join("journal.db-shm")).unwrap();
    drop((run, journal));
    for (dir, base) in [(&data, "closed"), (&left, "killed")] {
        let mount = "mount --bind \"$FANOUT_STORE_TEST_DIR\" \"$FANOUT_STORE_TEST_DIR\" && \
                     mount -o remount,ro,bind \"$FANOUT_STORE_TEST_DIR\"";
        let Some(lines) = said(in_namespace(mount, "opens", dir, dir)) else { return };
        assert_eq!(lines, ["state_read_only 9 None held would"], "{base}");
    }
}

/// The child in a mount namespace of its own, in which `mount` is done first.
fn in_namespace(mount: &str, name: &str, dir: &Path, keep: &Path) -> Command {
    let plain = after_shell("true", name, dir);
    let rest: Vec<_> = plain.get_args().skip(2).collect();
    let mut command = Command::new("unshare");
    let keep = format!("cp -r \"$FANOUT_STORE_TEST_DIR\" '{}' 2>/dev/null || true", keep.join("kept").display());
    command.args(["-rm", "sh", "-c", &format!("{mount} || exit 1; \"$0\" \"$@\"; {keep}")]).args(rest);
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}
