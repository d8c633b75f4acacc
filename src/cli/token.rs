//! `tickreel token`: makes a token for a client of the server.

use std::io::Write;

use super::screen;
use crate::error::{Error, Result};
use crate::rpc::new_token;

/// Make a token for `serve --tokens`: prints it, and what to add to the file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who will hold it, e.g. research
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The system gives no random bytes, or the output cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let (token, sha256) = new_token()?;
    let name = serde_json::Value::from(args.name.clone());
    let text = if args.json {
        format!("{}\n", serde_json::json!({ "name": name, "token": token, "sha256": sha256 }))
    } else {
        format!("{token}\n\n[[token]]\nname = {name}\nsha256 = \"{sha256}\"\n")
    };
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Error::io(error, "write", std::path::Path::new("-")))?;
    if !args.json {
        screen::error_line(
            "\nThe first line is the token: give it to the client, it is kept nowhere. Add the\n\
             rest to the file of `--tokens`; with `instruments`, `kinds`, `from`, `to`, `expires`\n\
             and `append` it opens less or more.",
        );
    }
    Ok(())
}
