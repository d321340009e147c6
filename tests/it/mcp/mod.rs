//! MCP through the command: servers of others as toolboxes, and clients of others before `fanout mcp`.
//! It does not know the protocol.

mod around;
mod gateway;
mod hostile;
mod order;
mod own_tools;
mod servers;

use fanout_tests::{Folder, bearing, peers, root};
use serde_json::Value;

/// A server of others: the toolbox it becomes, and how it is started.
pub(super) struct Served {
    pub(super) toolbox: &'static str,
    /// The program and its arguments; `@` stands for the folder of the test.
    pub(super) command: &'static [&'static str],
}

/// The servers that are shown.
pub(super) const SERVERS: [Served; 6] = [
    Served { toolbox: "every", command: &["mcp-server-everything"] },
    Served { toolbox: "files", command: &["mcp-server-filesystem", "@"] },
    Served { toolbox: "graph", command: &["mcp-server-memory"] },
    Served { toolbox: "git", command: &["mcp-server-git"] },
    Served { toolbox: "clock", command: &["mcp-server-time"] },
    Served { toolbox: "db", command: &["mcp-server-sqlite", "--db-path", "@/notes.db"] },
];

/// Which of them has this name.
pub(super) fn served(toolbox: &str) -> &'static Served {
    SERVERS.iter().find(|served| served.toolbox == toolbox).expect("it is one of them")
}

impl Served {
    /// Its command line in this folder.
    pub(super) fn words(&self, folder: &Folder) -> Vec<String> {
        let here = folder.path("").display().to_string();
        let mut words: Vec<String> = self.command.iter().map(|word| word.replace('@', &here)).collect();
        words[0] = peers().program(&words[0]);
        words
    }

    /// It as a toolbox of a file, with these lines after it.
    pub(super) fn written(&self, folder: &Folder, more: &str) -> String {
        entry(self.toolbox, &self.words(folder), more)
    }

    /// The same, with a program between that notes in a file `TOOLBOX.notes` what goes by.
    pub(super) fn tapped(&self, folder: &Folder, hold: &str, more: &str) -> String {
        let tap = root().join("tests/mcp/tap.py").display().to_string();
        let notes = folder.path(&format!("{}.notes", self.toolbox)).display().to_string();
        let mut words: Vec<String> = ["python3", &tap, &notes, "--hold", hold, "--"].map(str::to_owned).into();
        words.extend(self.words(folder));
        entry(self.toolbox, &words, more)
    }
}

fn entry(name: &str, words: &[String], more: &str) -> String {
    format!(
        "[toolbox.{name}]\nmcp = {{ command = {:?}, args = {:?}, env = [\"FANOUT_TEST_MARK\"] }}\n{more}\n",
        words[0],
        &words[1..]
    )
}

/// The variable by which processes of a test are found; its value is the folder of the test.
pub(super) const MARK: &str = "FANOUT_TEST_MARK";

/// How many processes of this test there are.
pub(super) fn of_this_test(folder: &Folder) -> usize {
    bearing(&format!("{MARK}={}", folder.path("").display()))
}

/// What `tap.py` noted of a server.
pub(super) fn notes(folder: &Folder, toolbox: &str) -> Vec<Value> {
    let text = folder.read(&format!("{toolbox}.notes"));
    // The last line may be half written.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
