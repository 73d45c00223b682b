//! Turns that several targets take.

use std::sync::Arc;

use tempfile::TempDir;

use crate::harness::load::{self, Load};
use crate::harness::options::Options;
use crate::harness::rounds::Contender;
use crate::harness::sample::Sample;
use crate::sides::Side;
use crate::sides::cluster::Cluster;
use crate::sides::raw::Raw;

/// A fresh directory for one turn; it is gone with all that is in it when it is dropped.
///
/// # Errors
/// When it cannot be made.
pub fn directory(options: &Options) -> Result<TempDir, String> {
    let made = std::fs::create_dir_all(&options.directory)
        .and_then(|()| tempfile::Builder::new().prefix("bench-").tempdir_in(&options.directory));
    made.map_err(|error| format!("a directory in {}: {error}", options.directory.display()))
}

/// Our stores.
pub fn replicated<'a>(name: impl Into<String>, load: Load, options: &'a Options) -> Contender<'a> {
    Contender::new(name, move || {
        let directory = directory(options)?;
        let side: Arc<dyn Side> = Cluster::open(directory.path(), load.regions)?;
        load::run(&side, load, options)
    })
}

/// The same work by hand.
pub fn raw(load: Load, options: &Options) -> Contender<'_> {
    Contender::new("raw", move || {
        let directory = directory(options)?;
        let side: Arc<dyn Side> = Raw::open(directory.path(), load.regions)?;
        load::run(&side, load, options)
    })
}

/// A figure of every sample.
pub fn figures(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(figure).collect()
}
