//! What an export says of disclosures: rows, the formats of other programs, the account for the
//! person; checked with published models and schemas, which must also refuse what is doctored.

#[cfg(test)]
mod account;
#[cfg(test)]
mod consents;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod program;
#[cfg(test)]
mod published;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod tiles;

#[cfg(test)]
#[path = "../verify/file.rs"]
#[allow(dead_code, reason = "shared with the tests of the verification")]
mod file;
#[cfg(test)]
#[path = "../verify/story.rs"]
#[allow(dead_code, reason = "shared with the tests of the verification")]
mod story;
#[cfg(test)]
#[path = "../verify/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the verification")]
mod world;
