//! A program that runs beside a test: its output goes to a file, which is shown when the test fails,
//! and it is ended with the test.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to start, or to end by itself.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at it.
const GLANCE: Duration = Duration::from_millis(20);

pub struct Program {
    child: Child,
    log: PathBuf,
}

/// What a variable names; the test that asks is ignored without it.
pub fn named(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).unwrap())
}

/// A port that nobody listens at.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Program {
    /// Starts a command. `log` is a file that both of its outputs go to.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let out = File::create(&log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            // Nothing is fetched, and no accelerator of this machine is used.
            .env("HF_HUB_OFFLINE", "1")
            .env("TRANSFORMERS_OFFLINE", "1")
            .env("CUDA_VISIBLE_DEVICES", "");
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Program { child, log }
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until something is so; fails when the program ends before, or takes too long.
    pub fn until(&mut self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !reached(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "not {what} ({ended:?}): {}",
                self.said()
            );
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "still running: {}",
                self.said()
            );
            std::thread::sleep(GLANCE);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.said());
        }
    }
}

/// The status and text of a GET, when somebody answers.
pub fn get(url: &str) -> Option<(u16, String)> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(5)))
        .proxy(None)
        .build();
    let mut reply = ureq::Agent::from(config).get(url).call().ok()?;
    let status = reply.status().as_u16();
    Some((status, reply.body_mut().read_to_string().ok()?))
}

/// A program that lies beside a Python, as in a virtual environment.
pub fn beside(python: &Path, name: &str) -> PathBuf {
    python.with_file_name(name)
}
