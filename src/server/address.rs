//! `http://host:8000/v1#model`: a server, and one of its models.

use std::fmt;

use crate::flow::ServedModel;

use super::error::ServerError;

/// A server's address as it was written, and the model behind `#`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where the API is, without a slash at its end: `http://host:8000/v1`.
    pub url: String,
    /// The model; `None` is the only one that the server has.
    pub model: Option<String>,
}

impl Address {
    /// Whether a subject is written as a server's address.
    ///
    /// ```
    /// use qeval::server::Address;
    ///
    /// assert!(Address::is_one("http://localhost:8000/v1#tuned"));
    /// assert!(!Address::is_one("ckpt-40"));
    /// ```
    pub fn is_one(text: &str) -> bool {
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        lower.starts_with("http://") || lower.starts_with("https://")
    }

    /// Reads an address. One without a path gets `/v1`, where these servers have their API.
    ///
    /// # Errors
    /// No host, a key in the address, or parts that no such address has.
    pub fn parse(text: &str) -> Result<Self, ServerError> {
        let (url, model) = match text.split_once('#') {
            Some((url, model)) => (url, Some(model)),
            None => (text, None),
        };
        let bad = |written: &str, why| ServerError::Address {
            written: written.to_owned(),
            why,
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        // What stands before `@` is never repeated: it may be a password.
        if let Some((_, host)) = authority.rsplit_once('@') {
            return Err(bad(
                &format!("{scheme}://…@{host}{path}"),
                "has a user or a key in it",
            ));
        }
        if path.contains('?') || authority.contains('?') {
            let shown = url.split('?').next().unwrap_or_default();
            return Err(bad(&format!("{shown}?…"), "has a query"));
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(bad(text, "names no host"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad(text, "has a blank in it"));
        }
        if model.is_some_and(str::is_empty) {
            return Err(bad(text, "names no model after `#`"));
        }
        let path = match path.trim_end_matches('/') {
            "" => "/v1",
            path => path,
        };
        Ok(Address {
            url: format!("{}://{authority}{path}", scheme.to_ascii_lowercase()),
            model: model.map(str::to_owned),
        })
    }

    /// The model under this address by the name that was found.
    pub fn of(&self, model: &str) -> ServedModel {
        ServedModel {
            url: self.url.clone(),
            model: model.to_owned(),
        }
    }

    /// Scheme, host, and port, where a server tells of itself beside its API.
    pub fn root(&self) -> &str {
        self.url.strip_suffix("/v1").unwrap_or(&self.url)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        match &self.model {
            Some(model) => write!(f, "#{model}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_api_and_a_model() {
        for (written, read) in [
            (
                "http://localhost:8000/v1#tuned",
                "http://localhost:8000/v1#tuned",
            ),
            (
                "HTTPS://models.example/api/v1/#org/M-7B",
                "https://models.example/api/v1#org/M-7B",
            ),
            ("http://[::1]:8080", "http://[::1]:8080/v1"),
            ("http://10.0.0.1/#a#b", "http://10.0.0.1/v1#a#b"),
        ] {
            assert_eq!(Address::parse(written).unwrap().to_string(), read);
        }
        assert_eq!(
            Address::parse("http://h:1/v1").unwrap().root(),
            "http://h:1"
        );
    }

    #[test]
    fn a_key_in_an_address_is_refused_and_not_repeated() {
        let refused = |text| Address::parse(text).unwrap_err().to_string();
        insta::assert_snapshot!(refused("https://me:sk-123@host/v1#m"), @"
        the server's address https://…@host/v1 has a user or a key in it
          An address is http://HOST:PORT/v1#MODEL. A key comes from the environment variable that `api_key_env` under [server] names, or from the file of `api_key_file`.
        ");
        assert!(!refused("http://h/v1?key=sk-123#m").contains("sk-123"));
        for (text, why) in [
            ("http://#m", "names no host"),
            ("http://:80/v1#m", "names no host"),
            ("http://h/v1#", "names no model after `#`"),
            ("http://h/v1#a b", "has a blank in it"),
            ("http://h/v1?x#m", "has a query"),
        ] {
            let said = refused(text);
            assert!(said.contains(why), "{said}");
        }
    }
}
