//! Chance as a function: numbers that look random and depend on nothing but what is hashed.
//!
//! The mixer is SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).

/// A seed from which a machine derives all of its chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// A number that is determined by the seed and the parts, and looks independent for any other parts.
    pub fn hash(self, parts: &[u64]) -> u64 {
        parts.iter().fold(mix(self.0), |state, part| mix(state ^ mix(part.wrapping_add(0x9E37_79B9_7F4A_7C15))))
    }

    /// A number below `bound` (which must not be zero), determined like [`Seed::hash`].
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below(self, bound: u64, parts: &[u64]) -> u64 {
        assert!(bound > 0, "a number below zero was asked for");
        ((u128::from(self.hash(parts)) * u128::from(bound)) >> 64) as u64
    }
}

/// A small generator (SplitMix64) for machines that need a stream of chance rather than a function of it.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose whole output is determined by the seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of the stream.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a number below zero was asked for");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True once in `of` calls on average.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_outputs_of_splitmix64() {
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut seen = [false; 7];
        for i in 0..200 {
            seen[Seed(1).below(7, &[i]) as usize] = true;
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}
