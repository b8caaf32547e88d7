//! A hub on this machine, for tests that fetch from one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::sync::mpsc::{Receiver, channel};

use super::reach::proxy;

/// A hub with one repository, `org/name` at commit `c0ffee`: listing, sizes, ranges. Returns
/// its address and the paths asked for; `None` where the environment sends local addresses through
/// a proxy.
pub(super) fn local_hub(files: &[(&'static str, String)]) -> Option<(String, Receiver<String>)> {
    if proxy().is_some() {
        eprintln!("skipped: the environment sends local addresses through a proxy");
        return None;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let files: BTreeMap<&str, String> = files.iter().cloned().collect();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            // A connection opened to see whether it opens says nothing.
            let Some(Ok(first)) = lines.next() else {
                continue;
            };
            let head: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|l| !l.is_empty())
                .collect();
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let range = head.iter().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("range: bytes=")
                    .map(str::to_owned)
            });
            let name = path
                .strip_prefix("/org/name/resolve/c0ffee/")
                .unwrap_or_default();
            let (status, extra, body) = if path.starts_with("/api/models/org/name/revision/") {
                let siblings: Vec<_> = files
                    .iter()
                    .map(|(n, t)| serde_json::json!({"rfilename": n, "size": t.len()}))
                    .collect();
                let listing = serde_json::json!({"sha": "c0ffee", "siblings": siblings});
                ("200 OK", String::new(), listing.to_string())
            } else if let Some(text) = files.get(name) {
                let range = range.unwrap_or_default();
                let (from, to) = range.split_once('-').unwrap();
                let from: usize = from.parse().unwrap();
                let to = to.parse().map_or(text.len(), |to: usize| to + 1);
                let extra = format!(
                    "Content-Range: bytes {from}-{}/{}\r\nETag: \"{name}\"\r\nX-Repo-Commit: c0ffee\r\n",
                    to - 1,
                    text.len()
                );
                ("206 Partial Content", extra, text[from..to].to_owned())
            } else {
                ("404 Not Found", String::new(), String::new())
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{extra}\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
            if tell.send(path).is_err() {
                return;
            }
        }
    });
    Some((address, told))
}
