//! A server behind TLS for tests upstairs, in memory: sealed bytes in and out.
//!
//! Invariants: its certificate is of its own authority, which the settings it gives trust.

use super::{Alpn, ClientSettings, Roots};
use crate::base::sync::Arc;
use crate::base::time::SystemClock;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use std::io::{Read, Write};

/// The server's end of one connection.
#[derive(Debug)]
pub(crate) struct Server(ServerConnection);

impl Server {
    /// A server of this name, and the settings of a client that trusts it.
    pub(crate) fn of(name: &str) -> (Self, ClientSettings) {
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let roots = authority.self_signed(&key).expect("an authority").pem();
        let issuer = Issuer::new(authority, key);
        let key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let chain = vec![own.signed_by(&key, &issuer).expect("a certificate").der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let config = builder.with_no_client_auth().with_single_cert(chain, key).expect("a pair");
        let roots = Roots::from_pem(&roots).expect("the authority");
        let clock = Arc::new(SystemClock::start());
        let settings = ClientSettings::new(&roots, None, Alpn::None, clock).expect("settings");
        (Self(ServerConnection::new(Arc::new(config)).expect("a server")), settings)
    }

    /// Takes sealed bytes; what they say.
    pub(crate) fn receive(&mut self, mut sealed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !sealed.is_empty() {
            self.0.read_tls(&mut sealed).expect("bytes in memory");
            self.0.process_new_packets().expect("a client that keeps the protocol");
            let mut piece = vec![0; 1 << 16];
            while let Ok(count @ 1..) = self.0.reader().read(&mut piece) {
                plain.extend_from_slice(&piece[..count]);
            }
        }
        plain
    }

    /// Seals this, and whatever else is to be sent.
    pub(crate) fn say(&mut self, plain: &[u8]) -> Vec<u8> {
        self.0.writer().write_all(plain).expect("bytes in memory");
        let mut sealed = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut sealed).expect("bytes in memory");
        }
        sealed
    }

    /// Seals this, and then the end.
    pub(crate) fn say_last(&mut self, plain: &[u8]) -> Vec<u8> {
        self.0.writer().write_all(plain).expect("bytes in memory");
        self.0.send_close_notify();
        self.say(b"")
    }
}
