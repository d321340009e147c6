//! What the tests through the binary share: the built command, folders of files, processes that are watched.
//! It does not know what is tested.

mod peers;
mod pty;

pub use peers::{Peers, peers};
pub use pty::Pty;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The longest a test waits for something that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The command `fanout`, built once per run of the tests.
///
/// # Panics
/// When it cannot be built.
pub fn fanout() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // Beside the test's own folder `deps`, whatever the target directory is called.
        let test = std::env::current_exe().expect("the path of the test");
        let target = test.ancestors().nth(2).expect("a target directory");
        let profile = match target.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "fanout-cli", "--bin", "fanout", "--profile", profile])
            .current_dir(root())
            .env("CARGO_TARGET_DIR", target.parent().expect("a target directory"))
            .status()
            .expect("cargo starts");
        assert!(built.success(), "the command does not build");
        target.join("fanout")
    })
}

/// A folder of a test, gone when the test ends.
pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    /// An empty one.
    ///
    /// # Panics
    /// When it cannot be made.
    #[allow(clippy::new_without_default, reason = "a folder on disk is not a default value")]
    pub fn new() -> Folder {
        Folder { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    /// One with a plan.
    pub fn with_plan(plan: &str) -> Folder {
        let folder = Folder::new();
        folder.write("plan.yaml", plan);
        folder
    }

    /// The path of a file in it; of the folder itself for an empty name.
    pub fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.path().to_path_buf() } else { self.dir.path().join(name) }
    }

    /// Writes a file, with the folders above it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, content).expect("a file");
    }

    /// What is in a file; empty when it is not there.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Runs `fanout` here and waits for its end.
    ///
    /// # Panics
    /// When it does not start.
    pub fn fanout<const N: usize>(&self, args: [&str; N]) -> Ended {
        Ended::from(self.command(&args).stdin(Stdio::null()).output().expect("fanout starts"))
    }

    /// Runs `fanout` here with this standard input and waits for its end.
    ///
    /// # Panics
    /// When it does not start.
    pub fn fanout_with_stdin<const N: usize>(&self, args: [&str; N], stdin: &[u8]) -> Ended {
        use std::io::Write;
        let mut child = self.command(&args).stdin(Stdio::piped()).spawn().expect("fanout starts");
        // It may end without reading all of it.
        let _ = child.stdin.take().expect("standard input").write_all(stdin);
        Ended::from(child.wait_with_output().expect("fanout ends"))
    }

    /// Starts `fanout` here.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start<const N: usize>(&self, args: [&str; N]) -> Child {
        self.command(&args).stdin(Stdio::null()).spawn().expect("fanout starts")
    }

    /// `fanout` with these arguments, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(fanout());
        command.args(args).current_dir(self.dir.path()).env("NO_COLOR", "1").env_remove("FANOUT_ENGINE");
        command.env_remove("FANOUT_STATE");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// How a `fanout` ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// The same, after a check of the exit code.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Ended {
        assert!(!self.stderr.contains("panicked at"), "it panicked:\n{}", self.stderr);
        assert_eq!(self.code, Some(code), "standard output:\n{}\nstandard error:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }
}

/// Waits until something is so.
///
/// # Panics
/// When it is not so for too long.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// How many processes have this in their environment, such as `MARK=x`.
pub fn bearing(entry: &str) -> usize {
    let mut n = 0;
    for dir in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environ = std::fs::read(dir.path().join("environ")).unwrap_or_default();
        n += usize::from(environ.split(|byte| *byte == 0).any(|e| e == entry.as_bytes()));
    }
    n
}
