//! Ctrl-C, TERM, HUP and KILL: what runs is let end, or ended, and nothing is left.
//! It does not know how processes are found.

use fanout_tests::{Ended, Folder, bearing, until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::Child;

/// A tool that says it began, waits to be let go, and leaves processes of its own: one in its group, one that
/// shed it.
fn folder(mark: &str) -> Folder {
    let folder = Folder::with_plan(&format!(
        "name: signals
tools:
  wait: {{argv: [sh, wait.sh], set: {{MARK: {mark}}}, effects: none, grace: 1s}}
  say: {{argv: [echo, done], effects: none}}
calls:
  - {{id: first, tool: wait}}
  - {{id: second, tool: say, after: [first]}}
output: '${{first}}'"
    ));
    folder.write(
        "wait.sh",
        "sleep 600 & setsid sleep 600 &\ntouch began\nwhile [ ! -e go ]; do sleep 0.02; done\nkill %1 2>/dev/null\necho first is done\nexit 0\n",
    );
    folder
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

fn began(folder: &Folder) {
    until("the tool began", || folder.path("began").exists());
}

/// Reads standard error until it has these words.
fn read_until(child: &mut Child, words: &str) -> String {
    let stderr = child.stderr.as_mut().unwrap();
    let (mut said, mut byte) = (Vec::new(), [0]);
    while stderr.read(&mut byte).unwrap() == 1 {
        said.push(byte[0]);
        if said.ends_with(words.as_bytes()) {
            break;
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn end(child: Child) -> Ended {
    Ended::from(child.wait_with_output().unwrap())
}

#[test]
fn the_first_ctrl_c_lets_running_calls_end() {
    let folder = folder("drain_1f3a");
    let mut child = folder.start(["run", "plan.yaml"]);
    began(&folder);
    signal(&child, Signal::INT);
    read_until(&mut child, "nothing new starts");
    folder.write("go", "");
    let ended = end(child).with_code(4);
    assert_eq!(ended.stdout, "\"first is done\"\n", "{}", ended.stderr);
    assert!(ended.stderr.contains("1 cancelled"), "{}", ended.stderr);
    until("nothing is left", || bearing("MARK=drain_1f3a") == 0);
}

#[test]
fn the_second_ctrl_c_ends_them() {
    let folder = folder("kill_77c2");
    let mut child = folder.start(["run", "plan.yaml"]);
    began(&folder);
    signal(&child, Signal::INT);
    read_until(&mut child, "nothing new starts");
    signal(&child, Signal::INT);
    let ended = end(child).with_code(130);
    assert_eq!(ended.stdout, "null\n");
    assert_eq!(bearing("MARK=kill_77c2"), 0, "at its end nothing is left");
}

#[test]
fn term_and_hup_end_them_at_once() {
    for (number, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mark = format!("signal_{code}");
        let folder = folder(&mark);
        let child = folder.start(["run", "plan.yaml"]);
        began(&folder);
        assert!(bearing(&format!("MARK={mark}")) >= 3);
        signal(&child, number);
        end(child).with_code(code);
        assert_eq!(bearing(&format!("MARK={mark}")), 0, "at its end nothing is left");
    }
}

#[test]
fn when_fanout_is_killed_nothing_is_left() {
    let folder = folder("sigkill_9d01");
    let child = folder.start(["run", "plan.yaml"]);
    began(&folder);
    assert!(bearing("MARK=sigkill_9d01") >= 3);
    signal(&child, Signal::KILL);
    assert_eq!(end(child).code, None);
    until("nothing is left", || bearing("MARK=sigkill_9d01") == 0);
}
