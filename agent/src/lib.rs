//! The agent: fact sources, enforcement at the holder, sealing, witness, local API.
