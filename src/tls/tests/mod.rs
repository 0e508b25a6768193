//! A client against the library's server, in memory, with certificates of the test's own making.

mod trust;

use super::*;
use crate::base::chance::Chance;
use crate::base::redact::Secret;
use crate::base::sync::Arc;
use crate::base::time::Clock;
use crate::base::time::Moment;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::io::{Read, Write};

const NAME: &str = "backend.test";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A clock that stands still, in 2027.
struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment::START
    }

    fn unix_millis(&self) -> u64 {
        1_800_000_000_000
    }
}

/// An authority, which signs what it is asked to.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        Self::named("the test's authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Signed { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    fn settings(&self) -> ClientSettings {
        let roots = Roots::from_pem(&self.pem).unwrap();
        ClientSettings::new(&roots, None, Alpn::Http1, Arc::new(Still)).unwrap()
    }

    fn settings_with(&self, own: &Signed) -> ClientSettings {
        let roots = Roots::from_pem(&self.pem).unwrap();
        let (chain, key) = (own.certificate.pem(), Secret::new(own.key.serialize_pem()));
        let identity = Identity { chain_pem: &chain, key_pem: &key };
        ClientSettings::new(&roots, Some(identity), Alpn::None, Arc::new(Still)).unwrap()
    }
}

struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// A server with this certificate; with an authority, it wants one of its certificates in turn.
fn server(
    own: &Signed,
    version: &'static SupportedProtocolVersion,
    clients: Option<&Authority>,
) -> ServerConnection {
    let mut config = config(own, version, clients);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    server.set_buffer_limit(None);
    server
}

fn config(
    own: &Signed,
    version: &'static SupportedProtocolVersion,
    clients: Option<&Authority>,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![own.certificate.der().clone()];
    let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
    builder.with_single_cert(chain, key).unwrap()
}

/// Both ends, the bytes between them, and what came out.
struct Pair {
    client: Client,
    server: ServerConnection,
    /// What the server decoded.
    served: Vec<u8>,
    /// What the client decoded.
    plain: Vec<u8>,
    to_server: Vec<u8>,
}

impl Pair {
    fn new(client: Client, server: ServerConnection) -> Self {
        let (served, plain, to_server) = (Vec::new(), Vec::new(), Vec::new());
        let mut pair = Self { client, server, served, plain, to_server };
        pair.client.transmit(&mut pair.to_server);
        pair
    }

    /// Two ends that agree.
    fn good(version: &'static SupportedProtocolVersion) -> Self {
        let authority = Authority::new();
        let client = Client::new(&authority.settings(), NAME).unwrap();
        Self::new(client, server(&authority.sign(NAME, |_| ()), version, None))
    }

    fn established(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::good(version);
        assert_eq!(pair.run(|| 4096), Ok(TlsState::Established));
        pair
    }

    /// Everything that the client has sent reaches the server; its error is its own affair.
    fn serve(&mut self, cut: &mut impl FnMut() -> usize) {
        let sent = std::mem::take(&mut self.to_server);
        let mut rest = sent.as_slice();
        while !rest.is_empty() {
            let (mut piece, tail) = rest.split_at(cut().min(rest.len()));
            rest = tail;
            while !piece.is_empty() && self.server.read_tls(&mut piece).is_ok_and(|n| n > 0) {
                let _ = self.server.process_new_packets();
                let _ = self.server.reader().read_to_end(&mut self.served);
            }
        }
    }

    fn answer(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut out).unwrap();
        }
        out
    }

    /// Bytes flow, cut as `cut` says, until nobody has any more.
    fn run(&mut self, mut cut: impl FnMut() -> usize) -> Result<TlsState, TlsFault> {
        let mut state = self.client.receive(&mut [].as_slice(), &mut self.plain);
        loop {
            self.serve(&mut cut);
            let answer = self.answer();
            let mut rest = answer.as_slice();
            while !rest.is_empty() {
                let (mut piece, tail) = rest.split_at(cut().min(rest.len()));
                rest = tail;
                let (before, most) = (self.plain.len(), piece.len() + 16 * 1024);
                state = self.client.receive(&mut piece, &mut self.plain);
                assert!(piece.is_empty() || state.is_err());
                assert!(self.plain.len() - before <= most, "more than a record was kept back");
                self.client.transmit(&mut self.to_server);
            }
            if self.to_server.is_empty() && !self.server.wants_write() {
                return state;
            }
        }
    }

    fn seal(&mut self, plain: &[u8]) {
        self.client.seal(plain, &mut self.to_server).unwrap();
    }
}

