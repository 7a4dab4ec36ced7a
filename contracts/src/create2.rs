//! Addresses that follow from content: the deterministic deployment proxy that most EVM chains have
//! at the same address.
//!
//! Its calldata is a salt and creation code; it creates the contract with `CREATE2`, so that the same
//! code with the same constructor arguments and the same salt has the same address on every chain,
//! whoever sends the transaction.

use alloy::primitives::{Address, B256, Bytes, U256, address, bytes, keccak256};

/// Where the proxy is on every chain that has it: the first contract of [`PROXY_SENDER`].
pub const PROXY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// The account of [`PROXY_TRANSACTION`]. Nobody has its key: the signature is made up, and the account
/// is the one that it happens to belong to.
pub const PROXY_SENDER: Address = address!("3fab184622dc19b6109349b94811493bf2a45362");

/// What [`PROXY_SENDER`] has to have before its transaction: 100,000 gas at 100 gwei.
pub const PROXY_COST_WEI: U256 = U256::from_limbs([10_000_000_000_000_000, 0, 0, 0]);

/// The proxy's code, as it lies on the chain.
pub static PROXY_CODE: Bytes = bytes!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f5"
    "8015156039578182fd5b8082525050506014600cf3"
);

/// The signed transaction that puts the proxy on a chain. It names no chain, so it works on every one
/// whose nodes take such transactions and whose gas costs at most 100 gwei.
pub static PROXY_TRANSACTION: Bytes = bytes!(
    "f8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b80825250505060"
    "14600cf31ba02222222222222222222222222222222222222222222222222222222222222222a0222222222222222222"
    "2222222222222222222222222222222222222222222222"
);

/// Where the proxy puts a contract.
pub fn address(salt: B256, init_code: &[u8]) -> Address {
    PROXY.create2(salt, keccak256(init_code))
}

/// What the proxy has to be called with.
pub fn calldata(salt: B256, init_code: &[u8]) -> Bytes {
    [salt.as_slice(), init_code].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::consensus::transaction::SignerRecoverable;
    use alloy::consensus::{Transaction, TxEnvelope};
    use alloy::eips::Decodable2718;

    #[test]
    fn the_transaction_makes_the_proxy() {
        let mut raw = PROXY_TRANSACTION.as_ref();
        let tx = TxEnvelope::decode_2718(&mut raw).unwrap();
        assert!(raw.is_empty());
        assert_eq!(tx.recover_signer().unwrap(), PROXY_SENDER);
        assert_eq!(PROXY_SENDER.create(0), PROXY);
        assert_eq!((tx.nonce(), tx.chain_id(), tx.value()), (0, None, U256::ZERO));
        assert!(tx.kind().is_create());
        assert_eq!(U256::from(tx.gas_limit()) * U256::from(tx.max_fee_per_gas()), PROXY_COST_WEI);
        let mut evm = crate::evm::Evm::new();
        let made = evm.deploy(PROXY_SENDER, tx.input(), &[]).unwrap();
        assert_eq!((made.address, evm.code(PROXY)), (PROXY, PROXY_CODE.clone()));
    }
}
