//! Tokenizers: ids against llama.cpp's on the real model, and against hand-computed ones on small vocabularies.

mod sentencepiece;

use std::path::PathBuf;

use proptest::prelude::*;
use refute_engine::chat::{self, Message};
use refute_engine::gguf::Gguf;
use refute_engine::gguf::write::GgufBuilder;
use refute_engine::tokenizer::{
    Special, TEXT_BYTES_MAX, TokenKind, Tokenizer, TokenizerError, tokenizer_hash,
};
use sha3::{Digest, Keccak256};

use sentencepiece::spm;

fn tokenizer(file: &GgufBuilder) -> Tokenizer {
    Tokenizer::from_gguf(&Gguf::from_bytes(file.build()).unwrap()).unwrap()
}

fn refusal(file: &GgufBuilder) -> String {
    Tokenizer::from_gguf(&Gguf::from_bytes(file.build()).unwrap()).unwrap_err().to_string()
}

/// The real model's file, or nothing where there is none and none is asked for.
fn model() -> Option<Gguf> {
    let path = std::env::var_os("REFUTE_MODEL").map(PathBuf::from).or_else(|| {
        let home = PathBuf::from(std::env::var_os("HOME")?);
        Some(home.join(".cache/refute/SmolLM2-135M-Instruct.Q4_1.gguf"))
    });
    let path = path.filter(|path| path.exists());
    if path.is_none() {
        let required = std::env::var("REFUTE_REQUIRE_MODEL").is_ok_and(|value| value == "1");
        assert!(!required, "REFUTE_REQUIRE_MODEL=1, but there is no model file");
        eprintln!("SKIPPED: no model file at $REFUTE_MODEL or in ~/.cache/refute");
    }
    path.map(|path| Gguf::open(&path).unwrap())
}

#[derive(serde::Deserialize)]
struct Table {
    rows: Vec<(String, bool, Vec<u32>)>,
}

