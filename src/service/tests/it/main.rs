//! The services over records in memory. One binary; a module a topic.

mod accounts;
mod house;
mod keys;
mod limits;
mod members;
mod sessions;
mod workspaces;
