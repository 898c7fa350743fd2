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
];

#[test]
fn stories_that_once_failed_do_not() {
    for (seed, what) in FOUND {
        let outcome = simulate(*seed);
        assert_eq!(outcome.broken, None, "seed {seed}: {what}");
    }
}
