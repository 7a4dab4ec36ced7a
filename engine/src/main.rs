//! `refute`: run models exactly, post results, and serve requests.
#![deny(clippy::float_arithmetic)]

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    refute_engine::ui::quiet_drivers();
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
