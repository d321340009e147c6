//! A server that misbehaves: a behaviour per path. It speaks HTTP by hand, since no library would do what it does.
//! It does not know who asks, or what is expected.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How large the largest answer claims to be.
const GIGABYTE: usize = 1 << 30;

/// A running server; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

/// What the server saw.
#[derive(Default)]
struct Seen {
    /// Connections that the client has not closed.
    open: AtomicUsize,
    /// Requests that are being answered.
    answering: AtomicUsize,
    /// Connections ever.
    connections: AtomicUsize,
    /// Requests as they came, head and body, by path.
    requests: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Seen {
    /// Notes a request; how many there were for its path.
    fn note(&self, path: &str, request: &str) -> usize {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let before = requests.entry(path.to_owned()).or_default();
        // Ten thousand are counted, not all of them kept.
        before.push(if before.len() < 100 { request.to_owned() } else { String::new() });
        before.len()
    }
}

struct Open(Arc<Seen>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    pub(crate) async fn start() -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let noted = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noted.open.fetch_add(1, Ordering::SeqCst);
                noted.connections.fetch_add(1, Ordering::SeqCst);
                let open = Open(Arc::clone(&noted));
                tokio::spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    serve(stream, &open.0, address).await;
                });
            }
        });
        Server { address, seen, accepting }
    }

    /// Where it is.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections that the client holds open.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Counts the requests that are being answered.
    pub(crate) fn answering(&self) -> impl Fn() -> usize + use<> {
        let seen = Arc::clone(&self.seen);
        move || seen.answering.load(Ordering::SeqCst)
    }

    /// Connections ever.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The requests for a path.
    pub(crate) fn requests(&self, path: &str) -> Vec<String> {
        let requests = self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.get(path).cloned().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Reads one request; `None` at the end of the connection.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut more = [0; 4096];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&more[..n]),
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    let chunked = text.contains("transfer-encoding: chunked");
    let done = |bytes: &[u8]| match length {
        _ if chunked => bytes.ends_with(b"0\r\n\r\n"),
        length => bytes.len() >= head + length.unwrap_or(0),
    };
    while !done(&bytes) {
        let mut more = [0; 65_536];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&more[..n]),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

async fn serve(mut stream: TcpStream, seen: &Seen, address: SocketAddr) {
    while let Some(request) = read_request(&mut stream).await {
        let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let count = seen.note(&path, &request);
        seen.answering.fetch_add(1, Ordering::SeqCst);
        let answered = answer(&mut stream, &path, &request, count, address).await;
        seen.answering.fetch_sub(1, Ordering::SeqCst);
        if answered.is_err() {
            return;
        }
    }
}

