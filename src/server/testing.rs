//! Servers for the tests of this crate.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::about::{About, Server, Software};
use super::adapters::Chosen;
use super::address::Address;
use super::connection::Connection;
use super::section::ServerSection;

/// A server that nobody asks: of this model.
pub(crate) fn served(model: &str, software: Software) -> Server {
    let address = Address::parse(&format!("http://localhost:1/v1#{model}")).unwrap();
    let section = ServerSection::default();
    Server {
        served: address.of(model),
        about: Arc::new(About {
            software,
            version: Some("1.0".into()),
            models: Value::Null,
            about: Value::Null,
            identity: "id".into(),
        }),
        models: Arc::new(vec![model.to_owned()]),
        connection: Arc::new(Connection::new(&address, &section, Path::new(""), 0).unwrap()),
        loras: Arc::new(Vec::new()),
        chosen: Some(Chosen::Model(model.to_owned())),
    }
}
