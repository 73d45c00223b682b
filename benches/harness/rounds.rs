//! Contenders that take turns, and what their turns say when they are held against each other.

use std::fmt;

use super::options::Options;
use super::sample::Sample;

/// Someone who takes a turn in every round.
pub struct Contender<'a> {
    /// Its name in the output.
    pub name: String,
    /// Takes one turn.
    pub turn: Box<dyn FnMut() -> Result<Sample, String> + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender with its turn.
    pub fn new(name: impl Into<String>, turn: impl FnMut() -> Result<Sample, String> + 'a) -> Self {
        Self { name: name.into(), turn: Box::new(turn) }
    }
}

/// Has all contenders take turns, one after the other, round by round. Returns each contender's samples in its place.
///
/// # Errors
/// The first that a turn meets: a round that is missing a turn says nothing.
pub fn take_turns(options: &Options, contenders: &mut [Contender<'_>]) -> Result<Vec<Vec<Sample>>, String> {
    let mut samples: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
    let width = contenders.iter().map(|contender| contender.name.len()).max().unwrap_or(0);
    for round in 1..=options.rounds {
        for (contender, samples) in contenders.iter_mut().zip(&mut samples) {
            let sample = (contender.turn)()?;
            println!("  round {round} {:width$} {sample}", contender.name);
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// A figure of several rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The middle one; the mean of the two in the middle of an even number.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of a figure of each round.
    ///
    /// # Panics
    /// When there is none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (count, last) = (figures.len(), figures.len().checked_sub(1).expect("there is at least one round"));
        Self { median: (figures[last / 2] + figures[count / 2]) / 2.0, least: figures[0], most: figures[last] }
    }

    /// Of the ratio of two contenders, round by round.
    pub fn of_ratio(over: &[Sample], under: &[Sample], figure: impl Fn(&Sample) -> f64) -> Self {
        Self::of(over.iter().zip(under).map(|(over, under)| figure(over) / figure(under)))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$}–{:.digits$}", self.least, self.most)
    }
}
