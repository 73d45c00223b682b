//! Chance: one seed, forked into streams that do not disturb each other.

use std::time::Duration;

use types::seed::{Rng, Seed};

/// A stream of chance.
#[derive(Clone, Debug)]
pub struct Dice(Rng);

impl Dice {
    /// The stream with a name (and a number, where there are several of a kind) under a seed. Draws from one stream
    /// change nothing in another.
    pub fn fork(seed: u64, name: &str, number: u64) -> Self {
        let parts: Vec<u64> = name.bytes().map(u64::from).chain([u64::MAX, number]).collect();
        Self(Rng::new(Seed(seed).hash(&parts)))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A place in something of this length.
    ///
    /// # Panics
    /// When the length is zero.
    pub fn place(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True once in `of` calls on average.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.0.one_in(of)
    }

    /// True in `per_mille` of a thousand calls.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.place(of.len())]
    }

    /// A duration from `low` to `high` microseconds.
    pub fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.within(low, high))
    }

    /// A duration from `low` to `high` milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.within(low * 1000, high * 1000))
    }

    /// The generator itself, for those who take one.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_apart_and_repeat() {
        let draw = |name, number| Dice::fork(7, name, number).number();
        assert_eq!(draw("disk", 1), draw("disk", 1));
        assert_ne!(draw("disk", 1), draw("disk", 2));
        assert_ne!(draw("disk", 1), draw("network", 1));
    }

    #[test]
    fn bounds_are_kept() {
        let mut dice = Dice::fork(1, "test", 0);
        assert!((0..1000).all(|_| (3..=5).contains(&dice.within(3, 5))));
        assert!((0..1000).all(|_| !dice.chance(0) && dice.chance(1000)));
    }
}
