//! The `tickreel` binary: everything is in [`tickreel::cli`].

fn main() -> std::process::ExitCode {
    tickreel::cli::run()
}
