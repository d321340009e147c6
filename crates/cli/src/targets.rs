//! Where a run writes its report and its events, opened before anything starts.
//! It does not know what is written there.

use crate::args::RunArgs;
use crate::load::Refused;
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What `--report` and `--events` name.
pub(crate) struct Targets {
    pub(crate) report: Option<Box<dyn Write + Send>>,
    pub(crate) events: Option<Box<dyn Write + Send>>,
    /// One of them goes to standard output, which then holds nothing else.
    pub(crate) on_stdout: bool,
}

/// Opens them. Nobody wants to learn after an hour that the report cannot be written, or that it was written over the
/// plan: `read` are the files that were read.
pub(crate) fn open<'r>(args: &RunArgs, read: impl Iterator<Item = &'r str>) -> Result<Targets, Refused> {
    let is_stdout = |path: Option<&Path>| path == Some(Path::new("-"));
    let (report, events) = (args.report.as_deref(), args.events.as_deref());
    let on_stdout = [report, events].map(is_stdout);
    if on_stdout == [true, true] {
        return Err(Refused::Usage("--report and --events cannot both go to standard output".into()));
    }
    let mut known: Vec<(String, Metadata)> =
        read.filter_map(|name| Some((format!("`{name}`, which was read"), std::fs::metadata(name).ok()?))).collect();
    let mut target = |flag: &str, path: Option<&Path>| -> Result<Option<Box<dyn Write + Send>>, Refused> {
        let Some(path) = path else { return Ok(None) };
        if is_stdout(Some(path)) {
            return Ok(Some(Box::new(std::io::stdout())));
        }
        let failed = |error: std::io::Error| Refused::Usage(format!("cannot write `{}`: {error}", path.display()));
        // Cut only when it is known not to be one of the others.
        let file = File::options().write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_file() {
            let same = |other: &Metadata| (other.dev(), other.ino()) == (about.dev(), about.ino());
            if let Some((what, _)) = known.iter().find(|(_, other)| same(other)) {
                return Err(Refused::Usage(format!("{flag} `{}` would overwrite {what}", path.display())));
            }
            file.set_len(0).map_err(failed)?;
            known.push((format!("what {flag} writes"), about));
        }
        Ok(Some(Box::new(file)))
    };
    let report = target("--report", report)?;
    let events = target("--events", events)?;
    Ok(Targets { report, events, on_stdout: on_stdout != [false, false] })
}
