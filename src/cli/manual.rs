//! The manual of the command line and of the configuration, for `docs/generated`.

use std::fmt::Write;

use clap::CommandFactory;

/// Every command with its help, as Markdown.
pub fn text() -> String {
    let mut out = String::from("# The command line\n");
    let mut root = super::Cli::command().term_width(100);
    root.build();
    write(&root, &mut out);
    out
}

fn write(command: &clap::Command, out: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.clone().render_help();
    let _ = writeln!(out, "\n## `{name}`\n\n```text\n{}\n```", help.to_string().trim_end());
    for inner in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        write(inner, out);
    }
}
