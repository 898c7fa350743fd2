//! Verification of exported logs: honest logs of the real state machine pass, whoever may not read
//! what; every corruption is refused at the right place, also in logs that are hashed, signed and
//! cosigned consistently, so that only the meaning is wrong.

#[cfg(test)]
mod agreements;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod damaged;
#[cfg(test)]
mod dishonest;
#[cfg(test)]
mod dishonest_members;
#[cfg(test)]
mod file;
#[cfg(test)]
mod honest;
#[cfg(test)]
mod large;
#[cfg(test)]
mod order;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod reviews;
#[cfg(test)]
mod running;
#[cfg(test)]
mod seals;
#[cfg(test)]
mod story;
#[cfg(test)]
mod world;
