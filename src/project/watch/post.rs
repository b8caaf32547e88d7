//! A verdict sent to one address. Only that host is contacted: redirects are not followed, and no
//! proxy is asked. Whoever listens gets JSON; what it answers is not read.

use std::time::Duration;

use serde::Serialize;

use super::error::WatchError;
use super::verdict::CheckpointVerdict;

/// Time for one message. Nobody waits longer for a listener than for the next look.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where verdicts are sent.
pub(super) struct Post {
    url: String,
    /// What of the address may be shown: it can hold a key.
    shown: String,
    agent: ureq::Agent,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    judgement: &'a CheckpointVerdict,
    /// Why the trainer should stop; null: it should not.
    stop: Option<&'a str>,
}

impl Post {
    /// # Errors
    /// It is no address of a web server.
    pub(super) fn new(url: &str) -> Result<Self, WatchError> {
        let problem = |problem: String| WatchError::Address { problem };
        let (scheme, rest) = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .ok_or_else(|| {
                problem("the address begins neither with http:// nor https://".into())
            })?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') || url.chars().any(char::is_whitespace) {
            return Err(problem(
                "the address names no host, or has blanks in it".into(),
            ));
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Ok(Post {
            url: url.to_owned(),
            shown: format!("{scheme}://{host}"),
            agent: config.into(),
        })
    }

    /// Sends a verdict; what went wrong is said, with the host alone.
    pub(super) fn send(
        &self,
        judgement: &CheckpointVerdict,
        stop: Option<&str>,
    ) -> Result<(), String> {
        let shown = &self.shown;
        match self
            .agent
            .post(&self.url)
            .send_json(Body { judgement, stop })
        {
            Ok(reply) if reply.status().is_success() => Ok(()),
            Ok(reply) if reply.status().is_redirection() => Err(format!(
                "{shown} answered {} and names another address, which is not followed",
                reply.status().as_u16()
            )),
            Ok(reply) => Err(format!("{shown} answered {}", reply.status().as_u16())),
            Err(ureq::Error::Timeout(_)) => Err(format!(
                "{shown} did not answer within {} s",
                TIMEOUT.as_secs()
            )),
            Err(ureq::Error::Io(error)) => Err(format!("{shown} cannot be reached: {error}")),
            Err(ureq::Error::HostNotFound) => Err(format!("{shown}: there is no such host")),
            Err(error) => Err(format!("{shown}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_its_secrets_are_not_shown() {
        let post = Post::new("https://me:key@hooks.example:8443/v?token=abc").unwrap();
        assert_eq!(post.shown, "https://hooks.example:8443");
        let refused = |url: &str| match Post::new(url) {
            Ok(_) => panic!("{url}"),
            Err(error) => error.to_string(),
        };
        let told = [
            "localhost:80/x",
            "ftp://a",
            "http://",
            "http:///x",
            "http://:80",
            "http://a b",
        ]
        .map(refused);
        for text in &told {
            assert!(text.contains("http://127.0.0.1:8080/verdict"), "{text}");
        }
        insta::assert_snapshot!(told[0], @"
        --post: the address begins neither with http:// nor https://
          Give a whole address, such as `http://127.0.0.1:8080/verdict`.
        ");
        insta::assert_snapshot!(told[2], @"
        --post: the address names no host, or has blanks in it
          Give a whole address, such as `http://127.0.0.1:8080/verdict`.
        ");
    }
}
