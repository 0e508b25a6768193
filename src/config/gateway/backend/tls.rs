//! TLS to a backend: the name to expect, whom to trust, and who we are.
//!
//! Invariants: the model holds the texts of the files, so that nothing is read later; print names
//! the files again, never what is in them.

use crate::base::redact::Secret;
use crate::config::form;
use crate::config::gateway::BackendTls;
use crate::config::gateway::reader::Node;
use crate::config::gateway::reader::Reader;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::value;
use crate::config::value::Kind;

/// Files that the texts of a [`BackendTls`] came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Of `ca_pem`.
    pub ca: Option<String>,
    /// Of our certificate chain.
    pub certificate: Option<String>,
    /// Of its key.
    pub key: Option<String>,
}

/// What the text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) server_name: Option<String>,
    pub(crate) files: TlsFiles,
}

pub(crate) static TLS: Shape<Draft> = Shape {
    title: "`tls` of a backend or an upstream",
    nouns: &["tls"],
    blank: Draft::default,
    rows: &[
        value(
            "server_name",
            Kind::Text(&form::SERVER_NAME),
            "The name that the certificate must have, and that SNI says.",
            |d: &mut Draft| &mut d.server_name,
        )
        .default("the endpoints' host"),
        value(
            "ca_file",
            Kind::Text(&form::FILE),
            "PEM file of the authorities to trust.",
            |d: &mut Draft| &mut d.files.ca,
        )
        .default("the system's"),
        value(
            "certificate_file",
            Kind::Text(&form::FILE),
            "PEM file of our own certificate chain, if the backend wants one.",
            |d: &mut Draft| &mut d.files.certificate,
        ),
        value(
            "key_file",
            Kind::Text(&form::FILE),
            "PEM file of the certificate's key.",
            |d: &mut Draft| &mut d.files.key,
        ),
    ],
};

impl Draft {
    /// What the text says of this.
    pub(crate) fn of(tls: &BackendTls) -> Self {
        Self { server_name: Some(tls.server_name.clone()), files: tls.files.clone() }
    }

    /// Reads the files. `host` is the name to expect where the text has none.
    pub(crate) fn finish(
        self,
        host: Option<&str>,
        node: &Node<'_>,
        reader: &mut Reader<'_>,
    ) -> BackendTls {
        let Self { server_name, files } = self;
        let mut file = |name: &str, path: &Option<String>, holds: &str| {
            let node = reader.member(node, name);
            path.as_ref().and_then(|path| reader.file(&node, path, holds))
        };
        let ca_pem = file("ca_file", &files.ca, "BEGIN CERTIFICATE");
        let certificate = file("certificate_file", &files.certificate, "BEGIN CERTIFICATE");
        let key = file("key_file", &files.key, "PRIVATE KEY");
        if files.certificate.is_some() != files.key.is_some() {
            reader.relation(
                node,
                "certificate_file and key_file belong together",
                "give both, or neither",
            );
        }
        let server_name = server_name.or(host.map(str::to_owned));
        if server_name.is_none() {
            reader.relation(
                node,
                "has no name to expect: the endpoints do not have one host",
                "add server_name",
            );
        }
        let client = certificate.zip(key.map(Secret::new));
        BackendTls { server_name: server_name.unwrap_or_default(), ca_pem, client, files }
    }
}
