//! What goes wrong, in our words: cause, then remedy.
//!
//! Invariants: no text of a peer is repeated, and no key. Equal causes give equal texts, so that
//! they can be counted and logged once.

use rustls::{AlertDescription, CertificateError, Error};

/// Letters of the library's own words for rare causes.
const CAUSE_MAX: usize = 120;

/// Why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsFault {
    /// The system trusts nobody.
    #[error(
        "the system has no CA certificates: {cause}. Install its package of them (often \
         `ca-certificates`), or name a CA bundle"
    )]
    NoSystemRoots {
        /// Why.
        cause: String,
    },
    /// A text is no PEM.
    #[error("{what} is not valid PEM: {cause}. Write it anew, with its BEGIN and END lines")]
    Pem {
        /// Which text.
        what: &'static str,
        /// Why.
        cause: &'static str,
    },
    /// A text has no certificate.
    #[error("{what} holds no certificate. It needs a block `BEGIN CERTIFICATE` in PEM")]
    NoCertificate {
        /// Which text.
        what: &'static str,
    },
    /// A certificate cannot be read.
    #[error("certificate {number} of {what} cannot be read. Replace it by an X.509 v3 one")]
    BadCertificate {
        /// Which text.
        what: &'static str,
        /// Which in it, from 1.
        number: usize,
    },
    /// There is no key.
    #[error("the client key holds no private key. It needs a block `BEGIN PRIVATE KEY` in PEM")]
    NoKey,
    /// The key is of a kind that cannot be used.
    #[error(
        "the client key cannot be used. Make one for ECDSA (P-256, P-384), Ed25519 or RSA (2048 \
         bits or more)"
    )]
    BadKey,
    /// Key and certificate do not belong together.
    #[error(
        "certificate_file and key_file do not belong together. Name a certificate and its own key"
    )]
    KeyMismatch,
    /// A name that no certificate can have.
    #[error("`{name}` is neither a host name nor an IP address. Correct the server name")]
    ServerName {
        /// The name.
        name: String,
    },
}

/// Why a connection is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The first bytes are no record.
    #[error("the server does not speak TLS on this port. Name its TLS port, or turn TLS off")]
    NotTls,
    /// TCP ended within the handshake.
    #[error(
        "the server closed the connection in the TLS handshake. It may not speak TLS on this port: \
         see its log"
    )]
    CutInHandshake,
    /// TCP ended without close_notify.
    #[error("the server closed the connection without TLS's end: what came last may be missing")]
    Cut,
    /// The certificate was valid once.
    #[error("the server's certificate has expired. Renew it, or correct this host's clock")]
    Expired,
    /// The certificate will be valid.
    #[error("the server's certificate is not valid yet. Correct the clock of this host")]
    NotYetValid,
    /// No chain to a root.
    #[error(
        "the server's certificate comes from an unknown authority. Add its CA to those trusted, or \
         have the server send its intermediate certificates"
    )]
    UnknownIssuer,
    /// The certificate is for other names.
    #[error(
        "the server's certificate is not for `{expected}`. Correct the server name to one of it"
    )]
    WrongName {
        /// The name asked for.
        expected: String,
    },
    /// The certificate is bad in another way.
    #[error("the server's certificate cannot be accepted: {cause}. Replace it")]
    Certificate {
        /// Why.
        cause: String,
    },
    /// The server wants to know who we are.
    #[error("the server requires a client certificate. Name one that it accepts, with its key")]
    ClientCertificateRequired,
    /// It does not accept ours.
    #[error("the server does not accept the client certificate ({alert}). Name another one")]
    ClientCertificateRefused {
        /// What the server said.
        alert: String,
    },
    /// The server has nothing that we have.
    #[error(
        "no TLS version, cipher or protocol in common with the server ({cause}). It must offer TLS \
         1.2 or 1.3 with AEAD ciphers, and HTTP/1.1"
    )]
    Incompatible {
        /// What is missing.
        cause: String,
    },
    /// The server refuses, and hardly says why.
    #[error(
        "the server refused the connection ({alert}). Check the server name, and whether it wants \
         a client certificate; see its log"
    )]
    Refused {
        /// What the server said.
        alert: String,
    },
    /// The server breaks the protocol, or somebody changes bytes on the way.
    #[error("the server breaks the TLS protocol: {cause}. Look for a middlebox, or upgrade it")]
    Protocol {
        /// How.
        cause: String,
    },
    /// Nothing can be sealed yet, or any more.
    #[error("nothing can be sealed: the handshake is not over, or the connection was closed")]
    NotEstablished,
    /// A key was used as often as it may be.
    #[error("the connection has used its TLS 1.2 keys up. Connect anew, or let it speak TLS 1.3")]
    KeysExhausted,
}

impl TlsFault {
    /// Reads what the library says; `greeted`: the server has answered the first message.
    pub(super) fn of(error: &Error, greeted: bool) -> Self {
        match error {
            Error::InvalidMessage(_) if !greeted => Self::NotTls,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::NoCertificatesPresented => {
                Self::Certificate { cause: "it sent none".to_owned() }
            }
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::PeerIncompatible(cause) => Self::Incompatible { cause: brief(cause) },
            Error::NoApplicationProtocol => Self::Incompatible { cause: "ALPN".to_owned() },
            error => Self::Protocol { cause: brief(error) },
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            // The second: its authority has the name of one that we know, but not the key.
            E::UnknownIssuer | E::BadSignature => Self::UnknownIssuer,
            E::NotValidForNameContext { expected, .. } => {
                Self::WrongName { expected: expected.to_str().into_owned() }
            }
            error => Self::Certificate { cause: brief(error) },
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        use AlertDescription as A;
        match alert {
            A::CertificateRequired | A::NoCertificate => Self::ClientCertificateRequired,
            A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied => Self::ClientCertificateRefused { alert: brief(&alert) },
            A::ProtocolVersion | A::InsufficientSecurity | A::NoApplicationProtocol => {
                Self::Incompatible { cause: brief(&alert) }
            }
            alert => Self::Refused { alert: brief(&alert) },
        }
    }
}

/// The library's word for it. Some of them list everything that they know.
fn brief(what: &impl std::fmt::Debug) -> String {
    format!("{what:?}").chars().take(CAUSE_MAX).collect()
}
