//! Tests that drive the packages together.
