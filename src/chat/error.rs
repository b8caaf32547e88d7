//! What can go wrong between conversations and token ids.

use std::path::PathBuf;

use thiserror::Error;

/// A failure of the tokenizer or of the chat template.
#[derive(Debug, Error)]
pub enum ChatError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The tokenizer file is no tokenizer.
    #[error(
        "{origin}: not a tokenizer: {reason}\n\
         (a tokenizer is a complete `tokenizer.json` of the Hugging Face tokenizers library; \
         fetch the file again, or name another with `tokenizer` under [model])"
    )]
    Tokenizer {
        /// File, or what the tokenizer was made from.
        origin: String,
        /// What the library says.
        reason: String,
    },
    /// A text could not be encoded.
    #[error("{origin}: cannot encode a text of {chars} characters: {reason}")]
    Encode {
        /// The tokenizer's file.
        origin: String,
        /// Its length.
        chars: usize,
        /// What the library says.
        reason: String,
    },
    /// Ids could not be decoded.
    #[error("{origin}: cannot decode {tokens} token ids: {reason}")]
    Decode {
        /// The tokenizer's file.
        origin: String,
        /// How many.
        tokens: usize,
        /// What the library says.
        reason: String,
    },
    /// An end-of-turn id that no token has.
    #[error(
        "end-of-turn token id {id} is not in the tokenizer, whose largest id is {largest}\n\
         (tokenizer and model must be of the same model: check `eos_token_id` in \
         generation_config.json and `tokenizer` under [model])"
    )]
    EndOfTurnId {
        /// The id.
        id: u32,
        /// Largest known id.
        largest: u32,
    },
    /// No chat template in a folder.
    #[error(
        "{}: no chat template\n\
         (looked for chat_template.jinja and for `chat_template` in tokenizer_config.json; \
         take an instruct model, or put its chat_template.jinja there)",
        folder.display()
    )]
    NoTemplate {
        /// The model's folder.
        folder: PathBuf,
    },
    /// A tokenizer_config.json that cannot be used.
    #[error("{origin}: {problem}\n({rule})")]
    TokenizerConfig {
        /// The file.
        origin: String,
        /// What is wrong.
        problem: String,
        /// What it should be.
        rule: &'static str,
    },
    /// The template does not compile.
    #[error(
        "chat template: line {line}: {reason}\n\
         (templates are Jinja as Hugging Face transformers renders it)"
    )]
    TemplateSyntax {
        /// Line in the template.
        line: usize,
        /// What minijinja says.
        reason: String,
    },
    /// The template failed while rendering.
    #[error(
        "chat template: line {line}: {reason}\n\
         (the model's own template fails on this conversation; put a corrected \
         chat_template.jinja into its folder, or FILE.jinja beside a FILE.gguf)"
    )]
    TemplateRender {
        /// Line in the template.
        line: usize,
        /// What minijinja says.
        reason: String,
    },
    /// The template loops, or writes, beyond every need.
    #[error(
        "chat template: line {line}: one conversation took more than {steps} steps, an instruction \
         or 64 bytes of text each: it loops or grows without end\n\
         (put a corrected chat_template.jinja into the model's folder, or FILE.jinja beside a \
         FILE.gguf)"
    )]
    TemplateWithoutEnd {
        /// Line in the template.
        line: usize,
        /// The limit.
        steps: u64,
    },
    /// The template leaves the question out.
    #[error(
        "the chat template does not write the user's question: all that it renders is {written:?}\n\
         (it is empty, or damaged; put the model's own as chat_template.jinja into its folder, or as \
         FILE.jinja beside a FILE.gguf)"
    )]
    QuestionIgnored {
        /// What it writes.
        written: String,
    },
    /// Variables that the template does not read, or may not be given.
    #[error("[model] template_kwargs: {0}")]
    Variables(String),
    /// The template called `raise_exception`.
    #[error(
        "the chat template refuses this conversation ({roles}): {message}\n\
         (the rule is the model's own; change the turns, not the template)"
    )]
    TemplateRefuses {
        /// What the template says.
        message: String,
        /// The conversation's roles in order.
        roles: String,
    },
    /// The template drops a configured system prompt.
    #[error(
        "the chat template ignores a system prompt: {system:?} does not appear in what it renders\n\
         (this model knows no system role; leave `system` out of [train] and of the suites)"
    )]
    SystemIgnored {
        /// The configured text.
        system: String,
    },
    /// Rendering up to an answer is not the beginning of rendering with it.
    #[error(
        "the chat template does not keep what comes before the last answer: with the answer it \
         renders {with_answer:?} where the prompt alone ends with {prompt_end:?}\n\
         (labels are the text after the generation prompt, so the prompt must be the beginning of \
         the rendered conversation; train on a template that keeps it)"
    )]
    NotPrefixStable {
        /// Text of the whole conversation from where they part.
        with_answer: String,
        /// Text of the prompt from where they part.
        prompt_end: String,
    },
    /// A conversation to train on that does not end with an answer.
    #[error(
        "a conversation to train on ends with {last}, not with an answer\n\
         (the last turn must be the assistant's)"
    )]
    NoAnswer {
        /// Role of the last turn, or `nothing`.
        last: String,
    },
}
