//! `passerelle`: broker, agent, the reader's view of the log, policy tools and a demonstration in
//! one binary. This file only dispatches.

mod cli;
mod demo;

fn main() -> std::process::ExitCode {
    cli::main()
}
