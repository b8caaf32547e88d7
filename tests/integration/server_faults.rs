//! What servers do wrong, and what comes of it: nothing is lost, nothing is twice, and a message says
//! where, what was asked, what came, and what to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use qeval::flow::Generation;
use qeval::server::{Address, Asked, Chat, Replied, Server, ServerError, ServerSection, Turn};
use serde_json::{Value, json};

use crate::fake::{Fake, Got, Say, failing_proxy, models, said};
use crate::project::Project;

/// Short enough for a test.
fn section() -> ServerSection {
    ServerSection {
        concurrency: 8,
        timeout_s: 1,
        tries: 4,
        wait_s: 3,
        api_key_env: "QEVAL_TEST_NO_SUCH_KEY".into(),
        ..ServerSection::default()
    }
}

fn connect(fake: &Fake, section: &ServerSection) -> Result<Server, ServerError> {
    let address = Address::parse(&format!("{}#m", fake.url())).unwrap();
    let folder = std::path::Path::new("");
    Server::connect(&address, section, folder, 7, &|| false, &mut |_| {})
}

fn chat(place: usize) -> Asked {
    Asked::Chat(Chat {
        label: format!("s::p{place}#0"),
        turns: vec![Turn {
            role: "user",
            text: format!("What is {place} + 1?"),
        }],
        prompt: None,
        stop: Vec::new(),
        generation: Generation {
            max_new_tokens: 24,
            samples: 1,
            temperature: Some(0.0),
            top_k: None,
            top_p: None,
            repetition_penalty: None,
        },
        max_tokens: 24,
        seed: 1,
        logprobs: false,
        template_kwargs: serde_json::Map::new(),
    })
}

/// What so many questions came to, each reply at its place.
fn ask(server: &Server, total: usize) -> (Vec<Vec<String>>, Result<(), ServerError>) {
    let mut heard = vec![Vec::new(); total];
    let ran = server.ask_all::<ServerError>(
        total,
        &|place| Some(chat(place)),
        &|| false,
        &mut |_| {},
        &mut |place, replied| {
            if let Replied::Chat(reply) = replied {
                heard[place].push(reply.text);
            }
            Ok(())
        },
    );
    (heard, ran)
}

/// The right answer to a question of [`chat`].
fn right(got: &Got) -> String {
    let number: usize = got.question().split(' ').nth(2).unwrap().parse().unwrap();
    (number + 1).to_string()
}

/// A server whose n-th chat completion is what `fault` says, where it says something.
fn faulty(fault: impl Fn(usize, &Got) -> Option<Say> + Send + Sync + 'static) -> Fake {
    let count = AtomicUsize::new(0);
    Fake::start(move |got| match got.path.as_str() {
        "/v1/models" => Say::Json(200, models("vllm", &["m", "n"])),
        "/v1/chat/completions" => {
            let n = count.fetch_add(1, Ordering::Relaxed);
            fault(n, got).unwrap_or_else(|| Say::Json(200, said("m", &right(got))))
        }
        _ => Say::Json(404, json!({ "detail": "Not Found" })),
    })
}

fn whole(total: usize) -> Vec<Vec<String>> {
    (0..total)
        .map(|place| vec![(place + 1).to_string()])
        .collect()
}

#[test]
fn what_may_succeed_later_is_asked_again() {
    let error = |status| Say::Json(status, json!({ "error": { "message": "busy" } }));
    type Fault = fn(&dyn Fn(u16) -> Say) -> Say;
    let faults: [(&str, Fault); 9] = [
        ("429", |e| e(429)),
        ("500", |e| e(500)),
        ("503", |e| e(503)),
        ("408", |e| e(408)),
        ("closed", |_| Say::Raw(Vec::new())),
        ("garbage", |_| {
            Say::Raw(b"\x00\xff garbage\r\n\r\n".to_vec())
        }),
        ("half a JSON", |_| {
            Say::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"choices\": ".to_vec())
        }),
        ("cut", |_| {
            Say::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"choi".to_vec())
        }),
        ("deep", |_| {
            let body = "[".repeat(200_000);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            Say::Raw((head + &body).into_bytes())
        }),
    ];
    for (name, fault) in faults {
        let fake = faulty(move |n, _| n.is_multiple_of(3).then(|| fault(&error)));
        let server = connect(&fake, &section()).unwrap();
        let (heard, ran) = ask(&server, 12);
        assert!(ran.is_ok(), "{name}: {ran:?}");
        assert_eq!(heard, whole(12), "{name}");
    }
}

