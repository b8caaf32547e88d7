//! Variables of a chat template that a user sets: `template_kwargs` under `[model]`, known as
//! `chat_template_kwargs` to transformers and vLLM. `enable_thinking` of Qwen3 and SmolLM3 is the
//! usual one.

use minijinja::Value;
use serde_json::{Map, Value as Json};

use super::{ChatError, ChatTemplate};

/// What a template is always given, and nobody sets.
const RESERVED: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// Variables with their values as JSON; none by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Variables(Map<String, Json>);

impl Variables {
    /// Those of a table.
    pub fn new(values: Map<String, Json>) -> Self {
        Variables(values)
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The table of them.
    pub fn map(&self) -> &Map<String, Json> {
        &self.0
    }

    /// As [`Variables::map`].
    pub fn into_map(self) -> Map<String, Json> {
        self.0
    }

    pub(super) fn values(&self) -> impl Iterator<Item = (&str, Value)> {
        self.0
            .iter()
            .map(|(name, json)| (name.as_str(), value(json)))
    }

    pub(super) fn with(&self, name: &str, json: Json) -> Self {
        let mut values = self.0.clone();
        values.insert(name.to_owned(), json);
        Variables(values)
    }
}

impl ChatTemplate {
    /// The same template with these variables.
    ///
    /// # Errors
    /// A name that the template never reads, which would change nothing, and one that conversations
    /// or the tokenizer set.
    pub fn with_checked_variables(self, variables: Variables) -> Result<Self, ChatError> {
        if variables.is_empty() {
            return Ok(self);
        }
        let read = self.names_read();
        for name in variables.0.keys() {
            if RESERVED.contains(&name.as_str()) || name.ends_with("_token") {
                return Err(ChatError::Variables(format!(
                    "`{name}` is set by qeval from the conversation and the tokenizer; take it out"
                )));
            }
            if !read.contains(name) {
                let own: Vec<&str> = read
                    .iter()
                    .map(String::as_str)
                    .filter(|n| !RESERVED.contains(n) && !n.ends_with("_token"))
                    .filter(|n| {
                        !["namespace", "raise_exception", "strftime_now", "range"].contains(n)
                    })
                    .collect();
                return Err(ChatError::Variables(format!(
                    "the chat template does not read `{name}`, so it would change nothing; {}",
                    match own.is_empty() {
                        true => "this template has no variables to set: take it out".to_owned(),
                        false => format!("it reads {}", own.join(", ")),
                    }
                )));
            }
        }
        Ok(self.with_variables(variables))
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(whole), _) => Value::from(whole),
            (None, float) => Value::from(float.unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => Value::from(list.iter().map(value).collect::<Vec<_>>()),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(name, json)| (name.as_str(), value(json))))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::chat::Conversation;

    /// Qwen3's switch in small.
    const SWITCHED: &str = "{{ messages[0].content }}|\
        {%- if enable_thinking is defined and enable_thinking is false %}off{% else %}on{% endif %}\
        {%- if budget %} {{ budget.tokens + 1 }} {{ budget.names[1] }}{% endif %}";

    fn with(values: Json) -> Result<ChatTemplate, ChatError> {
        let template = ChatTemplate::new(SWITCHED, BTreeMap::new()).unwrap();
        let Json::Object(map) = values else {
            panic!("not a table")
        };
        template.with_checked_variables(Variables::new(map))
    }

    #[test]
    fn a_template_reads_what_is_set() {
        let rendered = |values| {
            let conversation = Conversation::prompt(None, "hi");
            with(values).unwrap().render(&conversation, true).unwrap()
        };
        assert_eq!(rendered(json!({})), "hi|on");
        assert_eq!(rendered(json!({"enable_thinking": true})), "hi|on");
        assert_eq!(rendered(json!({"enable_thinking": false})), "hi|off");
        assert_eq!(
            rendered(json!({"budget": {"tokens": 4, "names": ["a", "b"]}})),
            "hi|on 5 b"
        );
    }

    /// A moment is kept with the variables, not instead of them.
    #[test]
    fn a_template_at_another_moment_keeps_them() {
        let template = with(json!({"enable_thinking": false}))
            .unwrap()
            .at(7)
            .unwrap();
        let rendered = template.render(&Conversation::prompt(None, "hi"), true);
        assert_eq!(rendered.unwrap(), "hi|off");
    }

    #[test]
    fn a_variable_that_would_change_nothing_is_refused() {
        let refused = |values| with(values).unwrap_err().to_string();
        insta::assert_snapshot!(refused(json!({"enable_thinkng": false})), @"[model] template_kwargs: the chat template does not read `enable_thinkng`, so it would change nothing; it reads budget, enable_thinking");
        insta::assert_snapshot!(refused(json!({"messages": []})), @"[model] template_kwargs: `messages` is set by qeval from the conversation and the tokenizer; take it out");
        let plain = ChatTemplate::new("{{ messages[0].content }}", BTreeMap::new()).unwrap();
        let one = Variables::default().with("x", json!(1));
        insta::assert_snapshot!(plain.with_checked_variables(one).unwrap_err(), @"[model] template_kwargs: the chat template does not read `x`, so it would change nothing; this template has no variables to set: take it out");
    }
}
