//! The fan-out against a model.
