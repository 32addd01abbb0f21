//! Nothing: see `Cargo.toml` for what this package is for.
