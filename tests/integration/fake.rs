//! A small HTTP server on loopback that says what a test wants, faults included.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Got {
    pub method: String,
    pub path: String,
    /// Lines of the head, as they came.
    pub head: String,
    /// Null where there is none.
    pub body: Value,
}

impl Got {
    /// The last thing that a user said in it, or the prompt as it stands.
    pub fn question(&self) -> &str {
        let messages = self.body["messages"].as_array();
        let last = messages.and_then(|all| all.last()?["content"].as_str());
        last.or(self.body["prompt"].as_str()).unwrap_or_default()
    }

    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }
}

/// What is said to one request.
pub enum Say {
    /// A status and JSON.
    Json(u16, Value),
    /// The same, with more lines of the head.
    With(u16, String, Value),
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// After a while.
    Late(Duration, Box<Say>),
    /// Nothing, until the client goes away.
    Silence,
    /// A body without end.
    Endless,
}

/// The server. It ends when it is dropped.
pub struct Fake {
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
    over: Arc<AtomicBool>,
}

impl Fake {
    /// Starts it; every request is put to `says`.
    pub fn start(says: impl Fn(&Got) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (got, over) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
        );
        let says = Arc::new(says);
        let (kept, ended) = (got.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (says, kept, ended) = (says.clone(), kept.clone(), ended.clone());
                std::thread::spawn(move || serve(stream, says.as_ref(), &kept, &ended));
            }
        });
        Fake { port, got, over }
    }

    /// `http://127.0.0.1:PORT/v1`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Every request so far.
    pub fn got(&self) -> Vec<Got> {
        self.got
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many requests came for a path.
    pub fn count(&self, path: &str) -> usize {
        self.got().iter().filter(|got| got.path == path).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    stream: TcpStream,
    says: &(dyn Fn(&Got) -> Say + Send + Sync),
    kept: &Mutex<Vec<Got>>,
    ended: &AtomicBool,
) {
    let _ = stream.set_nodelay(true);
    let Ok(reading) = stream.try_clone() else {
        return;
    };
    let (mut reader, mut writer) = (BufReader::new(reading), stream);
    while !ended.load(Ordering::Relaxed) {
        let Some(got) = read(&mut reader) else { return };
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(got.clone());
        if !write(says(&got), &mut reader, &mut writer) {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut first = head.split_whitespace();
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    let body = if lower.contains("transfer-encoding: chunked") {
        chunked(reader)?
    } else {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        body
    };
    Some(Got {
        method,
        path,
        head,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

fn chunked(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut part = vec![0; size + 2];
        reader.read_exact(&mut part).ok()?;
        if size == 0 {
            return Some(all);
        }
        all.extend_from_slice(&part[..size]);
    }
}

/// Whether the connection goes on.
fn write(say: Say, reader: &mut BufReader<TcpStream>, writer: &mut TcpStream) -> bool {
    let head = |status: u16, more: &str, length: usize| {
        format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n{more}content-length: \
             {length}\r\n\r\n"
        )
    };
    match say {
        Say::Json(status, value) => write(Say::With(status, String::new(), value), reader, writer),
        Say::With(status, more, value) => {
            let body = value.to_string();
            let whole = head(status, &more, body.len()) + &body;
            writer.write_all(whole.as_bytes()).is_ok()
        }
        Say::Raw(bytes) => {
            let _ = writer.write_all(&bytes);
            false
        }
        Say::Late(wait, say) => {
            std::thread::sleep(wait);
            write(*say, reader, writer)
        }
        Say::Silence => {
            let _ = reader.read(&mut [0; 1]);
            false
        }
        Say::Endless => {
            let _ = writer.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while writer.write_all(b"400\r\n").is_ok()
                && writer.write_all(&[b' '; 0x400]).is_ok()
                && writer.write_all(b"\r\n").is_ok()
            {}
            false
        }
    }
}

/// `/models` of a server with these, of this owner.
pub fn models(owner: &str, names: &[&str]) -> Value {
    let entry =
        |name: &&str| json!({ "id": name, "object": "model", "owned_by": owner, "created": 1 });
    json!({ "object": "list", "data": names.iter().map(entry).collect::<Vec<_>>() })
}

/// A chat completion that says this.
pub fn said(model: &str, text: &str) -> Value {
    json!({
        "id": "x", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": text } }],
        "usage": { "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15 },
        "system_fingerprint": "fp-1",
    })
}

/// A proxy before a server: every so many requests one gets a fault instead, of five kinds in turn.
pub fn failing_proxy(port: u16, every: usize) -> Fake {
    let to = format!("http://127.0.0.1:{port}");
    let agent = ureq::Agent::new_with_defaults();
    let count = AtomicUsize::new(0);
    Fake::start(move |got| {
        if got.method == "GET" {
            let reply = agent.get(format!("{to}{}", got.path)).call();
            return match reply {
                Ok(mut reply) => Say::Json(200, reply.body_mut().read_json().unwrap()),
                Err(_) => Say::Json(404, Value::Null),
            };
        }
        let n = count.fetch_add(1, Ordering::Relaxed);
        if n % every == every - 1 {
            return match n / every % 5 {
                0 => Say::Json(500, Value::Null),
                1 => Say::Json(429, Value::Null),
                2 => Say::Json(503, Value::Null),
                3 => Say::Raw(Vec::new()),
                _ => Say::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"choice".to_vec()),
            };
        }
        let reply = agent.post(format!("{to}{}", got.path)).send_json(&got.body);
        Say::Json(200, reply.unwrap().body_mut().read_json().unwrap())
    })
}
