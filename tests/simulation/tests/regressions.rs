//! Stories that once broke a promise, with what was wrong.

use passerelle_simulation::simulate;

/// Seeds as of the generator when they were found, and what they found.
const FOUND: &[(u64, &str)] = &[
    (
        14,
        "a permit that ends with its request was issued again at each renewal: a holder whose clock \
     is fast asked for it thirty times a second until the request expired",
    ),
    (
        183,
        "statements that waited while the keys were renewed were signed by the old key and refused \
         for good: an answer was lost, and a withdrawal would have been",
    ),
    (
        976,
        "an approval whose sync failed was there at the next start: the observer took it for lost",
    ),
    (
        1_570,
        "a permit from a fast clock was refused, and nobody asked for another while the stream held",
    ),
    (
        1_614,
        "an offer whose write was cut short was there at the next start: the observer took it for \
     lost",
    ),
    (
        1_807,
        "a notice whose sync failed was judged by an old copy of the log that was put in place \
     meanwhile",
    ),
    (
        2_804,
        "an answer was held back after the withdrawal of another consent, and the asker was not told",
    ),
    (
        3_334,
        "a bit flipped in the last record after a power cut had taken the mark: two faults at once, \
     which the observer took for one",
    ),
    (
        3_491,
        "the observer had forgotten a permit when an old copy of the log was put in its place",
    ),
    (
        4_355,
        "an old copy of the broker that had entered something by itself was as long as the witnesses \
     remembered: it was not taken for one, and what it acknowledged was lost",
    ),
];

#[test]
fn stories_that_once_failed_do_not() {
    for (seed, what) in FOUND {
        let outcome = simulate(*seed);
        assert_eq!(outcome.broken, None, "seed {seed}: {what}");
    }
}
