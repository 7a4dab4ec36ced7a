//! Tests that drive the other packages together.