/// An answer with a body.
pub(crate) fn ok(content_type: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn empty(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n")
}

/// Answers one request; an error ends the connection.
async fn answer(
    stream: &mut TcpStream,
    path: &str,
    request: &str,
    count: usize,
    address: SocketAddr,
) -> std::io::Result<()> {
    let end = || std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
    let text = match path {
        "/json" => ok("application/json", r#"{"n":7}"#),
        "/echo" => ok("text/plain", request),
        "/much" => ok("application/json", &format!("\"{}\"", "x".repeat(3_000_000))),
        "/fails" => "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno such".to_owned(),
        "/fails-for-now" => empty("503 Service Unavailable", ""),
        "/late-seconds" => empty("429 Too Many Requests", "retry-after: 7\r\n"),
        "/late-date" => {
            let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n";
            empty("503 Service Unavailable", date)
        }
        "/once-503" if count == 1 => empty("503 Service Unavailable", "retry-after: 0\r\n"),
        "/once-503" => ok("application/json", "1"),
        "/no-content" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/latin" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=iso-8859-1\r\ncontent-length: 4\r\n\r\ncaf\xe9").await?;
            return Ok(());
        }
        "/bytes" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 4\r\n\r\n\x89PNG").await?;
            return Ok(());
        }
        "/not-json" => ok("application/json", "{oops"),
        "/not-utf8" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\ncaf\xe9")
                .await?;
            return Ok(());
        }
        "/http10" => {
            stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nold").await?;
            return Err(end());
        }
        "/redirect" => empty("303 See Other", "location: /json\r\n"),
        "/redirect-same" => empty("307 Temporary Redirect", "location: /echo\r\n"),
        "/redirect-loop" => empty("302 Found", "location: /redirect-loop\r\n"),
        "/redirect-evil" => empty("302 Found", "location: http://evil.test/\r\n"),
        "/redirect-metadata" => empty("302 Found", "location: http://169.254.169.254/latest/meta-data\r\n"),
        "/redirect-name" => empty("302 Found", &format!("location: http://localhost:{}/echo\r\n", address.port())),
        "/redirect-nowhere" => empty("302 Found", "location: http://[\r\n"),
        "/token" => {
            let token = format!(r#"{{"access_token":"token-number-{count}","token_type":"Bearer","expires_in":3600}}"#);
            ok("application/json", &token)
        }
        "/token-text" => ok("application/json", r#"{"access_token":"token-of-text","expires_in":"3600"}"#),
        "/token-refused" => {
            format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{request}", request.len())
        }
        // A token that ends before its time.
        "/protected" if !request.contains("token-number-2") => empty("401 Unauthorized", ""),
        "/protected" => ok("application/json", "true"),
        // Servers that tell what they were told.
        "/echo-error" => format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{request}", request.len()),
        // Told so that whoever shortens it cuts in the middle of what was told.
        "/echo-cut" => {
            let told = request.split("X-Key: ").nth(1).or(request.split("x-key: ").nth(1)).unwrap_or_default();
            let told = told.lines().next().unwrap_or_default();
            let body = format!("{}{told}", "x".repeat(196));
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
        "/echo-bad-json" => ok("application/json", &format!("{{{request}")),
        "/echo-location" => {
            // As far as a host can hold it.
            let told = if request.contains("hunter2hunter2") { "hunter2hunter2" } else { "nothing" };
            empty("302 Found", &format!("location: http://{told}.test/{told}\r\n"))
        }
        _ => return odd(stream, path, request).await,
    };
    stream.write_all(text.as_bytes()).await
}

/// Answers that are seldom, but right.
async fn odd(stream: &mut TcpStream, path: &str, request: &str) -> std::io::Result<()> {
    let coded = |status: &str, kind: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-encoding: br\r\ncontent-length: 5\r\n\r\nabcde")
    };
    let text = match path {
        "/done-then-401" => empty("303 See Other", "location: /closed\r\n"),
        "/closed" => empty("401 Unauthorized", ""),
        "/brotli" => coded("200 OK", "text/plain"),
        "/brotli-file" => coded("200 OK", "image/png"),
        "/brotli-fails" => coded("404 Not Found", "text/plain"),
        "/brotli-head" => "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 5\r\n\r\n".to_owned(),
        // As JavaScript cuts it.
        "/half-a-character" => ok("application/json", r#"{"head":"\ud83d\ude00 \ud83d"}"#),
        "/identity" => coded("200 OK", "text/plain").replace("br", "Identity"),
        "/cookies" => {
            let cookies = "set-cookie: a=1; expires=Wed, 21 Oct 2026 07:28:00 GMT\r\nset-cookie: b=2\r\n";
            empty("200 OK", &format!("{cookies}x-a: 1\r\nx-a: 2\r\n"))
        }
        "/utf16" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-16\r\ncontent-length: 6\r\n\r\n\xfe\xff\0h\0\xe9").await?;
            return Ok(());
        }
        // A byte order mark, cut.
        "/mark-text" | "/mark-json" | "/mark-file" | "/mark-only" | "/mark-never" => {
            let (kind, pieces) = match path {
                "/mark-text" => ("text/plain", vec![&b"\xef"[..], b"\xbb\xbfh", b"i"]),
                "/mark-json" => ("application/json", vec![&b"\xef\xbb"[..], b"\xbf", b"[1]"]),
                "/mark-file" => ("application/zip", vec![&b"\xef\xbb\xbf"[..], b"PK"]),
                "/mark-only" => ("text/plain", vec![&b"\xef\xbb\xbf"[..]]),
                _ => ("text/plain", vec![&b"\xef"[..], b"\xbb", b"\xbc!"]),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            for piece in pieces {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
                stream.write_all(piece).await?;
                stream.write_all(b"\r\n").await?;
            }
            stream.write_all(b"0\r\n\r\n").await?;
            return Ok(());
        }
        // Servers that tell what they were told, escaped as common libraries do.
        "/echo-php" => ok("application/json", &json(request).replace('/', "\\/")),
        "/echo-go" => ok(
            "application/json",
            &json(request).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
        ),
        "/echo-html" => {
            let told = request.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            let told = told.replace('\'', "&#39;");
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{told}", told.len())
        }
        _ => return misbehave(stream, path).await,
    };
    stream.write_all(text.as_bytes()).await
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n";

/// What no server should do; mostly the end of the connection.
async fn misbehave(stream: &mut TcpStream, path: &str) -> std::io::Result<()> {
    let end = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
    let head = HEAD;
    match path {
        "/hang" => {}
        "/hang-after-head" => stream.write_all(format!("{head}content-length: 100\r\n\r\nabc").as_bytes()).await?,
        "/longer-than-told" => {
            stream.write_all(format!("{head}content-length: 3\r\n\r\nabcdefghij").as_bytes()).await?;
            return Ok(());
        }
        "/shorter-than-told" => {
            stream.write_all(format!("{head}content-length: 100\r\n\r\nabc").as_bytes()).await?;
            return Err(end);
        }
        "/cut-chunk" => {
            stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\na\r\nabc").as_bytes()).await?;
            return Err(end);
        }
        "/bad-chunk" => {
            stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\nabc").as_bytes()).await?;
            return Err(end);
        }
        "/bad-gzip" => {
            let answer = format!("{head}content-encoding: gzip\r\ncontent-length: 8\r\n\r\nnot gzip");
            stream.write_all(answer.as_bytes()).await?;
            return Err(end);
        }
        "/bomb" => {
            let bomb = bomb();
            stream
                .write_all(format!("{head}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len()).as_bytes())
                .await?;
            stream.write_all(&bomb).await?;
        }
        "/reset" => {
            stream.set_zero_linger()?;
            return Err(end);
        }
        "/not-http" => {
            stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await?;
            return Err(end);
        }
        "/closes" => return Err(end),
        _ => go_on(stream, path).await?,
    }
    // Until the client goes.
    let _gone = stream.read(&mut [0]).await;
    Err(end)
}

/// What goes on and on.
async fn go_on(stream: &mut TcpStream, path: &str) -> std::io::Result<()> {
    let head = HEAD;
    match path {
        "/drip" => {
            stream.write_all(format!("{head}content-length: 100000\r\n\r\n").as_bytes()).await?;
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        "/drip-failure" => {
            stream.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 100000\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        "/gigabyte" | "/gigabyte-chunked" => {
            let told =
                if path == "/gigabyte" { format!("content-length: {GIGABYTE}") } else { "connection: close".into() };
            stream.write_all(format!("{head}{told}\r\n\r\n").as_bytes()).await?;
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..GIGABYTE / piece.len() {
                stream.write_all(&piece).await?;
            }
        }
        "/informs-for-ever" => loop {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            tokio::task::yield_now().await;
        },
        "/huge-head" => {
            stream.write_all(head.as_bytes()).await?;
            let line = format!("x-filler: {}\r\n", "x".repeat(1_000));
            for _ in 0..10_000 {
                stream.write_all(line.as_bytes()).await?;
            }
        }
        other => panic!("there is no behaviour {other}"),
    }
    Ok(())
}

/// More than any test allows, packed into a few kilobytes.
fn bomb() -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let nothing = vec![0; 1 << 20];
    for _ in 0..8 {
        packer.write_all(&nothing).unwrap();
    }
    packer.finish().unwrap()
}

/// Reads frames of HTTP/2 until the head of a request came.
pub(crate) async fn read_h2_request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(&frame(4, 0, 0, b"")).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 1 {
            return;
        }
    }
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    frame
}
