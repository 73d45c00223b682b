//! The buckets of histograms: powers of two, so that a factor of two can be told anywhere in the range.

/// Durations in seconds: 16 µs to 16.8 s.
pub(crate) fn seconds() -> Vec<f64> {
    powers_of_two(0.000_016, 21)
}

/// Durations in seconds of what may take long: 1 ms to 70 min.
pub(crate) fn long_seconds() -> Vec<f64> {
    powers_of_two(0.001, 23)
}

/// Sizes in bytes: 1 KiB to 64 GiB.
pub(crate) fn bytes() -> Vec<f64> {
    powers_of_two(1024.0, 27)
}

/// How many: 1 to 4,096.
pub(crate) fn counts() -> Vec<f64> {
    powers_of_two(1.0, 13)
}

fn powers_of_two(first: f64, count: usize) -> Vec<f64> {
    prometheus::exponential_buckets(first, 2.0, count).expect("the first bucket is above zero and there is one")
}
