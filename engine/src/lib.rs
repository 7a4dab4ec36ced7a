//! Model import, execution, commitments, chain client and provider.
