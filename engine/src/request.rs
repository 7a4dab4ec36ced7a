//! From a person's text to the tokens of a request.

use crate::chat::{self, ChatError, Message};
use crate::model::Model;
use crate::tokenizer::{Special, TokenizerError};

/// A prompt as a person writes it.
#[derive(Clone, Copy, Debug)]
pub struct PromptText<'a> {
    /// The text.
    pub text: &'a str,
    /// Whether it is a user's message for the model's chat template, or goes to the model as it is.
    pub chat: bool,
}

/// Why a text has no tokens.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The tokenizer refuses it.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template refuses it.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The file has no template.
    #[error("the model's file has no chat template: leave --chat away")]
    NoTemplate,
}

/// The tokens of a prompt. In a plain prompt, text that looks like a special token is text; a chat template's own special
/// tokens are tokens.
///
/// # Errors
/// Texts that the tokenizer or the template refuses, and models without a template.
pub fn tokens(model: &Model, prompt: &PromptText<'_>) -> Result<Vec<u32>, PromptError> {
    let tokenizer = &model.tokenizer;
    if !prompt.chat {
        return Ok(tokenizer.encode(prompt.text, Special::Text)?);
    }
    let template = model.chat_template.as_deref().ok_or(PromptError::NoTemplate)?;
    let message = Message { role: "user".into(), content: prompt.text.into() };
    let text = chat::render(template, tokenizer.bos_text(), tokenizer.eos_text(), &[message])?;
    Ok(tokenizer.encode(&text, Special::Parse)?)
}

/// The tokens of a text to be evaluated or compared: nothing added.
///
/// # Errors
/// Texts that the tokenizer refuses.
pub fn text_tokens(model: &Model, text: &str) -> Result<Vec<u32>, TokenizerError> {
    model.tokenizer.encode(text, Special::Text)
}

/// An answer as text: what comes before the stop token.
///
/// # Errors
/// Tokens outside of the vocabulary.
pub fn answer_text(model: &Model, output: &[u32]) -> Result<String, TokenizerError> {
    let stops = model.tokenizer.stop_ids();
    let end = output.iter().position(|id| stops.contains(id)).unwrap_or(output.len());
    model.tokenizer.decode(&output[..end])
}