#[test]
fn the_real_models_ids_are_those_of_llama_cpp() {
    let Some(gguf) = model() else { return };
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let table: Table = serde_json::from_str(include_str!("../data/smollm2-tokens.json")).unwrap();
    assert!(table.rows.len() > 250);
    for (text, parse, ids) in table.rows {
        let special = if parse { Special::Parse } else { Special::Text };
        assert_eq!(tokenizer.encode(&text, special).unwrap(), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(tokenizer.stop_ids(), [2]);
    assert_eq!(tokenizer.token_kind(2), Some(TokenKind::Control));
    // This vocabulary has no token for the first byte of the planes that nobody uses yet.
    let error = tokenizer.encode("\u{50000}", Special::Text).unwrap_err();
    assert!(matches!(error, TokenizerError::NoToken { byte: 0xf1 }));
}

#[test]
fn the_real_models_template_opens_an_answer() {
    let Some(gguf) = model() else { return };
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let template = tokenizer.chat_template().unwrap();
    let messages = [Message::user("What is the capital of France?")];
    let text =
        chat::render(template, tokenizer.bos_text(), tokenizer.eos_text(), &messages).unwrap();
    let expected = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by \
                    Hugging Face<|im_end|>\n<|im_start|>user\nWhat is the capital of \
                    France?<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(text, expected);
    let ids = tokenizer.encode(&text, Special::Parse).unwrap();
    assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 3);
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

/// The printable character that stands for a byte, computed as GPT-2's authors describe it.
fn byte_chars() -> Vec<char> {
    let printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut others = 256..;
    let code = |byte: u32| if printable(&byte) { byte } else { others.next().unwrap() };
    (0..256).map(code).map(|code| char::from_u32(code).unwrap()).collect()
}

/// A `gpt2` file: token `n` is byte `n`, then come the merges' results, then two special tokens.
fn gpt2(pre: &str, merges: &[&str]) -> GgufBuilder {
    let mut texts: Vec<String> = byte_chars().iter().map(char::to_string).collect();
    for joined in merges.iter().map(|merge| merge.replace(' ', "")) {
        if !texts.contains(&joined) {
            texts.push(joined);
        }
    }
    let mut kinds = vec![1; texts.len()];
    texts.extend(["<end>".to_owned(), "<user>".to_owned()]);
    kinds.extend([3, 4]);
    GgufBuilder::new()
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", pre)
        .strings("tokenizer.ggml.tokens", &texts)
        .i32s("tokenizer.ggml.token_type", kinds)
        .strings("tokenizer.ggml.merges", merges)
        .bool("tokenizer.ggml.add_bos_token", false)
}

#[test]
fn pre_tokenizers_decide_what_may_merge() {
    // Ids from 256 on, in this order.
    let merges = ["1 2", "3 4", "12 34", "a b", "Ġ ab", "ab !", "! !", "Ġ Ġ", "Ċ Ċ", "' S", "Ġ 1"];
    let cases: [(&str, &str, &[u32]); 24] = [
        ("gpt-2", "1234", &[258]),
        ("smollm", "1234", &[49, 50, 51, 52]),
        ("qwen2", "1234", &[49, 50, 51, 52]),
        ("llama-bpe", "1234", &[256, 51, 52]),
        ("default", "1234", &[256, 51, 52]),
        ("gpt-2", " 1", &[266]),
        ("smollm", " 1", &[32, 49]),
        ("llama-bpe", " 12", &[32, 256]),
        ("gpt-2", "ab!!", &[259, 262]),
        ("default", "ab!!", &[259, 262]),
        ("gpt-2", " ab", &[260]),
        ("smollm", "  ab", &[32, 260]),
        ("smollm", "   ab", &[263, 260]),
        ("smollm", "ab  ", &[259, 263]),
        ("smollm", "ab\n\n", &[259, 264]),
        ("llama-bpe", " \n\n", &[32, 264]),
        ("qwen2", "!\n\n", &[33, 264]),
        ("gpt-2", "!\n\nab", &[33, 10, 10, 259]),
        ("gpt-2", "x'S", &[120, 39, 83]),
        ("llama-bpe", "x'S", &[120, 265]),
        ("llama-bpe", "x'Sab", &[120, 265, 259]),
        ("gpt-2", "'Sab", &[39, 83, 259]),
        ("smollm", "é", &[195, 169]),
        ("smollm", "", &[]),
    ];
    for (pre, text, ids) in cases {
        let tokenizer = tokenizer(&gpt2(pre, &merges));
        assert_eq!(tokenizer.encode(text, Special::Text).unwrap(), ids, "{pre} {text:?}");
        assert_eq!(tokenizer.decode(ids).unwrap(), text);
    }
}

#[test]
fn of_equal_merges_the_first_counts() {
    let tokenizer = tokenizer(&gpt2("smollm", &["a b", "b c", "a b"]));
    assert_eq!(tokenizer.encode("abc", Special::Text).unwrap(), [256, 99]);
}

#[test]
fn special_tokens_are_cut_out_where_they_may_be() {
    let tokenizer = tokenizer(&gpt2("smollm", &["e n"]).u32("tokenizer.ggml.eos_token_id", 257));
    let (end, user) = (257, 258);
    let encode = |text: &str, special| tokenizer.encode(text, special).unwrap();
    assert_eq!(encode("a<end><user>", Special::Parse), [97, end, user]);
    assert_eq!(encode("<end><user>en", Special::Text), [60, 256, 100, 62, user, 256]);
    assert_eq!(encode("<<end>end>", Special::Parse), [60, end, 256, 100, 62]);
    assert_eq!(tokenizer.token_kind(user), Some(TokenKind::UserDefined));
    assert_eq!(tokenizer.token_kind(259), None);
    assert_eq!(tokenizer.decode(&[end, 97]).unwrap(), "<end>a");
    for ids in [[259], [u32::MAX]] {
        let error = tokenizer.decode(&ids).unwrap_err();
        assert!(matches!(error, TokenizerError::Id { vocab: 259, .. }));
        assert!(tokenizer.stream().push(ids[0]).is_err());
    }
}

#[test]
fn longer_special_tokens_are_cut_out_first() {
    let file = GgufBuilder::new()
        .string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", ["ab", "bcd", "a", "d"])
        .i32s("tokenizer.ggml.token_type", [4, 4, 1, 1])
        .bool("tokenizer.ggml.add_bos_token", false)
        .bool("tokenizer.ggml.add_space_prefix", false);
    let tokenizer = tokenizer(&file);
    assert_eq!(tokenizer.encode("abcdab", Special::Text).unwrap(), [2, 1, 0]);
    assert_eq!(tokenizer.encode("abd", Special::Text).unwrap(), [0, 3]);
}

#[test]
fn begin_end_and_stop_tokens_follow_the_file() {
    let base = || gpt2("llama-bpe", &[]);
    // llama-bpe adds a begin token unless the file says no, as `base` does.
    let file = base().u32("tokenizer.ggml.bos_token_id", 256);
    assert_eq!(tokenizer(&file).encode("a", Special::Text).unwrap(), [97]);
    let file = base()
        .u32("tokenizer.ggml.eos_token_id", 257)
        .u32("tokenizer.ggml.eot_token_id", 256)
        .u32("tokenizer.ggml.eom_token_id", 257)
        .bool("tokenizer.ggml.add_eos_token", true);
    let with_eos = tokenizer(&file);
    assert_eq!(with_eos.stop_ids(), [256, 257]);
    assert_eq!(with_eos.encode("a", Special::Text).unwrap(), [97, 257]);
    assert_eq!(with_eos.decode(&[97, 257]).unwrap(), "a");
    assert_eq!(with_eos.decode(&[257, 97]).unwrap(), "<user>a");
    assert_eq!(tokenizer(&base()).stop_ids(), [0; 0]);
    assert_eq!(
        refusal(&base().u32("tokenizer.ggml.eos_token_id", 258)),
        "tokenizer.ggml.eos_token_id is 258, outside the vocabulary of 258 tokens"
    );
    assert_eq!(
        refusal(&base().bool("tokenizer.ggml.add_eos_token", true)),
        "tokenizer.ggml.add_eos_token is true, but tokenizer.ggml.eos_token_id is missing"
    );
}

#[test]
fn broken_tokenizers_are_refused_by_name() {
    let plain = |model: &str, texts: &[&str]| {
        GgufBuilder::new()
            .string("tokenizer.ggml.model", model)
            .strings("tokenizer.ggml.tokens", texts)
    };
    let bpe = |texts: &[&str], merge: &str| {
        plain("gpt2", texts).strings("tokenizer.ggml.merges", [merge])
    };
    let scores = |scores: &[f32]| {
        plain("llama", &["a", "b", "c"]).f32s("tokenizer.ggml.scores", scores.iter().copied())
    };
    let merge = "does not join two tokens of the vocabulary to a third";
    let cases = [
        (GgufBuilder::new(), r#"metadata key "tokenizer.ggml.model" is missing"#),
        (plain("bert", &["a"]), r#"tokenizer "bert" is not supported; gpt2 and llama are"#),
        (gpt2("tekken", &[]), r#"pre-tokenizer "tekken" is not supported; default, gpt-2, smollm"#),
        (plain("gpt2", &["a"]), r#"metadata key "tokenizer.ggml.merges" is missing"#),
        (plain("llama", &[]), "the vocabulary is empty"),
        (plain("llama", &["x", "a", "a"]), r#"tokens 1 and 2 are both "a""#),
        (plain("llama", &["a"]).i32s("tokenizer.ggml.token_type", [1, 1]), "has 2 elements for 1"),
        (plain("llama", &["a"]).i32s("tokenizer.ggml.token_type", [6]), "token 0 is a byte token"),
        (scores(&[0.0]), "tokenizer.ggml.scores has 1 elements for 3 tokens"),
        (scores(&[0.0, f32::NAN, 0.0]), "the score of token 1 is not a number"),
        (bpe(&["a", "b"], "a b"), merge),
        (bpe(&["a", "ab"], "a b"), merge),
        (bpe(&["ab"], "ab"), merge),
        (bpe(&["a"], ""), merge),
        (bpe(&["a"], "é "), merge),
    ];
    for (file, expected) in cases {
        let message = refusal(&file);
        assert!(message.contains(expected), "{message:?} should say {expected:?}");
    }
}

#[test]
fn long_texts_end_in_tokens_or_in_an_error() {
    for pre in ["default", "gpt-2", "smollm", "llama-bpe", "qwen2"] {
        let tokenizer = tokenizer(&gpt2(pre, &["Ġ Ġ", "ĠĠ ĠĠ", "a a"]));
        for char in [" ", "a", "1", "\n", "!"] {
            let text = char.repeat(TEXT_BYTES_MAX / 128);
            let ids = tokenizer.encode(&text, Special::Parse).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }
    // The longest run that a pattern goes back over, character by character.
    let tokenizer = tokenizer(&gpt2("llama-bpe", &["Ġ Ġ"]));
    let text = " ".repeat(TEXT_BYTES_MAX);
    assert!(tokenizer.encode(&text, Special::Text).is_ok());
    let error = tokenizer.encode(&format!("{text} "), Special::Text).unwrap_err();
    assert!(matches!(error, TokenizerError::TextTooLong { .. }));
}

proptest! {
    #[test]
    fn every_text_comes_back(text in ".{0,40}|[ \\n\\t1a'!é界]{0,40}", parse in any::<bool>()) {
        let special = if parse { Special::Parse } else { Special::Text };
        for pre in ["default", "gpt-2", "smollm", "llama-bpe", "qwen2"] {
            let tokenizer = tokenizer(&gpt2(pre, &["Ġ Ġ", "a a", "1 1", "Ã ©", "Ċ Ċ"]));
            let ids = tokenizer.encode(&text, special).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), &text[..]);
        }
        let tokenizer = tokenizer(&spm(&[("▁", -1.0), ("▁▁", -1.0), ("a", -2.0), ("▁a", -0.5)]));
        let ids = tokenizer.encode(&text, Special::Text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text.replace('▁', " "));
    }

    #[test]
    fn a_stream_says_what_decoding_says(ids in prop::collection::vec(0..258_u32, 0..40)) {
        for tokenizer in [tokenizer(&gpt2("smollm", &["Ã ©"])), tokenizer(&spm(&[("▁é", 0.0)]))] {
            let mut stream = tokenizer.stream();
            let mut text = String::new();
            for &id in &ids {
                text.push_str(&stream.push(id).unwrap());
            }
            text.push_str(&stream.finish());
            prop_assert_eq!(text, tokenizer.decode(&ids).unwrap());
        }
    }
}

#[test]
fn no_damaged_file_makes_a_tokenizer_panic() {
    let pieces = [("▁", -1.0), ("a", -1.0), ("b", -2.0), ("▁a", 0.5), ("ab", 1.5)];
    let small = |model: &str| {
        GgufBuilder::new()
            .string("tokenizer.ggml.model", model)
            .string("tokenizer.ggml.pre", "qwen2")
            .strings("tokenizer.ggml.tokens", pieces.iter().map(|piece| piece.0))
            .f32s("tokenizer.ggml.scores", pieces.iter().map(|piece| piece.1))
            .i32s("tokenizer.ggml.token_type", [1, 1, 1, 4, 3])
            .strings("tokenizer.ggml.merges", ["a b", "▁ a"])
            .u32("tokenizer.ggml.bos_token_id", 4)
            .bool("tokenizer.ggml.add_bos_token", true)
            .build()
    };
    let mut built = 0;
    for file in [small("gpt2"), small("llama")] {
        for bit in 0..file.len() * 8 {
            let mut bytes = file.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(gguf) = Gguf::from_bytes(bytes) else { continue };
            let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) else { continue };
            built += 1;
            for text in ["", " ab▁a", "é\n<0x0A>", "abab  ba"] {
                for special in [Special::Parse, Special::Text] {
                    let _ = tokenizer.encode(text, special);
                }
            }
            let _ = tokenizer.decode(&[4, 3, 2, 1, 0]);
        }
    }
    assert!(built > 1000, "{built} damaged files still describe a tokenizer");
}

#[test]
fn a_stream_holds_back_half_characters() {
    let tokenizer = tokenizer(&gpt2("smollm", &[]));
    let mut stream = tokenizer.stream();
    let pieces: Vec<String> =
        "a👍é".bytes().map(|byte| stream.push(u32::from(byte)).unwrap()).collect();
    assert_eq!(pieces, ["a", "", "", "", "👍", "", "é"]);
    assert_eq!(stream.push(0xe2).unwrap(), "");
    assert_eq!(stream.push(97).unwrap(), "\u{fffd}a");
    assert_eq!(stream.push(0xf0).unwrap(), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}

#[test]
fn the_hash_covers_the_tokenizers_keys_and_nothing_else() {
    let entry = |key: &str, kind: u32, value: &[u8]| {
        let mut bytes = (key.len() as u32).to_le_bytes().to_vec();
        bytes.extend(key.bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend((value.len() as u64).to_le_bytes());
        bytes.extend(value);
        bytes
    };
    let hash = |file: &GgufBuilder| tokenizer_hash(&Gguf::from_bytes(file.build()).unwrap());
    let file = GgufBuilder::new()
        .u32("tokenizer.b", 7)
        .string("tokenizer.a", "x")
        .u32("tokenizer", 1)
        .u32("tokenizes.", 1)
        .string("general.name", "n");
    let mut string = 1_u64.to_le_bytes().to_vec();
    string.push(b'x');
    let parts = [entry("tokenizer.a", 8, &string), entry("tokenizer.b", 4, &[7, 0, 0, 0])];
    assert_eq!(hash(&file)[..], Keccak256::digest(parts.concat())[..]);
    assert_eq!(hash(&file), hash(&file.clone().u32("zzz", 1)));
    assert_ne!(hash(&file), hash(&file.clone().u32("tokenizer.c", 1)));
    assert_eq!(hash(&GgufBuilder::new())[..], Keccak256::digest([])[..]);
}
