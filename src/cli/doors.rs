//! Who may come in by the doors of a server: the arguments that `serve` and `ingest` share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::args::read;
use crate::error::{Error, Result};
use crate::rpc::{Access, ServeOptions, Tls, TlsKeys};

/// Encryption and tokens. Needed where other machines reach the server; SIGHUP reads the files
/// again.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Doors {
    /// Certificate of the server and those above it (PEM): connections are encrypted
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities (PEM) of which clients must show a certificate (mTLS)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Tokens and what each opens (TOML, see `tickreel token`); without, everybody may everything
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

/// What the files of [`Doors`] say.
#[derive(Clone, Debug)]
pub struct Keys {
    doors: Doors,
    access: Access,
    tls: Option<Tls>,
}

impl Doors {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read or says something else.
    pub fn read(&self) -> Result<Keys> {
        let access = match &self.tokens {
            Some(path) => Access::parse(&text(path)?, path)?,
            None => Access::default(),
        };
        let tls = self.tls_keys()?.map(|keys| Tls::new(&keys)).transpose()?;
        Ok(Keys { doors: self.clone(), access, tls })
    }

    fn tls_keys(&self) -> Result<Option<TlsKeys>> {
        let (Some(certificates), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let client_authorities = self.client_ca.as_deref().map(read).transpose()?;
        let (certificates, key) = (read(certificates)?, read(key)?);
        Ok(Some(TlsKeys { certificates, key, client_authorities }))
    }
}

impl Keys {
    /// Options of a server with these doors.
    pub fn options(&self) -> ServeOptions {
        let Self { access, tls, .. } = self.clone();
        ServeOptions { access, tls, ..ServeOptions::default() }
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// One cannot be read or says something else: all that the others say holds from now on.
    pub fn reload(&self) -> Result<()> {
        let tls = self.replace_tls();
        self.replace_tokens().and(tls)
    }

    fn replace_tls(&self) -> Result<()> {
        match (&self.tls, self.doors.tls_keys()?) {
            (Some(tls), Some(keys)) => tls.replace(&keys),
            _ => Ok(()),
        }
    }

    fn replace_tokens(&self) -> Result<()> {
        let Some(path) = &self.doors.tokens else { return Ok(()) };
        self.access.replace(&text(path)?, path)
    }

    /// How clients write the address.
    pub fn url(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }
}

fn text(path: &Path) -> Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|_| Error::invalid("expected text in UTF-8").at_path(path))
}
