//! Chat templates: how a model file wants a conversation written down.
//!
//! The template is a program in Jinja from a stranger's file. It runs without any access to files or to the clock, on a
//! thread of its own, and ends when its instructions or its output are too many, so it can fail but not hang or take the
//! process down. (One thing stays open: a template may join a string with itself over and over, and memory is what it
//! then takes. Only the person who runs that model file is hit.) `strftime_now` doesn't exist, so that one conversation
//! always gives one text.

use std::io;
use std::thread;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;

/// The longest template, in bytes. Published ones have up to 20,000.
pub const TEMPLATE_BYTES_MAX: usize = 1 << 16;
/// The longest text that a template may give for an empty conversation, in bytes; the messages' own bytes come on top.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// The most instructions that a template may run.
pub const FUEL_MAX: u64 = 1_000_000;
/// Stack of the thread that renders. The parser descends a level for every operator of `---…1`, so a level may take 2 KiB.
const STACK_BYTES: usize = 128 << 20;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who says it: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// What the user says.
    pub fn user(content: impl Into<String>) -> Message {
        Message { role: "user".to_owned(), content: content.into() }
    }
}

/// Why a conversation could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The template is longer than any real one.
    #[error("the chat template has {len} bytes, more than the {TEMPLATE_BYTES_MAX} allowed")]
    TemplateTooLong {
        /// Its length.
        len: usize,
    },
    /// The template is malformed or does something that isn't supported.
    #[error("the chat template failed: {0}")]
    Template(String),
    /// The template refuses this conversation.
    #[error("the chat template refuses the conversation: {0}")]
    Raised(String),
    /// The template ran too long.
    #[error("the chat template ran for more than {FUEL_MAX} instructions")]
    OutOfFuel,
    /// The template wrote too much.
    #[error("the chat template wrote more than {limit} bytes")]
    OutputTooLong {
        /// The limit for this conversation.
        limit: usize,
    },
    /// No thread, or the template engine has a bug that this template finds.
    #[error("the template engine failed: {0}")]
    Engine(String),
}

/// What a template says through `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// A buffer that refuses to grow beyond its limit.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Renders a conversation, with the opening of the assistant's answer at the end.
///
/// `bos` and `eos` are the names of the begin and end tokens. A template that writes `bos` itself makes it twice if the
/// tokenizer adds one as well; strip it then.
pub fn render(
    template: &str,
    bos: &str,
    eos: &str,
    messages: &[Message],
) -> Result<String, ChatError> {
    if template.len() > TEMPLATE_BYTES_MAX {
        return Err(ChatError::TemplateTooLong { len: template.len() });
    }
    thread::scope(|scope| {
        thread::Builder::new()
            .name("chat-template".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || render_here(template, bos, eos, messages))
            .map_err(|error| ChatError::Engine(error.to_string()))?
            .join()
            .unwrap_or_else(|_| Err(ChatError::Engine("it panicked".to_owned())))
    })
}

fn render_here(
    template: &str,
    bos: &str,
    eos: &str,
    messages: &[Message],
) -> Result<String, ChatError> {
    let mut env = Environment::new();
    env.set_fuel(Some(FUEL_MAX));
    // These three are what the Python library that templates are written for sets.
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_undefined_behavior(UndefinedBehavior::Lenient);
    env.set_unknown_method_callback(unknown_method_callback);
    env.add_function("raise_exception", |message: String| -> Result<(), minijinja::Error> {
        let error = minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception");
        Err(error.with_source(Raised(message)))
    });
    let written: usize = messages.iter().map(|message| message.content.len()).sum();
    let limit = OUTPUT_BYTES_MAX.saturating_add(written);
    let mut out = Limited { bytes: Vec::new(), limit, full: false };
    let context = context! {
        messages => messages,
        add_generation_prompt => true,
        bos_token => bos,
        eos_token => eos,
        tools => (),
        documents => (),
    };
    let result = env
        .template_from_str(template)
        .and_then(|template| template.render_captured_to(context, &mut out).map(drop));
    match result {
        Ok(()) => String::from_utf8(out.bytes).map_err(|_| {
            ChatError::Engine("it wrote something that is not valid UTF-8".to_owned())
        }),
        Err(_) if out.full => Err(ChatError::OutputTooLong { limit }),
        Err(error) => Err(explain(&error)),
    }
}