/// The fault that a client ends with, for the error's text too.
#[track_caller]
fn fault(pair: &mut Pair) -> TlsFault {
    let fault = pair.run(|| 4096).unwrap_err();
    assert!(!pair.client.is_established());
    assert_eq!(pair.client.end(), Err(fault.clone()));
    assert_eq!(pair.client.seal(b"x", &mut Vec::new()), Err(fault.clone()));
    let again = pair.client.receive(&mut b"more".as_slice(), &mut Vec::new());
    assert_eq!(again, Err(fault.clone()), "the first fault is the last");
    fault
}

fn text() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_be_bytes).collect()
}

#[test]
fn it_works_however_the_bytes_are_cut() {
    for version in VERSIONS {
        for seed in 0..12 {
            let mut chance = Chance::new(seed);
            let most = [1, 2, 7, 100, 5000, 100_000][usize::try_from(seed / 2).unwrap()];
            let mut cut = move || 1 + usize::try_from(chance.below(most)).unwrap();
            let mut pair = Pair::good(version);
            assert_eq!(pair.run(&mut cut), Ok(TlsState::Established));
            assert_eq!(pair.server.server_name(), Some(NAME), "SNI");
            assert_eq!(pair.server.alpn_protocol(), Some(b"http/1.1".as_slice()));
            assert_eq!(pair.server.protocol_version(), Some(version.version));
            for round in 0..3 {
                pair.seal(format!("request {round}\n").as_bytes());
                pair.server.writer().write_all(format!("answer {round}\n").as_bytes()).unwrap();
                assert_eq!(pair.run(&mut cut), Ok(TlsState::Established));
            }
            assert_eq!(pair.served, b"request 0\nrequest 1\nrequest 2\n");
            assert_eq!(pair.plain, b"answer 0\nanswer 1\nanswer 2\n");
        }
    }
}

#[test]
fn large_payloads_arrive_both_ways() {
    let text = text();
    for version in VERSIONS {
        let mut pair = Pair::established(version);
        pair.seal(&text);
        assert!(pair.to_server.len() < text.len() + text.len() / 256, "little overhead");
        pair.server.writer().write_all(&text).unwrap();
        assert_eq!(pair.run(|| 64 * 1024), Ok(TlsState::Established));
        assert!(pair.served == text && pair.plain == text);
    }
}

#[test]
fn an_end_is_told_from_a_cut() {
    for version in VERSIONS {
        let mut cut = Pair::good(version);
        assert_eq!(cut.client.end(), Err(TlsFault::CutInHandshake));
        cut.run(|| 4096).unwrap();
        cut.server.writer().write_all(b"some").unwrap();
        cut.run(|| 4096).unwrap();
        assert_eq!(cut.client.end(), Err(TlsFault::Cut));

        let mut ended = Pair::established(version);
        ended.server.writer().write_all(b"all of it").unwrap();
        ended.server.send_close_notify();
        assert_eq!(ended.run(|| 3), Ok(TlsState::Ended));
        assert_eq!(ended.plain, b"all of it");
        assert_eq!(ended.client.end(), Ok(()));
        // What comes after the end is nobody's.
        let after = ended.client.receive(&mut b"junk".as_slice(), &mut ended.plain);
        assert_eq!((after, ended.plain.len()), (Ok(TlsState::Ended), 9));
        // We may still speak.
        ended.seal(b"goodbye");
        ended.serve(&mut || 4096);
        assert_eq!(ended.served, b"goodbye");
    }
}

/// A part of a record at the end is a cut, and never becomes bytes.
#[test]
fn a_cut_record_is_a_cut() {
    let mut pair = Pair::established(&TLS13);
    pair.server.writer().write_all(b"whole").unwrap();
    let mut wire = pair.answer();
    pair.server.writer().write_all(b"cut off").unwrap();
    let last = pair.answer();
    wire.extend_from_slice(&last[..last.len() - 1]);
    pair.client.receive(&mut wire.as_slice(), &mut pair.plain).unwrap();
    assert_eq!(pair.plain, b"whole");
    assert_eq!(pair.client.end(), Err(TlsFault::Cut));
}

