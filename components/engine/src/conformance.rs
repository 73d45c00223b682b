//! One suite of checks that every implementation of the engines must pass.
