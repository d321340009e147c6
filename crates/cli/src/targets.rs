//! Where a run writes its report, its events and its pictures, opened before anything starts.
//! It does not know what is written there.

use crate::args::Outputs;
use crate::load::Refused;
use crate::timeline::Format;
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Something that is written to.
pub(crate) type Target = Box<dyn Write + Send>;

/// What `--report`, `--events`, `--timeline` and `--trace` name.
pub(crate) struct Targets {
    pub(crate) report: Option<Target>,
    pub(crate) events: Option<Target>,
    pub(crate) timeline: Option<(Target, Format)>,
    pub(crate) trace: Option<Target>,
    /// One of them goes to standard output, which then holds nothing else.
    pub(crate) on_stdout: bool,
}

/// Opens them. Nobody wants to learn after an hour that the report cannot be written, or that it was written over the
/// plan: `read` are the files that were read.
pub(crate) fn open<'r>(args: &Outputs, read: impl Iterator<Item = &'r str>) -> Result<Targets, Refused> {
    let paths = [&args.report, &args.events, &args.timeline, &args.trace].map(Option::as_deref);
    let named = ["--report", "--events", "--timeline", "--trace"];
    let on_stdout: Vec<&str> = named.into_iter().zip(paths).filter(|one| is_stdout(one.1)).map(|one| one.0).collect();
    if let [one, other, ..] = on_stdout[..] {
        return Err(Refused::Usage(format!("{one} and {other} cannot both go to standard output")));
    }
    let mut files = Files::read(read);
    let mut target = |index: usize| files.open(named[index], paths[index]);
    let (report, events, timeline, trace) = (target(0)?, target(1)?, target(2)?, target(3)?);
    let format = args.timeline.as_deref().and_then(Format::of);
    Ok(Targets { report, events, timeline: timeline.zip(format), trace, on_stdout: !on_stdout.is_empty() })
}

/// The same targets, also from another working directory.
pub(crate) fn absolute(args: &Outputs) -> Result<Outputs, Refused> {
    let mut outputs = args.clone();
    for path in [&mut outputs.report, &mut outputs.events, &mut outputs.timeline, &mut outputs.trace] {
        if let Some(path) = path.as_mut().filter(|path| !is_stdout(Some(path))) {
            *path =
                std::path::absolute(&*path).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
        }
    }
    Ok(outputs)
}

fn is_stdout(path: Option<&Path>) -> bool {
    path == Some(Path::new("-"))
}

/// The files that must not be overwritten: those that were read, and those that are written already.
pub(crate) struct Files {
    known: Vec<(String, Metadata)>,
}

impl Files {
    /// Files that were read.
    pub(crate) fn read<'r>(names: impl Iterator<Item = &'r str>) -> Files {
        let about = |name: &str| Some((format!("`{name}`, which was read"), std::fs::metadata(name).ok()?));
        Files { known: names.filter_map(about).collect() }
    }

    /// Opens a file for writing, or standard output for `-`.
    pub(crate) fn open(&mut self, flag: &str, path: Option<&Path>) -> Result<Option<Target>, Refused> {
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
            if let Some((what, _)) = self.known.iter().find(|(_, other)| same(other)) {
                return Err(Refused::Usage(format!("{flag} `{}` would overwrite {what}", path.display())));
            }
            file.set_len(0).map_err(failed)?;
            self.known.push((format!("what {flag} writes"), about));
        }
        Ok(Some(Box::new(file)))
    }
}
