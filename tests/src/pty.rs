//! A terminal to run the command at (`Pty`): what it shows can be waited for, lines can be typed.
//! It does not know what is asked there.

use crate::{PATIENCE, until};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A command at a terminal of its own. Killed when dropped.
pub struct Pty {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
}

impl Pty {
    /// Starts a command with the three standard streams at a terminal of 100 columns.
    ///
    /// # Panics
    /// When there is no terminal, or it does not start.
    pub fn start(mut command: Command) -> Pty {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("a terminal of ours");
        unlockpt(&ours).expect("an open terminal");
        let size = Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).expect("its size");
        let name = ptsname(&ours, Vec::new()).expect("its name");
        let theirs = std::ffi::OsStr::from_bytes(name.as_bytes());
        let theirs = File::options().read(true).write(true).open(theirs).expect("its other end");
        let stream = || theirs.try_clone().expect("a stream");
        command.stdin(stream()).stdout(stream()).stderr(stream()).env("TERM", "xterm");
        let child = command.spawn().expect("it starts");
        // This process keeps no end of it, else its screen never ends.
        drop((theirs, command));
        let keyboard = File::from(ours);
        let mut shown = keyboard.try_clone().expect("the screen");
        let screen = Arc::<Mutex<String>>::default();
        let kept = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // The end of a terminal is an error.
            while let Ok(n @ 1..) = shown.read(&mut bytes) {
                kept.lock().expect("the screen").push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Pty { child, keyboard, screen }
    }

    /// All that was shown so far.
    ///
    /// # Panics
    /// When reading it has panicked.
    pub fn screen(&self) -> String {
        self.screen.lock().expect("the screen").clone()
    }

    /// Waits until this was shown after what was awaited before, and takes all up to there.
    ///
    /// # Panics
    /// When it is not shown in time.
    #[track_caller]
    pub fn awaits(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let mut screen = self.screen.lock().expect("the screen");
            if let Some(at) = screen.find(text) {
                let rest = screen.split_off(at + text.len());
                return std::mem::replace(&mut screen, rest);
            }
            assert!(begun.elapsed() < PATIENCE, "`{text}` was not shown, but:\n{}", screen.as_str());
            drop(screen);
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// Types a line.
    ///
    /// # Panics
    /// When nobody is at the other end.
    pub fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).expect("it is typed");
    }

    /// Sends a signal to the command.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Waits for the end: the exit code and what was shown last.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        (status.and_then(|status| status.code()), self.screen())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
