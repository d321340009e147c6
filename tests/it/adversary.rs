//! A server and a proxy that behave as told, for tests of HTTP tools through the command.
//! It does not know what is expected of who asks.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is answered: to the n-th request (from 1) for a path, given the whole request. `None` closes the connection.
type Behaviour = dyn Fn(&str, usize, &str) -> Answer + Send + Sync;

/// What is done with a request.
pub(crate) enum Answer {
    /// Sent, and the connection stays open.
    Text(String),
    /// Sent, and the connection is closed.
    Last(String),
    /// Nothing, until the client goes.
    Nothing,
    /// Requests are passed on to the server, and what it says comes back.
    Tunnel,
}

/// A server on a port of its own.
pub(crate) struct Adversary {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<BTreeMap<String, Vec<String>>>,
    open: AtomicUsize,
}

impl Adversary {
    pub(crate) fn start(behaviour: impl Fn(&str, usize, &str) -> Answer + Send + Sync + 'static) -> Adversary {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).unwrap(), behaviour)
    }

    pub(crate) fn on(
        listener: TcpListener,
        behaviour: impl Fn(&str, usize, &str) -> Answer + Send + Sync + 'static,
    ) -> Adversary {
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let (noted, behaviour): (_, Arc<Behaviour>) = (Arc::clone(&seen), Arc::new(behaviour));
        // It ends with the program of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, behaviour) = (Arc::clone(&noted), Arc::clone(&behaviour));
                std::thread::spawn(move || {
                    seen.open.fetch_add(1, Ordering::SeqCst);
                    serve(stream, &seen, &*behaviour);
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Adversary { address, seen }
    }

    /// The requests for a path, or for a target as a proxy sees it.
    pub(crate) fn requests(&self, path: &str) -> Vec<String> {
        let requests = self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.get(path).cloned().unwrap_or_default()
    }

    /// All targets that were asked for.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }
}

/// An answer with a status and a JSON body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Text(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}

/// The value of a header of a request.
pub(crate) fn header(request: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}: ");
    let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix))?;
    Some(line[prefix.len()..].to_owned())
}

fn serve(mut stream: TcpStream, seen: &Seen, behaviour: &Behaviour) {
    while let Some(request) = read(&mut stream) {
        let target = request.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
        let count = {
            let mut requests = seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let before = requests.entry(target.clone()).or_default();
            before.push(request.clone());
            before.len()
        };
        match behaviour(&target, count, &request) {
            Answer::Text(text) if stream.write_all(text.as_bytes()).is_ok() => {}
            Answer::Text(_) => return,
            Answer::Last(text) => {
                // Who has gone does not hear it.
                let _gone = stream.write_all(text.as_bytes());
                return;
            }
            Answer::Nothing => {
                let _gone = stream.read(&mut [0]);
                return;
            }
            Answer::Tunnel => return tunnel(stream),
        }
    }
}

/// A tunnel to nowhere but this server: what it answers inside it.
fn tunnel(mut stream: TcpStream) {
    let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    let mut hello = [0; 1024];
    // The hello of TLS, and then nothing that is TLS.
    let _gone = stream.read(&mut hello);
}

/// One request, head and body.
fn read(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut bytes = Vec::new();
    let mut more = [0; 65_536];
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let length = header(&head, "content-length").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
            if bytes.len() >= at + 4 + length {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        match stream.read(&mut more) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&more[..n]),
            _ => return None,
        }
    }
}
