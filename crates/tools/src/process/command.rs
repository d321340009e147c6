//! From a tool's description and one attempt's arguments to a command that can be started.
//! It does not know how a started program is watched.

use crate::tool::{Attempt, ErrorClass, Reached, ToolError};
use fanout_plan::{FillError, ProcessSpec, Stdin};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where programs are looked for when the tool passes on no PATH.
pub(crate) const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// A command and what its program is told on standard input.
pub(super) struct Prepared {
    pub(super) command: Command,
    pub(super) stdin: Vec<u8>,
    /// The program as the tool names it, for messages.
    pub(super) name: String,
    cwd: PathBuf,
}

/// Fills in the templates and finds the program.
///
/// # Errors
/// `argument_missing`, `argument_nul`, `process_not_started`; none of them has reached anything.
pub(super) fn prepare(spec: &ProcessSpec, attempt: &Attempt, engine: &str) -> Result<Prepared, ToolError> {
    let args = serde_json::from_str(attempt.args.get())
        .map_err(|error| not_reached("args_mismatch", format!("the arguments are no JSON value: {error}")))?;
    let args = spec.with_defaults(&args);
    let argv = spec.expand_argv(&args).map_err(unfilled)?;
    let Some((name, rest)) = argv.split_first() else {
        return Err(not_reached("process_not_started", "the tool's argv is empty; its first element is the program"));
    };
    let mut env: BTreeMap<&str, OsString> =
        spec.env.iter().filter_map(|name| Some((name.as_str(), std::env::var_os(name)?))).collect();
    for (name, value) in &spec.set {
        env.insert(name, value.fill(&args).map_err(unfilled)?.into());
    }
    let path = env.get("PATH").cloned().unwrap_or_else(|| PATH_DEFAULT.into());
    let base = std::path::absolute(if spec.base_dir.as_os_str().is_empty() { Path::new(".") } else { &spec.base_dir })
        .map_err(|error| not_reached("process_not_started", format!("there is no working directory: {error}")))?;
    let cwd = match &spec.cwd {
        Some(cwd) => base.join(cwd.fill(&args).map_err(unfilled)?),
        None => base.clone(),
    };
    // An absolute path: a program that is searched for by the standard library costs a fork instead of posix_spawn.
    let mut command = Command::new(find_program(name, &path, &base)?);
    command.arg0(name).args(rest).current_dir(&cwd).process_group(0);
    // The marks come last: no declared variable can take them off.
    command.env_clear().envs(&env).env("FANOUT_ENGINE", engine);
    let id = &attempt.id;
    command.env("FANOUT_RUN", &*id.run).env("FANOUT_CALL", &*id.call).env("FANOUT_ATTEMPT", id.attempt.to_string());
    command.env("FANOUT_IDEMPOTENCY_KEY", attempt.idempotency_key());
    let stdin = stdin(&spec.stdin, &args)?;
    command.stdin(if matches!(spec.stdin, Stdin::None) { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(Prepared { command, stdin, name: name.clone(), cwd })
}

impl Prepared {
    /// Why it could not be started.
    pub(super) fn not_started(&self, error: &std::io::Error) -> ToolError {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        let message = if errno == Some(Errno::NOENT) && !self.cwd.is_dir() {
            format!("`{}` was not started: its working directory {} does not exist", self.name, self.cwd.display())
        } else {
            format!("`{}` was not started: {error}", self.name)
        };
        let passing = matches!(
            errno,
            Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::TXTBSY | Errno::INTR)
        );
        let class = if passing { ErrorClass::Transient } else { ErrorClass::Permanent };
        ToolError { class, ..not_reached("process_not_started", message) }
    }
}

/// An error before anything was started.
pub(super) fn not_reached(code: &'static str, message: impl Into<String>) -> ToolError {
    ToolError::permanent(message).code(code).reached(Reached::No)
}

fn unfilled(error: FillError) -> ToolError {
    not_reached(error.code, error.message)
}

fn stdin(stdin: &Stdin, args: &serde_json::Value) -> Result<Vec<u8>, ToolError> {
    Ok(match stdin {
        Stdin::None => Vec::new(),
        Stdin::Json => args.to_string().into_bytes(),
        Stdin::Text(text) => text.fill(args).map_err(unfilled)?.into_bytes(),
        Stdin::Lines(list) => {
            let lines = list.fill_each(args).map_err(unfilled)?;
            if let Some(line) = lines.iter().find(|line| line.contains('\n')) {
                let line = line.chars().take(60).collect::<String>();
                let message = format!("{line:?} holds a line end and cannot be one line of standard input");
                return Err(not_reached("argument_newline", message));
            }
            lines.into_iter().flat_map(|line| (line + "\n").into_bytes()).collect()
        }
    })
}

/// A name with a `/` is a path from the directory of the declaring file; another is looked for in `path`.
pub(crate) fn find_program(name: &str, path: &OsString, base: &Path) -> Result<PathBuf, ToolError> {
    if name.contains('/') {
        return Ok(base.join(name));
    }
    std::env::split_paths(path)
        .map(|dir| base.join(dir).join(name))
        .find(|file| access(file, Access::EXEC_OK).is_ok() && file.is_file())
        .ok_or_else(|| {
            let path = path.to_string_lossy();
            let message = format!("`{name}` was not started: no such program in {path}; install it, or give its path");
            not_reached("process_not_started", message)
        })
}
