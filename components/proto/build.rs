//! Compiles `proto/*.proto` with protox; no `protoc` is needed on the machine.

use std::error::Error;
use std::path::Path;

const FILES: [&str; 2] = ["raftyard/log.proto", "raftyard/transport.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    for file in FILES {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile(FILES, [root])?;
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}
