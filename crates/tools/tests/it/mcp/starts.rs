//! Servers started and stopped over and over, in all the ways a start and a stop can go: nothing of them is left.
//! It does not know how a process is held.

use super::{Place, call, declared};
use crate::world::{alone, bearing, descriptors, eventually_async};
use fanout_plan::{McpCommand, McpSource, McpText, McpTransport};
use fanout_tools::{Reached, Toolbox};
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// So many servers are started.
const STARTS: usize = 1_000;
/// So many at a time.
const AT_ONCE: usize = 10;
/// The variable by which what is left is found.
const MARK: &str = "TEST_MCP_STARTS";

/// A server that costs next to nothing: a shell that reads lines. What it does before that is its first argument.
const SERVER: &str = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$1"; }
said() { answer "\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"$1\"}]}"; }
eval "$1"
while IFS= read -r line; do
    id=${line#*'"id":'} id=${id%%[,\}]*}
    case $line in
    *'"server/discover"'*) answer '"error":{"code":-32601,"message":"no such method"}' ;;
    *'"initialize"'*)
        answer '"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}'
        [ "$1" != leave ] || exit 3 ;;
    *'"tools/list"'*)
        tools=
        for tool in pid hang killed; do tools="$tools,{\"name\":\"$tool\",\"inputSchema\":{\"type\":\"object\"}}"; done
        answer "\"result\":{\"tools\":[${tools#,}]}" ;;
    *'"pid"'*) said $$ ;;
    *'"killed"'*) kill -KILL $$ ;;
    esac
done
[ "$1" != stay ] || { trap '' TERM; while :; do sleep 600; done; }
"#;

/// What becomes of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It is called, and ends with its toolbox.
    Well,
    /// The same, with a child that holds its output open, or one in a session of its own.
    WithChild,
    WithDaemon,
    /// It is killed in the middle of a call; the next call starts another.
    Killed,
    /// Its toolbox goes while a call of it runs.
    LeftAlone,
    /// It ends as soon as it was greeted.
    Leaves,
    /// It never answers, and whoever opened it gives up.
    GivenUp,
    /// It does not end when it is asked to.
    Stays,
}

impl Fate {
    fn of(at: usize) -> Fate {
        match at % 50 {
            47 => Fate::Stays,
            48 => Fate::GivenUp,
            49 => Fate::Leaves,
            rest => {
                [Fate::Well, Fate::Well, Fate::WithChild, Fate::Killed, Fate::WithDaemon, Fate::LeftAlone][rest % 6]
            }
        }
    }

    /// What the server does first.
    fn begins(self) -> &'static str {
        match self {
            Fate::WithChild => "sleep 600 &",
            Fate::WithDaemon => "setsid sleep 600 </dev/null >/dev/null 2>&1 &",
            Fate::Leaves => "leave",
            Fate::GivenUp => "sleep 600",
            Fate::Stays => "stay",
            _ => ":",
        }
    }
}

fn source(place: &Place, begins: &str) -> McpSource {
    // `leave` and `stay` are words for the end of the script, not commands.
    let script = format!("leave() {{ :; }}; stay() {{ :; }}\n{SERVER}");
    McpSource::new(McpTransport::Stdio(Box::new(McpCommand {
        command: McpText::literal("sh"),
        args: ["-c", &script, "server", begins].map(McpText::literal).to_vec(),
        pass: Vec::new(),
        set: [(MARK.to_owned(), McpText::literal(place.dir.path().display().to_string()))].into_iter().collect(),
        cwd: None,
        base_dir: place.dir.path().into(),
    })))
}

/// How many processes of the servers of this place there are.
fn left(place: &Place) -> usize {
    bearing(&format!("{MARK}={}", place.dir.path().display())).len()
}

/// All of them have one name, as those have that replace each other.
async fn open(place: &Place, begins: &str) -> Toolbox {
    let opened = place.opener.open(declared("box", source(place, begins))).await;
    opened.unwrap_or_else(|problems| panic!("{begins}: {problems:?}"))
}

async fn pid(toolbox: &Toolbox) -> String {
    call(toolbox, "pid", json!({})).await.unwrap().value.get().trim_matches('"').to_owned()
}

/// The life of one.
async fn live(place: &Place, fate: Fate) {
    let begins = fate.begins();
    match fate {
        Fate::Well | Fate::WithChild | Fate::WithDaemon | Fate::Stays => {
            let toolbox = open(place, begins).await;
            assert_eq!(pid(&toolbox).await, pid(&toolbox).await);
        }
        Fate::Killed => {
            let toolbox = open(place, begins).await;
            let before = pid(&toolbox).await;
            let lost = call(&toolbox, "killed", json!({})).await.unwrap_err();
            assert_eq!((lost.code, lost.reached), ("mcp_lost", Reached::Unknown), "{lost:?}");
            assert_ne!(pid(&toolbox).await, before);
        }
        Fate::LeftAlone => {
            let toolbox = open(place, begins).await;
            pid(&toolbox).await;
            let hanging = timeout(Duration::from_millis(1), call(&toolbox, "hang", json!({}))).await;
            assert!(hanging.is_err(), "{hanging:?}");
        }
        Fate::Leaves => {
            let opened = place.opener.open(declared("box", source(place, begins))).await;
            let problems = opened.err().expect("a server that ends when it was greeted has no tools");
            assert!(problems[0].code.starts_with("mcp_"), "{problems:?}");
        }
        Fate::GivenUp => {
            let opening = place.opener.open(declared("box", source(place, begins)));
            assert!(timeout(Duration::from_millis(50), opening).await.is_err());
        }
    }
}

#[test]
fn a_thousand_starts_and_stops_leave_nothing() {
    alone(|_| async {
        let place = Place::new();
        stream::iter(0..STARTS).for_each_concurrent(AT_ONCE, |at| live(&place, Fate::of(at))).await;
        place.opener.closed().await;
        eventually_async("nothing of any server is left", || left(&place) == 0).await;
        let files: Vec<_> = std::fs::read_dir(place.dir.path()).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.is_empty(), "{files:?}");
    });
}

#[test]
fn servers_of_one_name_do_not_end_each_other() {
    alone(|_| async {
        let place = Place::new();
        let stays = open(&place, ":").await;
        let before = (pid(&stays).await, descriptors());
        drop(open(&place, ":").await);
        // What holds a process is let go of last, when all that bears its mark was looked for.
        eventually_async("the other has ended", || descriptors() <= before.1).await;
        assert_eq!(pid(&stays).await, before.0);
        drop(stays);
        place.opener.closed().await;
    });
}

#[test]
fn a_start_that_nobody_waits_for_is_ended() {
    alone(|_| async {
        let place = Place::new();
        let opening = place.opener.open(declared("box", source(&place, Fate::GivenUp.begins())));
        let started = async { eventually_async("it was started", || left(&place) > 0).await };
        tokio::select! {
            opened = opening => panic!("it answered: {:?}", opened.err()),
            () = started => {}
        }
        let begun = Instant::now();
        place.opener.closed().await;
        assert_eq!(left(&place), 0, "after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    });
}
