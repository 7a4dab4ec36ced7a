// How quantized heads lie in memory: q of a batch, and the K and V of a layer by position.
//
// A row is one position's heads: of each head its values, two i16 a word (the even one below),
// padded with zeros to whole groups of four words; then one shift a head; padded to whole groups.

/// Words of a head's values.
fn head_words(len: u32) -> u32 {
    return ((len + 7u) / 8u) * 4u;
}

/// Words of a row.
fn heads_row_words(heads: u32, len: u32) -> u32 {
    return ((heads * (head_words(len) + 1u) + 3u) / 4u) * 4u;
}

/// The word of row `row` that holds the shift of head `head`.
fn shift_word(row: u32, head: u32, heads: u32, len: u32) -> u32 {
    return row * heads_row_words(heads, len) + heads * head_words(len) + head;
}

/// The lower halves of words, as signed numbers.
fn low_halves(words: vec4<u32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(words << vec4<u32>(16u)) >> vec4<u32>(16u);
}

/// The upper halves of words, as signed numbers.
fn high_halves(words: vec4<u32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(words) >> vec4<u32>(16u);
}
