//! The true executable, started as a process: what only shows when everything is wired together.

mod configuration;
mod life;
mod process;
