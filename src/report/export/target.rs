//! What an answer has to satisfy, as one line of text: other programs show a target beside it.

use crate::flow::{CheckSpec, Probe};

/// Every check as written in the suite: `contains {"value":"8"}; not-regex {"value":"^No"}`.
pub(super) fn target_of(probe: &Probe) -> String {
    let checks: Vec<String> = probe.checks.iter().map(written).collect();
    checks.join("; ")
}

fn written(check: &CheckSpec) -> String {
    let kind = check.written_kind();
    match check.params.is_empty() {
        true => kind,
        false => {
            let params = serde_json::Value::Object(check.params.clone());
            format!("{kind} {params}")
        }
    }
}
