//! SentencePiece: hand-computed merges, and a naive twin on random vocabularies.

use std::collections::HashMap;

use proptest::prelude::*;
use refute_engine::gguf::write::GgufBuilder;
use refute_engine::tokenizer::{Special, TokenizerError};

use super::tokenizer;

/// A `llama` file: the three usual special tokens, byte tokens for all bytes, then pieces with scores.
pub(crate) fn spm(pieces: &[(&str, f32)]) -> GgufBuilder {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    texts.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    texts.extend(pieces.iter().map(|(text, _)| (*text).to_owned()));
    let scores = texts.iter().take(259).map(|_| 0.0).chain(pieces.iter().map(|piece| piece.1));
    let kinds = [2, 3, 3].into_iter().chain([6; 256]).chain(pieces.iter().map(|_| 1));
    GgufBuilder::new()
        .string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &texts)
        .f32s("tokenizer.ggml.scores", scores)
        .i32s("tokenizer.ggml.token_type", kinds)
}

#[test]
fn sentence_pieces_merge_by_score_and_fall_back_to_bytes() {
    // Ids from 259 on. "ab" beats "bc", equal scores go to the left, and "abcd" is only reached through "ab" and "cd".
    let pieces = [("▁", -9.0), ("a", -9.0), ("b", -9.0), ("c", -9.0), ("d", -9.0), ("ab", -1.0)]
        .into_iter()
        .chain([("bc", -2.0), ("cd", -2.0), ("abcd", -3.0), ("▁a", -0.5), ("aa", -4.0)])
        .collect::<Vec<_>>();
    let [sp, a, b, c, ab, cd, abcd, sp_a, aa] = [259, 260, 261, 262, 264, 266, 267, 268, 269];
    let bc = 265;
    let file = spm(&pieces);
    let bare = tokenizer(
        &spm(&pieces)
            .bool("tokenizer.ggml.add_space_prefix", false)
            .bool("tokenizer.ggml.add_bos_token", false),
    );
    let cases: [(&str, &[u32]); 10] = [
        ("abcd", &[abcd]),
        ("abc", &[ab, c]),
        ("bcd", &[bc, 263]),
        (" abc", &[sp_a, bc]),
        ("  a", &[sp, sp_a]),
        ("aaa", &[aa, a]),
        ("aaaa", &[aa, aa]),
        ("cdb", &[cd, b]),
        ("é\n", &[3 + 0xc3, 3 + 0xa9, 3 + 10]),
        ("", &[]),
    ];
    for (text, ids) in cases {
        assert_eq!(bare.encode(text, Special::Text).unwrap(), ids, "{text:?}");
        assert_eq!(bare.decode(ids).unwrap(), text);
    }
    // With the defaults of the kind: a begin token, and a space in front that decoding takes away again.
    let full = tokenizer(&file);
    assert_eq!((full.bos(), full.eos(), full.stop_ids()), (Some(1), Some(2), &[2][..]));
    assert_eq!(full.encode("a b", Special::Text).unwrap(), [1, sp_a, sp, b]);
    assert_eq!(full.decode(&[1, sp_a, sp, b]).unwrap(), "a b");
    assert_eq!(full.encode("", Special::Text).unwrap(), [1]);
    assert_eq!(full.encode("a</s>a", Special::Parse).unwrap(), [1, sp_a, 2, sp_a]);
    assert_eq!(full.encode("a<unk>", Special::Parse).unwrap(), [1, sp_a, 0]);
    assert!(!full.encode("a<unk>", Special::Text).unwrap().contains(&0));
    // Text never becomes structure, even where its parts would merge into it.
    let tricky = tokenizer(&spm(&[("<", -1.0), ("s", -1.0), (">", -1.0), ("<s", -1.0)]));
    assert!(!tricky.encode("<s>", Special::Text).unwrap()[1..].contains(&1));
    let wordless = GgufBuilder::new()
        .string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", ["a", "<s>"]);
    let error = tokenizer(&wordless).encode("b", Special::Text).unwrap_err();
    assert!(matches!(error, TokenizerError::NoToken { .. }));
}

/// The same merging without any cleverness: look at all neighbours, join the best, start over.
fn naive_merge(text: &str, pieces: &HashMap<String, (u32, i32)>) -> Vec<u32> {
    let mut parts: Vec<String> = text.replace(' ', "▁").chars().map(String::from).collect();
    loop {
        let mut best: Option<(i32, usize)> = None;
        for left in 1..parts.len() {
            let joined = [parts[left - 1].as_str(), &parts[left]].concat();
            if let Some(&(_, score)) = pieces.get(&joined)
                && best.is_none_or(|(top, _)| score > top)
            {
                best = Some((score, left - 1));
            }
        }
        let Some((_, left)) = best else { break };
        let right = parts.remove(left + 1);
        parts[left].push_str(&right);
    }
    let ids = |part: &String| match pieces.get(part) {
        Some(&(id, _)) => vec![id],
        None => part.bytes().map(|byte| 3 + u32::from(byte)).collect(),
    };
    parts.iter().flat_map(ids).collect()
}

proptest! {
    #[test]
    fn merging_is_what_the_naive_twin_does(
        pieces in prop::collection::hash_map("[ab▁é]{1,5}", -6..0_i32, 1..40),
        text in "[abcé ]{0,60}",
    ) {
        let list: Vec<(&str, f32)> =
            pieces.iter().map(|(text, score)| (text.as_str(), *score as f32)).collect();
        let file = spm(&list)
            .bool("tokenizer.ggml.add_space_prefix", false)
            .bool("tokenizer.ggml.add_bos_token", false);
        let tokenizer = tokenizer(&file);
        let ids = tokenizer.encode(&text, Special::Text).unwrap();
        let lookup = (list.iter().zip(259..))
            .map(|((text, _), id)| ((*text).to_owned(), (id, pieces[*text])))
            .collect();
        prop_assert_eq!(&ids, &naive_merge(&text, &lookup));
        // Without a piece for the space, its stand-in falls back to bytes and stays, as in llama.cpp.
        if pieces.contains_key("▁") {
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }
}
