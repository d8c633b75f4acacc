//! `tickreel replay --server` on a terminal: the session of the live view, steered by keys.

use std::time::Duration;

use super::screen;
use super::terminal::{Key, Terminal};
use super::view::View;
use crate::error::Result;
use crate::quantity::TsNs;
use crate::rpc::{Controls, Event, Session, Speed, StepAmount};

/// Between two pictures.
const REDRAW: Duration = Duration::from_millis(100);
/// What + and - go through.
const SPEEDS: [f64; 14] =
    [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 0.0];

/// Shows a session until somebody quits.
///
/// # Errors
/// The session or the terminal fails; interrupted.
pub async fn watch(mut session: Session) -> Result<()> {
    let keys = session.streams().iter().map(|stream| stream.key.clone()).collect();
    let name = session.name().map(str::to_owned);
    let mut view = View::new(keys, session.span(), name);
    let controls = session.controls();
    let mut terminal = Terminal::open()?;
    let mut redraw = tokio::time::interval(REDRAW);
    let mut open = true;
    loop {
        tokio::select! {
            _ = redraw.tick() => {
                screen::check_interrupted()?;
                let (columns, lines) = terminal.size();
                terminal.show(&view.draw(columns, lines))?;
            }
            Some(key) = terminal.keys.recv() => {
                if !press(key, &view, &controls).await? {
                    return Ok(());
                }
            }
            event = session.next(), if open => match event? {
                Some(event) => hear(&mut view, event)?,
                None => {
                    open = false;
                    view.note("the session is over");
                }
            },
        }
    }
}

/// Takes what the session tells.
fn hear(view: &mut View, event: Event) -> Result<()> {
    match event {
        Event::OpeningBook(book) => view.open(&book)?,
        Event::Frame(frame) => view.frame(&frame)?,
        Event::Progress(progress) => view.progress(&progress),
        Event::State(state) => view.state(&state),
        Event::Refused(error) => view.note(error.to_string()),
        Event::End(_) => view.end(),
        Event::Books(_) | Event::Gap(_) | Event::Reconnected => {}
    }
    Ok(())
}

/// Does what a key says; `false` if that is to quit.
async fn press(key: Key, view: &View, controls: &Controls) -> Result<bool> {
    match key {
        Key::Char('q') => return Ok(false),
        Key::Char(' ') if view.is_paused() => controls.resume().await?,
        Key::Char(' ') => controls.pause().await?,
        Key::Char('s') => controls.step(StepAmount::Messages(1)).await?,
        Key::Char('+' | '=') => controls.set_speed(other_speed(view.speed(), 1)?).await?,
        Key::Char('-') => controls.set_speed(other_speed(view.speed(), -1)?).await?,
        Key::Left => controls.seek(moved(view, -1)).await?,
        Key::Right => controls.seek(moved(view, 1)).await?,
        Key::Down => controls.seek(moved(view, -10)).await?,
        Key::Up => controls.seek(moved(view, 10)).await?,
        Key::Char(_) => {}
    }
    Ok(true)
}

/// The next speed up or down; the fastest is as fast as possible.
fn other_speed(speed: f64, by: isize) -> Result<Speed> {
    let fast = |speed: f64| if speed == 0.0 { f64::INFINITY } else { speed };
    let above = SPEEDS.iter().position(|known| fast(*known) > fast(speed));
    let at = match by > 0 {
        true => above.unwrap_or(SPEEDS.len() - 1),
        false => SPEEDS.iter().rposition(|known| fast(*known) < fast(speed)).unwrap_or(0),
    };
    Speed::times(SPEEDS.get(at).copied().unwrap_or(0.0))
}

/// The position, so many hundredths of the range away.
fn moved(view: &View, hundredths: i64) -> TsNs {
    let (first, last) = view.span();
    let step = (last.0.saturating_sub(first.0) / 100).max(1);
    view.position().saturating_add(step.saturating_mul(hundredths)).max(first).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_go_up_to_as_fast_as_possible_and_down_again() {
        let up = |speed| other_speed(speed, 1).unwrap().factor();
        let down = |speed| other_speed(speed, -1).unwrap().factor();
        assert_eq!([up(1.0), up(3.0), up(1000.0), up(0.0)], [2.0, 5.0, 0.0, 0.0]);
        assert_eq!([down(1.0), down(3.0), down(0.1), down(0.0)], [0.5, 2.0, 0.1, 1000.0]);
    }
}
