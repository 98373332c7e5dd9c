//! The HTTP face over services in memory and a scripted model. One binary; a module a family of routes.

mod account;
mod chat;
mod completions;
mod document;
mod errors;
mod internal;
mod keys;
mod members;
mod models;
mod operations;
mod permissions;
mod streams;
mod system;
mod vectors;
