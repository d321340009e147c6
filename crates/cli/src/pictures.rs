//! `fanout timeline`, and the pictures that `fanout run` writes at its end.
//! It does not know how they look.

use crate::args::TimelineArgs;
use crate::load::Refused;
use crate::targets::{Files, Target};
use crate::timeline::{self, Format};
use crate::{text, trace};
use fanout::{REPORT_VERSION, Report};
use std::path::Path;
use std::process::ExitCode;

/// Writes the pictures of a run.
pub(crate) fn write(timeline: Option<(Target, Format)>, trace: Option<Target>, report: &Report) {
    if let Some((to, format)) = timeline {
        timeline::write(to, report, format).unwrap_or_else(|error| text::lose("the timeline", &error));
    }
    if let Some(to) = trace {
        trace::write(to, report).unwrap_or_else(|error| text::lose("the trace", &error));
    }
}

/// `fanout timeline`.
pub(crate) fn main(args: &TimelineArgs) -> Result<ExitCode, Refused> {
    let name = args.report.display().to_string();
    let bytes = match &args.report {
        path if path == Path::new("-") => std::io::read_to_string(std::io::stdin()).map(String::into_bytes),
        path => std::fs::read(path),
    };
    let bytes = bytes.map_err(|error| format!("cannot read `{name}`: {error}"))?;
    let report: Report =
        serde_json::from_slice(&bytes).map_err(|error| format!("`{name}` is not a report of a run: {error}"))?;
    if report.v != REPORT_VERSION {
        let v = report.v;
        return Err(Refused::Usage(format!("`{name}` is a report of version {v}; this fanout reads {REPORT_VERSION}")));
    }
    let format = Format::of(&args.output);
    if format.is_none() && args.output.extension().is_none_or(|extension| extension != "json") {
        return Err(Refused::Usage(format!(
            "-o {}: write FILE.svg or FILE.html for a picture, FILE.json for a trace",
            args.output.display()
        )));
    }
    let to = open(&args.output, &name)?;
    match format {
        Some(format) => write(to.map(|to| (to, format)), None, &report),
        None => write(None, to, &report),
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path, read: &str) -> Result<Option<Target>, Refused> {
    Files::read(std::iter::once(read)).open("-o", Some(path))
}
