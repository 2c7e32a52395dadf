//! Compiles the `.proto` files of the repository; needs no `protoc`.

use std::error::Error;

const ROOT: &str = "../../../proto";

const FILES: [&str; 3] =
    ["pushgrid/stored/v1/stored.proto", "pushgrid/router/v1/router.proto", "pushgrid/node/v1/node.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let files = protox::compile(FILES, [ROOT])?;
    // What the fields hold are capabilities and payloads: nothing of it may be shown.
    tonic_prost_build::configure().bytes(".").skip_debug(["."]).compile_fds(files)?;
    Ok(())
}
