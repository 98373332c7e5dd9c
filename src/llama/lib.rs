//! Local inference: llama.cpp in supervised worker processes of this executable.

pub mod cpu;
pub mod prepare;
