//! The one command: a subcommand per role, and the tools.

mod backup;
mod broadcast;
mod cli;
mod config;
mod demo;
mod keys;
mod listen;
mod role;
mod say;
mod secret_file;
mod send;
mod settings;
mod standalone;
mod vapid_file;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use pushgrid_wiring::Role;

/// Exit code for settings or flags that cannot be used.
const BAD_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version are no errors, and go to standard output.
            let asked_for = !error.use_stderr();
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIGURATION) };
        }
    };
    match start(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if cli::is_bad_configuration(&error) {
                ExitCode::from(BAD_CONFIGURATION)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn start(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Demo(args) => runtime.block_on(demo::run(args)),
        Command::Standalone(args) => runtime.block_on(standalone::run(args)),
        Command::Ingress(args) => runtime.block_on(role::run(args, Role::Ingress)),
        Command::Router(args) => runtime.block_on(role::run(args, Role::Router)),
        Command::Connection(args) => runtime.block_on(role::run(args, Role::Connection)),
        Command::Listen(args) => runtime.block_on(listen::run(args)),
        Command::Send(args) => runtime.block_on(send::run(args)),
        Command::Broadcast(args) => runtime.block_on(broadcast::run(args)),
        Command::Keys(args) => keys::run(args),
        Command::Config(args) => config::run(&args),
        Command::Backup(args) => backup::back_up(args),
        Command::Restore(args) => backup::restore(args),
        Command::Bench(args) => runtime.block_on(pushgrid_bench::run(args, say::text)),
    }
}
