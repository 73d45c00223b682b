//! Named places at which a test can end the process, to see what a restart makes of the disk.

/// Such a place. It is not in a build without the feature `failpoints`.
macro_rules! fail_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        fail::fail_point!($name);
    };
}
