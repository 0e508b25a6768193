//! What many connections share: whom to trust, who we are, what is asked for.
//!
//! Invariants: everything that can be wrong with certificates and keys is found here, before the
//! first connection. Settings are shared by counting; the library's store of sessions inside them
//! has a lock, which only handshakes take.

use super::fault::SettingsFault;
use crate::base::redact::Secret;
use crate::base::sync::Arc;
use crate::base::time::Clock;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use std::fmt;
use std::time::Duration;

/// Sessions that are kept to shorten later handshakes.
const SESSIONS_MAX: usize = 32;

/// Authorities to trust. Cheap to clone: load the system's once.
#[derive(Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Those of the system: its certificate store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    /// Reads files.
    ///
    /// # Errors
    /// There is none that can be used.
    pub fn system() -> Result<Self, SettingsFault> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // A system's store may hold a few that nobody can read; the others count.
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let cause = found.errors.first().map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| "the store is empty".to_owned());
            return Err(SettingsFault::NoSystemRoots { cause });
        }
        Ok(Self(Arc::new(store)))
    }

    /// Those of a PEM text, and no others.
    ///
    /// # Errors
    /// It is no PEM, holds no certificate, or one that cannot be read.
    pub fn from_pem(text: &str) -> Result<Self, SettingsFault> {
        const WHAT: &str = "the CA bundle";
        let mut store = RootCertStore::empty();
        for (certificate, number) in certificates(WHAT, text)?.into_iter().zip(1..) {
            let added = store.add(certificate);
            added.map_err(|_| SettingsFault::BadCertificate { what: WHAT, number })?;
        }
        Ok(Self(Arc::new(store)))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Roots").field(&self.0.len()).finish()
    }
}

/// Who we are, if a server asks.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// PEM of our certificate, then of those between it and the authority.
    pub chain_pem: &'a str,
    /// PEM of its key.
    pub key_pem: &'a Secret,
}

/// Which protocol is asked for within the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// The extension is left out, for servers that do not know it.
    None,
    /// `http/1.1`. A server that speaks another one alone says so at once.
    Http1,
}

/// What connections to one backend share. Cheap to clone.
#[derive(Clone)]
pub struct ClientSettings {
    pub(super) config: Arc<rustls::ClientConfig>,
}

impl ClientSettings {
    /// Settings that trust `roots` at the time that `clock` shows.
    ///
    /// # Errors
    /// What is wrong with our certificate or its key.
    pub fn new(
        roots: &Roots,
        identity: Option<Identity<'_>>,
        alpn: Alpn,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> Result<Self, SettingsFault> {
        let provider = Arc::new(ring::default_provider());
        let time = Arc::new(WallTime(clock));
        let builder = rustls::ClientConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .with_root_certificates(Arc::clone(&roots.0));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates("the client certificate", identity.chain_pem)?;
                let key = key(identity.key_pem)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| fault_of(&error))?
            }
        };
        if alpn == Alpn::Http1 {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(Self { config: Arc::new(config) })
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings").finish_non_exhaustive()
    }
}

/// Certificates are valid for a time, and time is a parameter.
struct WallTime(Arc<dyn Clock + Send + Sync>);

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.unix_millis())))
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallTime")
    }
}

/// All certificates of a text; at least one.
fn certificates(
    what: &'static str,
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, SettingsFault> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let all = all.map_err(|error| SettingsFault::Pem { what, cause: cause_of(&error) })?;
    if all.is_empty() { Err(SettingsFault::NoCertificate { what }) } else { Ok(all) }
}

fn key(secret: &Secret) -> Result<PrivateKeyDer<'static>, SettingsFault> {
    PrivateKeyDer::from_pem_slice(secret.reveal().as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => SettingsFault::NoKey,
        error => SettingsFault::Pem { what: "the client key", cause: cause_of(&error) },
    })
}

/// The library's own words may quote a line of the text, which may be a key.
fn cause_of(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no end line",
        pem::Error::IllegalSectionStart { .. } => "the first line of a block is malformed",
        pem::Error::Base64Decode(_) => "a block is not base64",
        pem::Error::SectionTooLarge => "a block is too large",
        _ => "it cannot be read",
    }
}

fn fault_of(error: &rustls::Error) -> SettingsFault {
    match error {
        rustls::Error::InconsistentKeys(_) => SettingsFault::KeyMismatch,
        rustls::Error::InvalidCertificate(_) => {
            SettingsFault::BadCertificate { what: "the client certificate", number: 1 }
        }
        _ => SettingsFault::BadKey,
    }
}
