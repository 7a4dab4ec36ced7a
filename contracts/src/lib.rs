//! Solidity contracts, their artifacts and bindings, and an embedded EVM.