#[test]
fn retry_after_is_waited_for() {
    let fake = faulty(|n, _| {
        let busy = json!({ "error": { "message": "busy" } });
        (n == 0).then(|| Say::With(429, "retry-after: 1\r\n".into(), busy))
    });
    let server = connect(&fake, &section()).unwrap();
    let begun = Instant::now();
    let (heard, ran) = ask(&server, 1);
    assert!(ran.is_ok());
    assert_eq!(heard, whole(1));
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn what_cannot_succeed_ends_the_work_with_what_came() {
    let message = |fault: fn() -> Say| {
        let fake = faulty(move |_, _| Some(fault()));
        let server = connect(&fake, &section()).unwrap();
        let (_, ran) = ask(&server, 1);
        assert_eq!(fake.count("/v1/chat/completions"), 1, "it was asked again");
        ran.unwrap_err()
            .to_string()
            .replace(&fake.port.to_string(), "[port]")
    };
    insta::assert_snapshot!(message(|| Say::Json(404, json!({ "error": { "message": "The model `m` does not exist." } }))), @"
    http://127.0.0.1:[port]/v1: POST /chat/completions for s::p0#0 was answered with 404: The model `m` does not exist.
      The API or the model is not there: is it the right address, ending in /v1, and the right model?
    ");
    insta::assert_snapshot!(message(|| Say::Json(400, json!({ "message": "This model's maximum context length is 16 tokens." }))), @"
    http://127.0.0.1:[port]/v1: POST /chat/completions for s::p0#0 was answered with 400: This model's maximum context length is 16 tokens.
      The prompt with its answer has no room there: serve the model with a larger context (`--max-model-len` of vLLM, `-c` of llama-server), or shorten the prompt or `max_new_tokens`.
    ");
    insta::assert_snapshot!(message(|| Say::Json(401, json!({ "error": "no key" }))), @"
    http://127.0.0.1:[port]/v1: POST /chat/completions for s::p0#0 was answered with 401: no key
      It wants a key: set the environment variable QEVAL_TEST_NO_SUCH_KEY, or name a file of it as `api_key_file` under [server].
    ");
    insta::assert_snapshot!(message(|| Say::With(307, "location: http://elsewhere.example/v1\r\n".into(), Value::Null)), @"
    http://127.0.0.1:[port]/v1: POST /chat/completions for s::p0#0 was redirected to http://elsewhere.example/v1, which is not followed
      Only the host that was named is asked. If that one is meant, write its address.
    ");
    insta::assert_snapshot!(message(|| Say::Json(200, said("n", "2"))), @r#"
    http://127.0.0.1:[port]/v1: POST /chat/completions for s::p0#0 was answered with an answer of the model "n", "m" was asked
      Does something in between choose the model? The answers of another one are no measurement.
    "#);
    insta::assert_snapshot!(message(|| Say::Endless), @"
    http://127.0.0.1:[port]/v1: POST /chat/completions for s::p0#0 was answered with more than 16 MiB
      An OpenAI-compatible API is wanted there; for most servers the address ends in /v1.
    ");
}

#[test]
fn a_server_that_stops_replying_is_given_up_with_what_was_finished() {
    let fake = faulty(|n, _| (n >= 5).then_some(Say::Silence));
    let one = ServerSection {
        concurrency: 1,
        ..section()
    };
    let server = connect(&fake, &one).unwrap();
    let begun = Instant::now();
    let (heard, ran) = ask(&server, 20);
    assert_eq!(heard.iter().filter(|said| said.len() == 1).count(), 5);
    let text = ran
        .unwrap_err()
        .to_string()
        .replace(&fake.port.to_string(), "[port]");
    insta::assert_snapshot!(text, @"
    http://127.0.0.1:[port]/v1 was given up: 4 requests in a row got no usable reply in 4 tries each; the last, s::p8#0: no reply within 1 s
      5 of 20 were finished and are kept. When it answers again, the same command goes on from there; `tries` and `timeout_s` under [server] make it more patient.
    ");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_slow_server_is_not_a_dead_one() {
    let fake = faulty(|_, got| {
        let said = Say::Json(200, said("m", &right(got)));
        Some(Say::Late(Duration::from_millis(300), Box::new(said)))
    });
    let server = connect(&fake, &section()).unwrap();
    let (heard, ran) = ask(&server, 16);
    assert!(ran.is_ok());
    assert_eq!(heard, whole(16));
}

#[test]
fn no_more_requests_are_in_flight_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (flying, seen) = (now.clone(), most.clone());
    let fake = faulty(move |_, got| {
        seen.fetch_max(flying.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        flying.fetch_sub(1, Ordering::SeqCst);
        Some(Say::Json(200, said("m", &right(got))))
    });
    let server = connect(&fake, &section()).unwrap();
    assert!(ask(&server, 60).1.is_ok());
    let most = most.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most}");
}

#[test]
fn the_first_request_tells_what_is_there() {
    let told = |says: fn(&Got) -> Say| {
        let fake = Fake::start(says);
        let error = connect(&fake, &section()).unwrap_err();
        error.to_string().replace(&fake.port.to_string(), "[port]")
    };
    insta::assert_snapshot!(told(|_| Say::Json(503, json!({ "error": { "message": "Loading model" } }))), @"
    http://127.0.0.1:[port]/v1: still loading after 3 s (503: Loading model)
      Wait until it is ready and type the same command again, or raise `wait_s` under [server].
    ");
    insta::assert_snapshot!(told(|_| Say::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".to_vec())), @r#"
    http://127.0.0.1:[port]/v1: no server answers there (a reply that is no JSON (expected value at line 1 column 1): "<html>")
      Start it, or correct the address; inside a container `localhost` is the container itself.
    "#);
    insta::assert_snapshot!(told(|_| Say::Json(200, json!({ "hello": 1 }))), @"
    http://127.0.0.1:[port]/v1: GET /models was answered with JSON that lists no models (`data`)
      An OpenAI-compatible API is wanted there; for most servers the address ends in /v1.
    ");
    insta::assert_snapshot!(told(|_| Say::Json(200, models("vllm", &["a", "b"]))), @r#"http://127.0.0.1:[port]/v1 has no model "m"; it has a, b"#);
    // Nobody: a port that was let go of.
    let fake = Fake::start(|_| Say::Silence);
    let port = fake.port;
    drop(fake);
    std::thread::sleep(Duration::from_millis(100));
    let address = Address::parse(&format!("http://127.0.0.1:{port}/v1#m")).unwrap();
    let folder = std::path::Path::new("");
    let error = Server::connect(&address, &section(), folder, 7, &|| false, &mut |_| {});
    let text = error
        .unwrap_err()
        .to_string()
        .replace(&port.to_string(), "[port]");
    insta::assert_snapshot!(text, @"
    http://127.0.0.1:[port]/v1: no server answers there (io: Connection refused (os error 111))
      Start it, or correct the address; inside a container `localhost` is the container itself.
    ");
}

#[test]
fn a_server_that_is_loading_is_waited_for() {
    let asked = AtomicUsize::new(0);
    let fake = Fake::start(move |got| match got.path.as_str() {
        "/v1/models" if asked.fetch_add(1, Ordering::Relaxed) == 0 => {
            Say::Json(503, json!({ "error": { "message": "Loading model" } }))
        }
        "/v1/models" => Say::Json(200, models("llamacpp", &["m"])),
        _ => Say::Json(404, Value::Null),
    });
    let address = Address::parse(&format!("{}#m", fake.url())).unwrap();
    let mut notices = Vec::new();
    let folder = std::path::Path::new("");
    Server::connect(&address, &section(), folder, 7, &|| false, &mut |n| {
        notices.push(n)
    })
    .unwrap();
    let told = notices.join("\n").replace(&fake.port.to_string(), "[port]");
    insta::assert_snapshot!(told, @"http://127.0.0.1:[port]/v1 is not ready yet (503: Loading model) and is waited for");
}

const ONE: &str = "[suite]\nname = \"one\"\ngoal = \"keep\"\n[[probe]]\nid = \"sum\"\nprompts = [\"What is 4 + 1?\"]\n[[probe.check]]\ntype = \"number\"\nvalue = 5\n";

/// A project of one probe that asks a server.
fn project(fake: &Fake) -> Project {
    let project = Project::empty();
    project.write("suites/one.toml", ONE);
    let config = format!(
        "[model]\npath = \"{}#m\"\n[server]\ntries = 2\ntimeout_s = 2\n[gate]\nsuites = [\"suites\"]\n",
        fake.url()
    );
    project.write("qeval.toml", config);
    project
}

#[test]
fn a_key_is_sent_and_stands_nowhere() {
    const KEY: &str = "sk-very-secret-4711";
    let fake = Fake::start(|got| {
        if !got.head.contains("Bearer sk-very-secret-4711") {
            return Say::Json(
                401,
                json!({ "error": { "message": format!("no key but {KEY}") } }),
            );
        }
        match got.path.as_str() {
            "/v1/models" => Say::Json(200, models(KEY, &["m"])),
            "/v1/chat/completions" => Say::Json(200, said("m", &format!("5, {KEY}"))),
            _ => Say::Json(404, Value::Null),
        }
    });
    let project = project(&fake).env("QEVAL_SERVER_KEY", KEY);
    let said = project.qeval("run base").exits(0);
    let shown = project.qeval("show base").exits(0);
    let json = project.qeval("run base --format json").exits(0);
    let mut all = [
        said.stdout,
        said.stderr,
        shown.stdout,
        shown.stderr,
        json.stdout,
    ]
    .concat();
    for entry in walk(&project.path("runs")) {
        all += &String::from_utf8_lossy(&std::fs::read(entry).unwrap());
    }
    assert!(all.contains("[key]"), "it was repeated and taken out");
    assert!(!all.contains(KEY), "{all}");
    let without = self::project(&fake);
    let refused = without.qeval("run base").exits(3);
    assert!(
        !refused.stderr.contains(KEY) || refused.stderr.contains("no key but"),
        "{}",
        refused.stderr
    );
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}

#[test]
fn a_redirect_is_not_followed_with_the_key() {
    let elsewhere = Fake::start(|_| Say::Json(200, models("vllm", &["m"])));
    let to = format!("location: {}/models\r\n", elsewhere.url());
    let fake = Fake::start(move |_| Say::With(307, to.clone(), Value::Null));
    let refused = project(&fake)
        .env("QEVAL_SERVER_KEY", "sk-1")
        .qeval("run base")
        .exits(3);
    let text = refused.stderr.replace(&fake.port.to_string(), "[port]");
    let text = text.replace(&elsewhere.port.to_string(), "[other]");
    insta::assert_snapshot!(text, @"
    error: http://127.0.0.1:[port]/v1: GET /models was redirected to http://127.0.0.1:[other]/v1/models, which is not followed
      Only the host that was named is asked. If that one is meant, write its address.
    ");
    assert!(elsewhere.got().is_empty(), "another host was asked");
}

#[test]
fn a_prompt_that_was_cut_there_is_no_measurement() {
    let fake = faulty(|_, _| {
        let mut short = said("m", "5");
        short["usage"]["prompt_tokens"] = 16.into();
        Some(Say::Json(200, short))
    });
    let project = project(&fake);
    let long = ONE.replace(
        "What is 4",
        &format!("{} What is 4", "Read this well. ".repeat(80)),
    );
    project.write("suites/one.toml", long);
    let said = project.qeval("run base").exits(3);
    let text = said.stderr.replace(&fake.port.to_string(), "[port]");
    let text: String = text
        .lines()
        .skip_while(|l| !l.starts_with("error"))
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(text, @"
    error: http://127.0.0.1:[port]/v1: POST for one::sum#0 was answered with an answer to 16 tokens of a prompt of 1295 bytes
      It cuts prompts, so its answers are to other questions: serve the model with a larger context, or shorten the prompt.
    ");
}

/// Sums, each a probe of its own.
fn sums(count: usize) -> String {
    let each = (0..count).map(|n| {
        format!(
            "[[probe]]\nid = \"p{n}\"\nprompts = [\"What is {n} + 1?\"]\n[[probe.check]]\ntype = \
             \"number\"\nvalue = {}\n",
            n + 1
        )
    });
    "[suite]\nname = \"sums\"\ngoal = \"keep\"\n".to_owned() + &each.collect::<String>()
}

/// Lines of the base's record of one kind, and how many different keys they have.
fn recorded(project: &Project, kind: &str) -> (usize, usize) {
    let files = walk(&project.path("runs"));
    let file = files
        .iter()
        .find(|path| path.ends_with("answers/base.jsonl"));
    let text = std::fs::read_to_string(file.unwrap()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found: Vec<&Value> = lines.iter().filter_map(|line| line.get(kind)).collect();
    let cases: std::collections::BTreeSet<String> = found
        .iter()
        .map(|line| line.get("answer").unwrap_or(line)["case"].to_string())
        .collect();
    (found.len(), cases.len())
}

#[test]
fn ten_thousand_answers_through_a_proxy_that_fails_are_each_there_once() {
    const COUNT: usize = 10_000;
    let backend = faulty(|_, _| None);
    // The server's own rate, asked by the same client.
    let alone = ServerSection {
        concurrency: 32,
        timeout_s: 30,
        ..section()
    };
    let own = |fake: &Fake| {
        let begun = Instant::now();
        let server = connect(fake, &alone).unwrap();
        let (heard, ran) = ask(&server, COUNT);
        assert!(ran.is_ok(), "{ran:?}");
        assert_eq!(heard, whole(COUNT));
        COUNT as f64 / begun.elapsed().as_secs_f64()
    };
    let direct = own(&backend);
    let faultless = own(&failing_proxy(backend.port, usize::MAX));
    let proxy = failing_proxy(backend.port, 20);
    let through = own(&proxy);
    let project = project(&proxy);
    project.edit("qeval.toml", "tries = 2\ntimeout_s = 2\n", "");
    project.write("suites/one.toml", sums(COUNT));
    let begun = Instant::now();
    let said = project.qeval("run base").exits(0);
    let whole_command = COUNT as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(said.stdout, "base: 10000 scored, mean 1.00, 0 unscored\n");
    assert_eq!(recorded(&project, "answered"), (COUNT, COUNT));
    assert_eq!(recorded(&project, "scored"), (COUNT, COUNT));
    println!(
        "answers a second: {direct:.0} of the server alone, {faultless:.0} through a proxy, {through:.0} \
         ({:.0} percent) through one that fails 5 percent of requests, {whole_command:.0} of the whole \
         command",
        100.0 * through / faultless
    );
}

#[test]
#[cfg(unix)]
fn an_interrupt_keeps_what_was_finished_and_nothing_is_asked_twice() {
    const COUNT: usize = 120;
    let fake = faulty(|_, got| {
        let said = Say::Json(200, said("m", &right(got)));
        Some(Say::Late(Duration::from_millis(40), Box::new(said)))
    });
    let project = project(&fake);
    project.edit("qeval.toml", "tries = 2\n", "tries = 2\nconcurrency = 2\n");
    project.write("suites/one.toml", sums(COUNT));
    let child = project.start("run base");
    while fake.count("/v1/chat/completions") < 30 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: a signal to a child of ours, which has not been waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    let said = project.wait(child);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(
        said.stderr
            .contains("interrupted; what was finished is kept"),
        "{}",
        said.stderr
    );
    let (kept, cases) = recorded(&project, "answered");
    assert!(kept == cases && (20..COUNT).contains(&kept), "{kept}");
    let before = fake.count("/v1/chat/completions");
    assert!(before - kept <= 4, "{before} asked, {kept} kept");
    let said = project.qeval("run base").exits(0);
    assert!(
        said.stdout.contains("120 scored, mean 1.00"),
        "{}",
        said.stdout
    );
    assert_eq!(recorded(&project, "answered"), (COUNT, COUNT));
    assert_eq!(fake.count("/v1/chat/completions") - before, COUNT - kept);
}