/// What an error of the template engine means.
fn explain(error: &minijinja::Error) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Raised(message)) = error.downcast_ref() {
            return ChatError::Raised(message.clone());
        }
        let fuel = error.downcast_ref::<minijinja::Error>().map(minijinja::Error::kind);
        if fuel == Some(ErrorKind::OutOfFuel) {
            return ChatError::OutOfFuel;
        }
        cause = error.source();
    }
    ChatError::Template(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(template: &str) -> Result<String, ChatError> {
        render(template, "<s>", "</s>", &[Message::user(" Hi <b>\"there\"</b> ")])
    }

    #[test]
    fn turns_with_markers_and_a_default_system_message() {
        let template = "{% for message in messages %}{% if loop.first and messages[0]['role'] != \
                        'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}{{\
                        '<|im_start|>' + message['role'] + '\n' + message['content'] + \
                        '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ \
                        '<|im_start|>assistant\n' }}{% endif %}";
        let expected = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n Hi \
                        <b>\"there\"</b> <|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(ask(template).unwrap(), expected);
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work() {
        let template = "
{%- set ns = namespace(system=false) %}
{%- for m in messages %}
    {%- if m.role == 'system' %}
        {%- set ns.system = m.content %}
        {%- continue %}
    {%- endif %}
    {% if m.get('tool') is none and tools is none %}
[INST] {{ m['content'].strip().replace('Hi', 'Hey').upper() }} [/INST]
    {% endif %}
{% endfor %}
{{ bos_token }}{{ eos_token.startswith('<') }}{{ messages[1:] | length }}
{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}
end
";
        let expected = "[INST] HEY <B>\"THERE\"</B> [/INST]\n<s>True0\nend";
        assert_eq!(ask(template).unwrap(), expected);
    }

    #[test]
    fn a_refusal_is_told_in_the_templates_words() {
        let template = "{{ raise_exception('Roles must alternate') }}";
        assert!(matches!(ask(template), Err(ChatError::Raised(m)) if m == "Roles must alternate"));
        let nested = "{% macro f() %}{{ raise_exception('inner') }}{% endmacro %}{{ f() }}";
        assert!(matches!(ask(nested), Err(ChatError::Raised(m)) if m == "inner"));
    }

    #[test]
    fn malformed_templates_are_errors() {
        let cases =
            ["{% if %}", "{{", "{{ x.y.z }}", "{% unknown %}", "{{ 1 // 0 }}", "{% include 'x' %}"];
        for template in cases {
            assert!(matches!(ask(template), Err(ChatError::Template(_))), "{template}");
        }
    }

    #[test]
    fn endless_and_endlessly_long_templates_end() {
        let spin = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert!(matches!(ask(spin), Err(ChatError::OutOfFuel)));
        let long = "{% for a in range(9999) %}{{ 'x' * 1000 }}{% endfor %}";
        assert!(matches!(ask(long), Err(ChatError::OutputTooLong { .. })));
        let source = "x".repeat(TEMPLATE_BYTES_MAX + 1);
        assert!(matches!(ask(&source), Err(ChatError::TemplateTooLong { .. })));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        let recursive = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
        assert!(ask(recursive).is_err());
        // Each of these fills the longest template with one more level every few bytes. Some are fine and some are
        // refused; none may overflow the stack.
        for level in ["(", "[", "-", "not ", "{1:", "1+", "1~", "1 if 1 else ", "1 and ", "f("] {
            let _ = ask(&format!("{{{{ {}1", level.repeat((TEMPLATE_BYTES_MAX - 4) / level.len())));
            let _ = ask(&format!(
                "{{{{ {}1 }}}}",
                level.repeat((TEMPLATE_BYTES_MAX - 7) / level.len())
            ));
        }
        for tail in ["|e", "[0]", ".a", "()", "+1", " is odd", " in x"] {
            let _ =
                ask(&format!("{{{{ 1{} }}}}", tail.repeat((TEMPLATE_BYTES_MAX - 7) / tail.len())));
        }
        for block in
            ["{% if 1 %}", "{% for a in b %}", "{% macro m() %}", "{% set a %}", "{% elif 1 %}"]
        {
            let blocks = block.repeat((TEMPLATE_BYTES_MAX - 20) / block.len());
            let _ = ask(&format!("{{% if 1 %}}{blocks}"));
        }
    }
}
