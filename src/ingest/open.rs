//! Opens input files and raw lanes: tells what they are, puts files that continue each other
//! together.

use std::path::{Path, PathBuf};

use super::Source;
use super::capture::{CaptureSource, Form};
use super::detect::{Format, Head};
use super::input::{Input, file_len};
use super::raw_lane::{self, RawSource};
use super::tardis_csv;
use super::venues;
use crate::error::{Error, Result};
use crate::quantity::{Instrument, TsNs};
use crate::store::{Snapshot, Store};

/// What the caller knows about input files; everything else is told by their first lines.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The format of every file.
    pub format: Option<Format>,
    /// The exchange that every capture is of, and the symbol of messages that name none; of a
    /// store, its raw lane that is read.
    pub instrument: Option<Instrument>,
}

/// Files that are read one after another, or one raw lane of a store.
///
/// Captures of one exchange continue each other: the dialect keeps its books and sequence numbers
/// from one file to the next. Different inputs have nothing in common and may be read at the same
/// time.
pub struct OpenInput {
    /// The files in the order they are read in.
    pub paths: Vec<PathBuf>,
    /// Their format.
    pub format: Format,
    /// The exchange of a capture or raw lane, as far as the caller or the file tells.
    pub exchange: Option<&'static str>,
    /// Bytes of all of it, as [`Source::bytes_read`] counts them.
    pub bytes: u64,
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

/// Opens files; captures of one exchange become one input, in the order of their first lines. A
/// folder is opened as a store; each exchange that has a raw lane there becomes one input.
///
/// # Errors
/// With the path: [`crate::ErrorKind::NotFound`] or [`crate::ErrorKind::Io`] if a file cannot be
/// read; [`crate::ErrorKind::Invalid`], saying what to pass, if it is of no known format or no
/// known venue, or if [`OpenOptions::instrument`] is of an exchange without a dialect;
/// [`crate::ErrorKind::NotFound`] if a folder is no store or has no raw lane.
pub fn open_all(paths: &[PathBuf], options: &OpenOptions) -> Result<Vec<OpenInput>> {
    let mut captures: Vec<Capture> = Vec::new();
    let mut inputs = Vec::new();
    for path in paths {
        if path.is_dir() {
            inputs.extend(open_raw_lanes(path, options)?);
            continue;
        }
        let known = match &options.instrument {
            Some(instrument) => venues::exchange(instrument.exchange()),
            None => None,
        };
        let head = Head::of_file(path, options.format, known)?;
        match head.format {
            Format::Capture(form) => captures.push(Capture::new(path, form, &head, options)?),
            Format::TardisCsv => inputs.push(open_tardis_csv(path)?),
            Format::RawLane => {
                let text = "input is a file, expected the folder of a store with a raw lane";
                return Err(Error::invalid(text).at_path(path));
            }
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
        bytes: files.iter().map(|file| file_len(&file.path)).sum::<Result<u64>>()?,
        source: Box::new(CaptureSource::new(read, dialect)),
    })
}

fn open_tardis_csv(path: &Path) -> Result<OpenInput> {
    Ok(OpenInput {
        paths: vec![path.to_owned()],
        format: Format::TardisCsv,
        exchange: None,
        bytes: file_len(path)?,
        source: tardis_csv::from_input(Input::open(path)?, None)?,
    })
}

fn open_raw_lanes(folder: &Path, options: &OpenOptions) -> Result<Vec<OpenInput>> {
    if options.format.is_some_and(|format| format != Format::RawLane) {
        return Err(Error::invalid("input is a folder, expected a file").at_path(folder));
    }
    let snapshot = Store::open(folder)?.snapshot()?;
    let lanes = match &options.instrument {
        Some(instrument) => vec![instrument.clone()],
        None => raw_lane::lanes(&snapshot),
    };
    if lanes.is_empty() {
        let text = "the store has no raw lane; a daemon keeps one with `raw = true`";
        return Err(Error::not_found(text).at_path(folder));
    }
    let open = |lane| open_raw_lane(&snapshot, lane).map_err(|error| error.at_path(folder));
    lanes.iter().map(open).collect()
}

fn open_raw_lane(snapshot: &Snapshot, lane: &Instrument) -> Result<OpenInput> {
    let dialect = venues::dialect(lane.exchange(), None)?;
    let source = RawSource::new(snapshot.clone(), lane, dialect)?;
    Ok(OpenInput {
        paths: vec![snapshot.store().root().to_owned()],
        format: Format::RawLane,
        exchange: venues::exchange(lane.exchange()),
        bytes: source.bytes(),
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn folder_error(folder: &Path, options: &OpenOptions) -> Error {
        open_all(&[folder.to_owned()], options).err().unwrap()
    }

    #[test]
    fn a_folder_without_a_raw_lane_is_refused_with_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let any = OpenOptions::default();
        let error = folder_error(folder.path(), &any);
        assert!(error.to_string().contains("no tickreel store"), "{error}");

        Store::open_or_create(folder.path()).unwrap();
        let error = folder_error(folder.path(), &any);
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("no raw lane"), "{error}");
        let csv = OpenOptions { format: Some(Format::TardisCsv), ..OpenOptions::default() };
        assert!(folder_error(folder.path(), &csv).to_string().contains("expected a file"));

        let lane = OpenOptions { format: Some(Format::RawLane), ..OpenOptions::default() };
        let error = open_text("hello\n", &lane).err().unwrap();
        assert!(error.to_string().contains("expected the folder of a store"), "{error}");
    }

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
