//! What a coding agent's tools touch: as declared to fanout, and, apart from that, as judged here.
//! It does not know runs; what is judged here shares no code with the product's keys.

use fanout::EffectsSpec;
use serde_json::Value;

/// How shell commands are declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    /// As a tool that declares nothing: each may write anything. The safe default (DESIGN 3.3).
    WritesAll,
    /// Commands made of programs known to change nothing read everything; the others may write anything.
    ReadersTold,
    /// As the agent meant it when it emitted them together: commands touch nothing of each other.
    None,
}

/// What the tool of this name declares. Files are named by its arguments; a search without a path reads all files.
pub(crate) fn declared(tool: &str) -> EffectsSpec {
    let one = |reads: &[&str], writes: &[&str]| EffectsSpec {
        reads: reads.iter().map(|key| (*key).to_owned()).collect(),
        writes: writes.iter().map(|key| (*key).to_owned()).collect(),
        ..EffectsSpec::default()
    };
    match tool {
        "Read" => one(&["file:${args.file_path}"], &[]),
        "Write" | "Edit" | "MultiEdit" => one(&[], &["file:${args.file_path}"]),
        "Grep" | "Glob" | "LS" => one(&["file:${args.path}"], &[]),
        "TodoWrite" => one(&[], &["todos"]),
        "BashOutput" => one(&["shell:${args.bash_id}"], &[]),
        // A shell or another agent may do anything.
        _ => one(&[], &["*"]),
    }
}

/// What a single call declares instead, where its command is known to change nothing.
pub(crate) fn declared_for_call(tool: &str, input: &Value, shell: Shell) -> Option<EffectsSpec> {
    let command = input["command"].as_str().filter(|_| tool == "Bash")?;
    match shell {
        Shell::ReadersTold if changes_nothing(command) => {
            Some(EffectsSpec { reads: vec!["*".to_owned()], ..EffectsSpec::default() })
        }
        Shell::None => Some(EffectsSpec::default()),
        Shell::WritesAll | Shell::ReadersTold => None,
    }
}

/// Programs that change nothing, whatever their arguments.
const READERS: [&str; 26] = [
    "cat",
    "cd",
    "column",
    "cut",
    "diff",
    "du",
    "echo",
    "file",
    "grep",
    "head",
    "hexdump",
    "id",
    "ls",
    "md5sum",
    "ps",
    "pwd",
    "rg",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tr",
    "uname",
    "wc",
    "which",
];

/// Whether a command line is made of such programs only and sends its output nowhere but to the caller.
/// When in doubt it is not.
pub(crate) fn changes_nothing(command: &str) -> bool {
    let quiet = command.replace("2>&1", "").replace("2>/dev/null", "");
    if quiet.contains(['>', '`', '$', '(', '<', '{']) || quiet.trim().is_empty() {
        return false;
    }
    quiet.split(['|', ';', '&', '\n']).filter(|part| !part.trim().is_empty()).all(|part| {
        let mut words = part.split_whitespace();
        let program = words.next().unwrap_or_default();
        let first = words.next().unwrap_or_default();
        let sort_to_file = program == "sort" && part.contains("-o");
        let git = program == "git" && ["diff", "log", "show", "status"].contains(&first);
        git || READERS.contains(&program) && !sort_to_file
    })
}

/// A resource as it is judged here: segments of its name; none means everything.
type Resource = Vec<String>;

/// What a call touches, and whether it may write it.
pub(crate) fn touched(tool: &str, input: &Value, shell: Shell) -> (Resource, bool) {
    let file = |name: &str| {
        let path = input[name].as_str().unwrap_or_default();
        let segments = path.split('/').filter(|segment| !segment.is_empty() && *segment != ".");
        std::iter::once("file").chain(segments).map(str::to_owned).collect()
    };
    match tool {
        "Read" => (file("file_path"), false),
        "Write" | "Edit" | "MultiEdit" => (file("file_path"), true),
        "Grep" | "Glob" | "LS" => (file("path"), false),
        "TodoWrite" => (vec!["todos".to_owned()], true),
        "BashOutput" => (vec!["shell".to_owned(), input["bash_id"].as_str().unwrap_or_default().to_owned()], false),
        "Bash" => {
            let command = input["command"].as_str().unwrap_or_default();
            match shell {
                Shell::WritesAll => (Vec::new(), true),
                Shell::ReadersTold => (Vec::new(), !changes_nothing(command)),
                Shell::None => (vec!["shell of its own".to_owned()], false),
            }
        }
        _ => (Vec::new(), true),
    }
}

/// Whether two calls must not overlap in time.
pub(crate) fn conflict(a: &(Resource, bool), b: &(Resource, bool)) -> bool {
    (a.1 || b.1) && a.0.iter().zip(&b.0).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn commands_that_change_nothing_are_known() {
        assert!(changes_nothing("cd /app && ls -la | head -5"));
        assert!(changes_nothing("git log --oneline 2>/dev/null; cat a.txt"));
        for command in ["ls > out", "python3 x.py", "cat $(make)", "git push", "echo hi | tee f", "sort -o f f", ""] {
            assert!(!changes_nothing(command), "{command}");
        }
    }

    #[test]
    fn conflicts_are_by_path() {
        let touched = |tool: &str, input: Value| touched(tool, &input, Shell::WritesAll);
        let write = touched("Edit", json!({"file_path": "/app/a.py"}));
        assert!(conflict(&write, &touched("Read", json!({"file_path": "/app/a.py"}))));
        assert!(conflict(&write, &touched("Grep", json!({"pattern": "x"}))));
        assert!(conflict(&write, &touched("Grep", json!({"path": "/app"}))));
        assert!(conflict(&write, &touched("Bash", json!({"command": "ls"}))));
        assert!(!conflict(&write, &touched("Read", json!({"file_path": "/app/b.py"}))));
        assert!(!conflict(&write, &touched("TodoWrite", json!({}))));
    }
}
