//! The policy decision point: Cedar schema, rule library, texts.
