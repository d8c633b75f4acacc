//! Opens input files: tells what they are, puts files that continue each other together.

use std::path::{Path, PathBuf};

use super::Source;
use super::capture::{CaptureSource, Form};
use super::detect::{Format, Head};
use super::input::Input;
use super::tardis_csv;
use super::venues;
use crate::error::{Error, Result};
use crate::quantity::{Instrument, TsNs};

/// What the caller knows about input files; everything else is told by their first lines.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The format of every file.
    pub format: Option<Format>,
    /// The exchange that every capture is of, and the symbol of messages that name none.
    pub instrument: Option<Instrument>,
}

/// Files that are read one after another.
///
/// Captures of one exchange continue each other: the dialect keeps its books and sequence numbers
/// from one file to the next. Different inputs have nothing in common and may be read at the same
/// time.
pub struct OpenInput {
    /// The files in the order they are read in.
    pub paths: Vec<PathBuf>,
    /// Their format.
    pub format: Format,
    /// The exchange of a capture, as far as the caller or the file tells.
    pub exchange: Option<&'static str>,
    /// Reads them all.
    pub source: Box<dyn Source>,
}

/// Opens one file.
///
/// # Errors
/// As [`open_all`].
pub fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Source>> {
    let opened = open_all(&[path.to_owned()], options)?.pop();
    opened.map(|input| input.source).ok_or_else(|| Error::not_found("input").at_path(path))
}

/// Opens files; captures of one exchange become one input, in the order of their first lines.
///
/// # Errors
/// With the path: [`crate::ErrorKind::NotFound`] or [`crate::ErrorKind::Io`] if a file cannot be
/// read; [`crate::ErrorKind::Invalid`], saying what to pass, if it is of no known format or no
/// known venue, or if [`OpenOptions::instrument`] is of an exchange without a dialect.
pub fn open_all(paths: &[PathBuf], options: &OpenOptions) -> Result<Vec<OpenInput>> {
    let mut captures: Vec<Capture> = Vec::new();
    let mut inputs = Vec::new();
    for path in paths {
        let known = match &options.instrument {
            Some(instrument) => venues::exchange(instrument.exchange()),
            None => None,
        };
        let head = Head::of_file(path, options.format, known)?;
        match head.format {
            Format::Capture(form) => captures.push(Capture::new(path, form, &head, options)?),
            Format::TardisCsv => inputs.push(open_tardis_csv(path)?),
        }
    }
    captures.sort_by(|a, b| (a.exchange, a.first, &a.path).cmp(&(b.exchange, b.first, &b.path)));
    for files in captures.chunk_by(|a, b| a.exchange == b.exchange) {
        inputs.push(open_captures(files, options)?);
    }
    Ok(inputs)
}

struct Capture {
    exchange: &'static str,
    form: Form,
    first: TsNs,
    path: PathBuf,
}

impl Capture {
    fn new(path: &Path, form: Form, head: &Head, options: &OpenOptions) -> Result<Self> {
        let exchange = match &options.instrument {
            Some(instrument) => venues::exchange(instrument.exchange()),
            None => head.exchange,
        };
        let exchange = exchange.ok_or_else(|| {
            let exchanges = venues::exchanges().join(", ");
            let what = match &options.instrument {
                Some(instrument) => format!("no dialect reads {instrument}"),
                None => "capture is of no known venue".to_owned(),
            };
            let text = format!("{what}: pass --instrument EXCHANGE:SYMBOL with one of {exchanges}");
            Error::invalid(text).at_path(path)
        })?;
        Ok(Self { exchange, form, first: head.first, path: path.to_owned() })
    }
}

fn open_captures(files: &[Capture], options: &OpenOptions) -> Result<OpenInput> {
    let first = files.first().ok_or_else(|| Error::not_found("input"))?;
    let symbol = options.instrument.as_ref().map(Instrument::symbol);
    let dialect = venues::dialect(first.exchange, symbol)?;
    let read = files.iter().map(|file| (file.path.clone(), file.form)).collect();
    Ok(OpenInput {
        paths: files.iter().map(|file| file.path.clone()).collect(),
        format: Format::Capture(first.form),
        exchange: Some(first.exchange),
        source: Box::new(CaptureSource::new(read, dialect)),
    })
}

fn open_tardis_csv(path: &Path) -> Result<OpenInput> {
    Ok(OpenInput {
        paths: vec![path.to_owned()],
        format: Format::TardisCsv,
        exchange: None,
        source: tardis_csv::from_input(Input::open(path)?, None)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn open_text(text: &str, options: &OpenOptions) -> Result<Box<dyn Source>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, text).unwrap();
        open(&path, options)
    }

    #[test]
    fn a_file_of_no_known_format_says_what_to_pass() {
        for text in ["", "\n\n", "hello\n", "a,b,c\n1,2,3\n"] {
            let error = open_text(text, &OpenOptions::default()).err().unwrap();

            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains("--format") && text.contains("cryptofeed-jsonl"), "{text}");
            assert!(text.contains("input)"), "{text}");
        }
    }

    #[test]
    fn a_capture_of_no_known_venue_says_what_to_pass() {
        let text = "1680652700423 {\"x\":1}\n";
        let error = open_text(text, &OpenOptions::default()).err().unwrap();
        assert!(error.to_string().contains("pass --instrument EXCHANGE:SYMBOL"), "{error}");

        let instrument = Some(Instrument::parse("nowhere:X").unwrap());
        let options = OpenOptions { instrument, ..OpenOptions::default() };
        let error = open_text(text, &options).err().unwrap();
        assert!(error.to_string().contains("no dialect reads nowhere:X"), "{error}");
    }

    #[test]
    fn tardis_csv_is_read_or_refused_by_its_header() {
        let common = "exchange,symbol,timestamp,local_timestamp";
        let text = format!("{common},id,side,price,amount\nbitmex,X,1,2,a,buy,3,4\n");
        let mut rows = super::super::Rows::new();
        let mut source = open_text(&text, &OpenOptions::default()).unwrap();
        assert!(!source.fill(&mut rows).unwrap());
        assert_eq!(rows.pending_rows(), 1);

        let text = format!("{common},type,strike_price,expiration,underlying_index\n");
        let error = open_text(&text, &OpenOptions::default()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("options_chain"), "{error}");
    }

    #[test]
    fn formats_are_told_by_the_first_line() {
        for (line, name) in [
            ("1680652700423575 {\"stream\":1}", "capture"),
            (r#"{"t":"header","exchange":"OKX"}"#, "cryptofeed-jsonl"),
            ("wss://ws.okx.com:8443/ws/v5/public <-> 1646003666.6408682", "cryptofeed-ws"),
            ("1646003666.64: {}", "cryptofeed-ws"),
            ("exchange,symbol,timestamp,local_timestamp,id,side,price,amount", "tardis-csv"),
            ("id,exchange,symbol,local_timestamp,timestamp,side,amount,price", "tardis-csv"),
        ] {
            assert_eq!(Format::of_line(line.as_bytes()), Some(Format::parse(name).unwrap()));
        }
        assert!(Format::parse("csv").unwrap_err().to_string().contains("tardis-csv"));
    }
}
