//! Standard input and output for a server that speaks on them: where they are pipes or sockets, without the threads that
//! Tokio's own have between. It does not know what is said.

use rustix::fs::{FileType, fstat};
use std::io::Result;
use std::os::fd::AsFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// Standard input. Called inside the runtime that will read it.
pub(crate) fn input() -> Box<dyn AsyncRead + Send + Unpin> {
    let own = std::io::stdin();
    // Opened anew: whether a read waits is a property of what was opened, which other programs may have too.
    let opened = || pipe::OpenOptions::new().open_receiver("/proc/self/fd/0").ok();
    if let Some(pipe) = is(&own, FileType::Fifo).then(opened).flatten() {
        return Box::new(pipe);
    }
    match socket(&own) {
        Some(socket) => Box::new(socket),
        None => Box::new(tokio::io::stdin()),
    }
}

/// Standard output. Called inside the runtime that will write it.
pub(crate) fn output() -> Box<dyn AsyncWrite + Send + Unpin> {
    let own = std::io::stdout();
    let opened = || pipe::OpenOptions::new().open_sender("/proc/self/fd/1").ok();
    if let Some(pipe) = is(&own, FileType::Fifo).then(opened).flatten() {
        return Box::new(pipe);
    }
    match socket(&own) {
        Some(socket) => Box::new(socket),
        None => Box::new(tokio::io::stdout()),
    }
}

fn is(what: &impl AsFd, kind: FileType) -> bool {
    fstat(what).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind)
}

/// What clients that run on Node give in place of pipes. Such a socket cannot be opened anew; it was made for us.
fn socket(what: &impl AsFd) -> Option<UnixStream> {
    let opened = || -> Result<UnixStream> {
        let socket = std::os::unix::net::UnixStream::from(what.as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket)
    };
    is(what, FileType::Socket).then(opened)?.ok()
}
