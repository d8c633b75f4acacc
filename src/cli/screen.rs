//! Standard output, standard error and progress bars.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::{Error, ErrorKind, Result};

/// Standard output, buffered.
pub fn output() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// A failure to write standard output.
pub fn write_error(error: io::Error) -> Error {
    Error::io(error, "write standard output", Path::new("-"))
}

/// Writes a line on standard error.
pub fn error_line(text: &str) {
    // Nobody is left to be told if this fails.
    drop(writeln!(io::stderr(), "{text}"));
}

/// A progress bar over `total` units, shown only on a terminal.
pub fn progress(total: u64, template: &str) -> ProgressBar {
    let bar = if io::stderr().is_terminal() {
        ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8))
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// A count with separators, e.g. `12,345,678`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes for a person, e.g. `12.3 MiB`.
pub fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C and SIGTERM are noted instead of ending the process, so that the command can
/// leave things as they were. A second Ctrl-C ends it at once.
///
/// # Errors
/// [`ErrorKind::Io`] if the signals cannot be caught.
pub fn catch_interrupts() -> Result<()> {
    static STARTED: OnceLock<bool> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return false };
        let (ready, armed) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || runtime.block_on(note_interrupts(ready)));
        armed.recv().unwrap_or(false)
    });
    if *started {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Io, "cannot catch Ctrl-C and SIGTERM"))
}

async fn note_interrupts(ready: std::sync::mpsc::SyncSender<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = signal(SignalKind::interrupt())
        .and_then(|interrupt| signal(SignalKind::terminate()).map(|term| (interrupt, term)));
    let armed = signals.is_ok();
    // The thread that waits for this is gone only if the process ends.
    let _ = ready.send(armed);
    let Ok((mut interrupt, mut terminate)) = signals else { return };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    }
}

/// Fails once the process was asked to stop.
///
/// # Errors
/// [`ErrorKind::Cancelled`].
pub fn check_interrupted() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Error::new(ErrorKind::Cancelled, "interrupted; nothing was changed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        let numbers = [0, 999, 1000, 1_234_567];
        assert_eq!(numbers.map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
