//! Says of builds of a contract whether they still answer as they must: `refute-judge VECTORS` reads lines of a name and
//! deployed code in hex, and answers each with its name and `met`, or `broken` and the first vector that it doesn't meet.
//!
//! The mutation test asks it, hundreds of times for one compilation of this program.

use alloy::primitives::{Address, Bytes, hex};
use anyhow::{Context, Result};
use refute_contracts::evm::Evm;
use refute_tests::vectors::{self, Vector};
use std::io::{BufRead, Write};
use std::path::Path;

const CALLER: Address = Address::repeat_byte(0xe1);

/// A mutant may loop; no right answer needs so much.
const GAS_LIMIT: u64 = 20_000_000;

/// Creation code that deploys `code`: `PUSH3 len, DUP1, PUSH1 offset, PUSH0, CODECOPY, PUSH0, RETURN`.
fn creation(code: &[u8]) -> Vec<u8> {
    let len = (code.len() as u32).to_be_bytes();
    let prefix = [0x62, len[1], len[2], len[3], 0x80, 0x60, 11, 0x5f, 0x39, 0x5f, 0xf3];
    [&prefix, code].concat()
}

/// The first vector that the code doesn't meet.
fn first_broken<'a>(code: &[u8], vectors: &'a [Vector]) -> Result<Option<&'a Vector>> {
    let mut evm = Evm::new();
    evm.set_gas_limit(GAS_LIMIT);
    let at = evm.deploy(CALLER, &creation(code), &[])?.address;
    for vector in vectors {
        let outcome = evm.static_call(CALLER, at, &vector.data)?;
        if !vector.is_met_by(&outcome) {
            return Ok(Some(vector));
        }
    }
    Ok(None)
}

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).context("usage: refute-judge VECTORS")?;
    let vectors = vectors::read(Path::new(&path)).context("the file of vectors")?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (name, code) = line.split_once(' ').context("a line is a name and code")?;
        let code: Bytes = hex::decode(code)?.into();
        match first_broken(&code, &vectors) {
            Ok(None) => writeln!(out, "{name} met")?,
            Ok(Some(vector)) => writeln!(out, "{name} broken {}", vector.name)?,
            Err(e) => writeln!(out, "{name} broken it doesn't run: {e:#}")?,
        }
        out.flush()?;
    }
    Ok(())
}
