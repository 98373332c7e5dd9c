//! The console is embedded when this package is compiled: a new build of it asks for a new compilation.

fn main() {
    println!("cargo:rerun-if-changed=web/dist");
}
