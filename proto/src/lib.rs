//! The wire: protocol buffers, generated code and conversions to model types.
