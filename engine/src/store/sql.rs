//! Conversions between the chain's types and SQLite's.

use alloy::primitives::{Address, B256, U256};
use rusqlite::{Row, RowIndex};

/// SQLite's integers are signed. Times and limits that strangers chose may be larger than that; the
/// largest one is as far away.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Only [`int`] writes these columns.
pub(super) fn from_int(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn number(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<u64> {
    row.get(column).map(from_int)
}

pub(super) fn maybe_number(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(from_int))
}

pub(super) fn b256(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<B256> {
    row.get::<_, [u8; 32]>(column).map(B256::from)
}

pub(super) fn maybe_b256(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Option<B256>> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(B256::from))
}

pub(super) fn address(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Address> {
    row.get::<_, [u8; 20]>(column).map(Address::from)
}

pub(super) fn maybe_address(
    row: &Row<'_>,
    column: impl RowIndex,
) -> rusqlite::Result<Option<Address>> {
    Ok(row.get::<_, Option<[u8; 20]>>(column)?.map(Address::from))
}

pub(super) fn u256(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<U256> {
    row.get::<_, [u8; 32]>(column).map(U256::from_be_bytes)
}

pub(super) fn maybe_u256(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Option<U256>> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(U256::from_be_bytes))
}

/// Tokens as the contract takes them: `u32`, little-endian, packed.
pub(super) fn token_bytes(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

pub(super) fn tokens(bytes: &[u8]) -> Vec<u32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect()
}