#[test]
fn our_end_is_said_once_and_is_the_last() {
    let mut pair = Pair::established(&TLS13);
    pair.seal(b"last words");
    pair.client.close(&mut pair.to_server);
    pair.client.close(&mut pair.to_server);
    assert!(!pair.client.is_established());
    assert_eq!(pair.client.seal(b"x", &mut Vec::new()), Err(TlsFault::NotEstablished));
    pair.server.writer().write_all(b"an answer").unwrap();
    pair.run(|| 4096).unwrap();
    assert_eq!(
        (pair.served.as_slice(), pair.plain.as_slice()),
        (&b"last words"[..], &b"an answer"[..])
    );
    assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_over() {
    let mut pair = Pair::good(&TLS13);
    assert!(!pair.client.is_established());
    let mut sealed = Vec::new();
    assert_eq!(pair.client.seal(b"early", &mut sealed), Err(TlsFault::NotEstablished));
    assert_eq!(sealed, b"");
    assert_eq!(pair.run(|| 4096), Ok(TlsState::Established), "no harm was done");
}

#[test]
fn another_protocol_is_recognized() {
    let settings = Authority::new().settings();
    let greetings: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"220 mail.test ESMTP\r\n",
        b"\0\0\0\0\0\0\0\0",
    ];
    for greeting in greetings {
        let mut client = Client::new(&settings, NAME).unwrap();
        let got = client.receive(&mut &*greeting, &mut Vec::new());
        assert_eq!(got, Err(TlsFault::NotTls), "{}", greeting.escape_ascii());
    }
}

#[test]
fn a_server_without_our_protocol_says_so() {
    let authority = Authority::new();
    let mut config = config(&authority.sign(NAME, |_| ()), &TLS13, None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = Client::new(&authority.settings(), NAME).unwrap();
    let mut pair = Pair::new(client, ServerConnection::new(Arc::new(config)).unwrap());
    let cause = "NoApplicationProtocol".to_owned();
    assert_eq!(fault(&mut pair), TlsFault::Incompatible { cause });
}

/// Bytes that came before a fault are handed out, and then the fault is told.
#[test]
fn bytes_before_a_fault_are_not_lost() {
    let mut pair = Pair::established(&TLS13);
    pair.server.writer().write_all(b"before").unwrap();
    let mut wire = pair.answer();
    pair.server.writer().write_all(b"changed on the way").unwrap();
    let mut last = pair.answer();
    *last.last_mut().unwrap() ^= 1;
    wire.extend_from_slice(&last);
    let fault = pair.client.receive(&mut wire.as_slice(), &mut pair.plain);
    assert!(matches!(fault, Err(TlsFault::Protocol { .. })), "{fault:?}");
    assert_eq!(pair.plain, b"before");
    let mut alert = Vec::new();
    pair.client.transmit(&mut alert);
    assert!(!alert.is_empty(), "the server is told");
}

/// Whatever a server sends, nothing panics, and nothing that it did not seal comes out.
#[test]
fn changed_bytes_are_a_fault_or_a_wait() {
    let authority = Authority::new();
    let (settings, theirs) = (authority.settings(), authority.sign(NAME, |_| ()));
    for version in VERSIONS {
        for at in (0..1200).step_by(7) {
            let client = Client::new(&settings, NAME).unwrap();
            let mut pair = Pair::new(client, server(&theirs, version, None));
            pair.serve(&mut || 4096);
            let mut wire = pair.answer();
            let Some(byte) = wire.get_mut(at) else { break };
            *byte ^= 0x55;
            let got = pair.client.receive(&mut wire.as_slice(), &mut pair.plain);
            assert_ne!(got, Ok(TlsState::Ended));
            assert_eq!(pair.plain, b"");
            // In TLS 1.3 the first flight of the server is all of it, but for its tickets.
            assert!(version.version == TLS12.version || !pair.client.is_established(), "byte {at}");
        }
    }
}
