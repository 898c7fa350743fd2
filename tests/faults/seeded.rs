//! Numbers that a seed repeats (SplitMix64).

use passerelle_tests::raw_agency::random;

pub(crate) struct Seeded(u64);

impl Seeded {
    /// From `PASSERELLE_SEED`, or fresh; says which.
    pub(crate) fn from_environment() -> Self {
        let given = std::env::var("PASSERELLE_SEED").ok();
        let given = given.map(|text| text.parse().expect("PASSERELLE_SEED is a number"));
        let seed = given.unwrap_or_else(|| u64::from_be_bytes(random()));
        println!("PASSERELLE_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0, below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// The same for an index.
    pub(crate) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("below a usize")
    }
}
