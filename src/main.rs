//! The front door: wires, decides nothing.

mod app;
mod cli;
mod config;
mod serve;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A model worker is this same executable; it must not read configuration or start a runtime.
    if std::env::args().nth(1).as_deref() == Some("engine-worker") {
        return llama::worker::main();
    }
    match cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("filbert: {}", cli::explain(&e));
            ExitCode::FAILURE
        }
    }
}
