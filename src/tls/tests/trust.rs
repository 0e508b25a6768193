//! Who is trusted, who we are, and what settings refuse.

use super::*;

#[test]
fn a_certificate_must_be_right() {
    // An authority that was made anew has the old one's name and another key.
    let (ours, other, anew) = (Authority::new(), Authority::named("other"), Authority::new());
    for version in VERSIONS {
        let pair = |by: &Authority, name: &str, change: fn(&mut CertificateParams)| {
            let client = Client::new(&ours.settings(), NAME).unwrap();
            let mut pair = Pair::new(client, server(&by.sign(name, change), version, None));
            let fault = fault(&mut pair);
            // The server is told why.
            let told = pair.server.process_new_packets().unwrap_err();
            assert!(matches!(told, rustls::Error::AlertReceived(_)), "{told}");
            fault
        };
        let expected = NAME.to_owned();
        assert_eq!(pair(&ours, "www.backend.test", |_| ()), TlsFault::WrongName { expected });
        assert_eq!(pair(&other, NAME, |_| ()), TlsFault::UnknownIssuer);
        assert_eq!(pair(&anew, NAME, |_| ()), TlsFault::UnknownIssuer);
        let expired = |params: &mut CertificateParams| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        };
        assert_eq!(pair(&ours, NAME, expired), TlsFault::Expired);
        let later = |params: &mut CertificateParams| {
            params.not_before = rcgen::date_time_ymd(2080, 1, 1);
        };
        assert_eq!(pair(&ours, NAME, later), TlsFault::NotYetValid);
    }
}

#[test]
fn an_address_may_be_the_name() {
    let authority = Authority::new();
    for address in ["127.0.0.1", "::1"] {
        let client = Client::new(&authority.settings(), address).unwrap();
        let mut pair = Pair::new(client, server(&authority.sign(address, |_| ()), &TLS13, None));
        assert_eq!(pair.run(|| 4096), Ok(TlsState::Established));
        assert_eq!(pair.server.server_name(), None, "an address is no SNI");
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let (authority, stranger) = (Authority::new(), Authority::named("stranger"));
    let theirs = authority.sign(NAME, |_| ());
    for version in VERSIONS {
        let own = authority.sign("gateway.test", |_| ());
        let client = Client::new(&authority.settings_with(&own), NAME).unwrap();
        let mut pair = Pair::new(client, server(&theirs, version, Some(&authority)));
        assert_eq!(pair.run(|| 4096), Ok(TlsState::Established));
        let shown = pair.server.peer_certificates().unwrap();
        assert_eq!(shown, [own.certificate.der().clone()]);

        let client = Client::new(&authority.settings(), NAME).unwrap();
        let mut pair = Pair::new(client, server(&theirs, version, Some(&authority)));
        assert_eq!(fault(&mut pair), TlsFault::ClientCertificateRequired);

        let own = stranger.sign("gateway.test", |_| ());
        let client = Client::new(&authority.settings_with(&own), NAME).unwrap();
        let mut pair = Pair::new(client, server(&theirs, version, Some(&authority)));
        let refused = fault(&mut pair);
        let alert = "UnknownCA".to_owned();
        assert_eq!(refused, TlsFault::ClientCertificateRefused { alert });
    }
}

#[test]
fn settings_are_checked() {
    let authority = Authority::new();
    let roots = |text: &str| Roots::from_pem(text).map(|_| ());
    let what = "the CA bundle";
    assert_eq!(roots(&authority.pem), Ok(()));
    assert_eq!(roots(&(authority.pem.clone() + &authority.pem)), Ok(()));
    assert_eq!(roots(""), Err(SettingsFault::NoCertificate { what }));
    let half = &authority.pem[..authority.pem.len() / 2];
    let cause = "a block has no end line";
    assert_eq!(roots(half), Err(SettingsFault::Pem { what, cause }));
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let number = 2;
    let second = authority.pem.clone() + junk;
    assert_eq!(roots(&second), Err(SettingsFault::BadCertificate { what, number }));

    let roots = Roots::from_pem(&authority.pem).unwrap();
    let with = |chain: &str, key: &str| {
        let key = Secret::new(key.to_owned());
        let identity = Identity { chain_pem: chain, key_pem: &key };
        ClientSettings::new(&roots, Some(identity), Alpn::None, Arc::new(Still)).map(|_| ())
    };
    let own = authority.sign("gateway.test", |_| ());
    let (chain, key) = (own.certificate.pem(), own.key.serialize_pem());
    assert_eq!(with(&chain, &key), Ok(()));
    let what = "the client certificate";
    assert_eq!(with(&key, &key), Err(SettingsFault::NoCertificate { what }));
    assert_eq!(with(&chain, &chain), Err(SettingsFault::NoKey));
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(with(&chain, &other), Err(SettingsFault::KeyMismatch));
    let junk = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(with(&chain, junk), Err(SettingsFault::BadKey));
    let torn = key.replace("-----END", "--END");
    let fault = with(&chain, &torn).unwrap_err().to_string();
    assert!(key.lines().all(|line| !fault.contains(line)), "{fault}");

    for name in ["", "a b", "-x-.", "a/b", "[::1]"] {
        let fault = Client::new(&authority.settings(), name).unwrap_err();
        assert_eq!(fault, SettingsFault::ServerName { name: name.to_owned() });
    }
}

/// A second connection is a shorter one, and checks the server's right to its name all the same.
#[test]
fn sessions_are_resumed_for_their_name_alone() {
    let authority = Authority::new();
    let (settings, theirs) = (authority.settings(), authority.sign(NAME, |_| ()));
    let config = Arc::new(config(&theirs, &TLS13, None));
    let connect = |name: &str| {
        let client = Client::new(&settings, name).unwrap();
        let server = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut pair = Pair::new(client, server);
        pair.run(|| 4096).map(|_| pair.server.handshake_kind().unwrap())
    };
    assert_eq!(connect(NAME), Ok(rustls::HandshakeKind::Full));
    assert_eq!(connect(NAME), Ok(rustls::HandshakeKind::Resumed));
    assert!(matches!(connect("other.test"), Err(TlsFault::WrongName { .. })));
}

#[test]
fn debug_says_little() {
    let pair = Pair::established(&TLS13);
    assert_eq!(
        format!("{:?}", pair.client),
        "Client { established: true, ended: false, closed: false, fault: None, .. }"
    );
    let authority = Authority::new();
    let own = authority.sign("gateway.test", |_| ());
    let settings = authority.settings_with(&own);
    assert_eq!(format!("{settings:?}"), "ClientSettings { .. }");
    assert_eq!(format!("{:?}", Roots::from_pem(&authority.pem).unwrap()), "Roots(1)");
}

/// What this host trusts is its own affair; that it trusts nobody is told with a remedy.
#[test]
fn the_system_has_authorities_or_says_why_not() {
    match Roots::system() {
        Ok(roots) => assert_ne!(format!("{roots:?}"), "Roots(0)"),
        Err(fault) => assert!(fault.to_string().contains("ca-certificates"), "{fault}"),
    }
}
