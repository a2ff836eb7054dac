//! Compiles `proto/`; no `protoc` has to be installed.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(
        ["dapr", "appcallback"].map(|name| format!("dapr/proto/runtime/v1/{name}.proto")),
    )?;
    // What reflection answers with.
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("dapr.bin");
    std::fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
