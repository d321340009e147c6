//! `fanout init`: writes a toolbox file and a first plan that runs at once.
//! It does not know how they are read.

use crate::text;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const FILES: &[(&str, &str)] =
    &[("fanout.toml", include_str!("init/fanout.toml")), ("plan.yaml", include_str!("init/plan.yaml"))];

/// Writes the files; never over one that is there.
pub(crate) fn main(dir: &Path) -> ExitCode {
    if let Err(error) = std::fs::create_dir_all(dir) {
        return refuse(&format!("cannot make `{}`: {error}", dir.display()));
    }
    if let Some((name, _)) = FILES.iter().find(|(name, _)| dir.join(name).exists()) {
        return refuse(&format!("`{}` is there already; nothing was written", dir.join(name).display()));
    }
    for (name, content) in FILES {
        let path = dir.join(name);
        // `create_new`: also a file that appeared a moment ago is left alone.
        let written = OpenOptions::new().write(true).create_new(true).open(&path);
        if let Err(error) = written.and_then(|mut file| file.write_all(content.as_bytes())) {
            return refuse(&format!("cannot write `{}`: {error}", path.display()));
        }
        text::say(&format!("wrote {}\n", text::line(&path.display().to_string())));
    }
    let plan = text::line(&dir.join("plan.yaml").display().to_string());
    text::say(&format!("\nnow:  fanout plan {plan}   shows what would run when\n      fanout run {plan}    runs it\n"));
    ExitCode::SUCCESS
}

fn refuse(why: &str) -> ExitCode {
    text::say(&format!("error: {}\n", text::line(why)));
    ExitCode::from(crate::exit::USAGE)
}
