//! Private keys from the command line: the key itself, a file with it, or a variable with it.

use std::io::Read;
use std::path::Path;

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;

/// Longest key file that is read, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Why there is no key. No variant holds what was given: it might be most of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What was given is none of the three.
    #[error(
        "the key is neither 64 hex digits, nor the path of a file that holds them, nor the name of \
         an environment variable that does"
    )]
    Unknown,
    /// The file or variable holds something else.
    #[error("the key's {0} does not hold 64 hex digits")]
    NotHex(&'static str),
    /// 64 hex digits that are no key of the curve.
    #[error("the key is 0 or too large for secp256k1")]
    OutOfRange,
}

/// Reads a key from 64 hex digits (with or without `0x`), the path of a file that holds them, or the
/// name of an environment variable that does.
///
/// # Errors
/// Anything else. No error shows what was given.
pub fn parse_key(given: &str) -> Result<PrivateKeySigner, KeyError> {
    let given = given.trim();
    if let Some(key) = from_hex(given) {
        return key;
    }
    if let Ok(value) = std::env::var(given.strip_prefix("env:").unwrap_or(given)) {
        return from_hex(value.trim()).unwrap_or(Err(KeyError::NotHex("environment variable")));
    }
    let text = read_start(Path::new(given)).ok_or(KeyError::Unknown)?;
    from_hex(text.trim()).unwrap_or(Err(KeyError::NotHex("file")))
}

fn read_start(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `None` if this isn't the hex of 32 bytes.
fn from_hex(text: &str) -> Option<Result<PrivateKeySigner, KeyError>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_hex = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let key: B256 = is_hex.then(|| digits.parse().ok()).flatten()?;
    Some(PrivateKeySigner::from_bytes(&key).map_err(|_| KeyError::OutOfRange))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

    #[test]
    fn a_key_is_digits_or_a_file_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, format!("0x{KEY}\n")).unwrap();
        for given in [KEY, &format!("0x{KEY}"), file.to_str().unwrap()] {
            assert_eq!(parse_key(given).unwrap().address().to_string(), ADDRESS);
        }
    }

    #[test]
    fn errors_never_show_what_was_given() {
        let cut = &KEY[..63];
        for given in [cut, &"0".repeat(64), &"f".repeat(64), ""] {
            let error = parse_key(given).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(given.is_empty() || !shown.contains(given), "{shown}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, cut).unwrap();
        assert!(matches!(parse_key(file.to_str().unwrap()), Err(KeyError::NotHex("file"))));
    }
}
