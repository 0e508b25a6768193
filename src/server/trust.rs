//! Settings for TLS to backends, made once at start: what is wrong with a certificate or a key is
//! found before the first connection.
//!
//! Invariants: the system's authorities are read only if some backend trusts them, and once.

use super::StartError;
use crate::base::sync::Arc;
use crate::base::time::Clock;
use crate::config::gateway::Backend;
use crate::config::gateway::BackendTls;
use crate::tls::{Alpn, ClientSettings, Identity, Roots, SettingsFault};

/// The settings of each backend; `None` for those without TLS.
pub(super) fn settings(
    backends: &[Backend],
    clock: &Arc<dyn Clock + Send + Sync>,
) -> Result<Vec<Option<ClientSettings>>, StartError> {
    let mut system = None;
    backends.iter().map(|backend| one(backend, &mut system, clock)).collect()
}

/// Tries them, for whoever asks about a configuration: certificates, keys, and whether they belong
/// together. That this host trusts nobody is no fault of the file.
pub(super) fn check(backends: &[Backend], clock: &Arc<dyn Clock + Send + Sync>) -> Vec<StartError> {
    let mut system = None;
    let faults = backends.iter().filter_map(|backend| one(backend, &mut system, clock).err());
    let ours = |fault: &StartError| {
        !matches!(fault, StartError::Tls { cause: SettingsFault::NoSystemRoots { .. }, .. })
    };
    faults.filter(ours).collect()
}

fn one(
    backend: &Backend,
    system: &mut Option<Roots>,
    clock: &Arc<dyn Clock + Send + Sync>,
) -> Result<Option<ClientSettings>, StartError> {
    let made = backend.tls.as_ref().map(|tls| of(tls, system, clock)).transpose();
    made.map_err(|cause| StartError::Tls { backend: backend.name.clone(), cause })
}

fn of(
    tls: &BackendTls,
    system: &mut Option<Roots>,
    clock: &Arc<dyn Clock + Send + Sync>,
) -> Result<ClientSettings, SettingsFault> {
    let roots = match (&tls.ca_pem, &system) {
        (Some(pem), _) => Roots::from_pem(pem)?,
        (None, Some(roots)) => roots.clone(),
        (None, None) => system.insert(Roots::system()?).clone(),
    };
    let identity = tls.client.as_ref();
    let identity = identity.map(|(chain_pem, key_pem)| Identity { chain_pem, key_pem });
    ClientSettings::new(&roots, identity, Alpn::Http1, Arc::clone(clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::SystemClock;
    use crate::config::gateway::{Balance, Endpoint, Place};
    use std::time::Duration;

    fn backend(name: &str, ca_pem: Option<Option<&str>>) -> Backend {
        let second = Duration::from_secs(1);
        let tls = |pem: Option<&str>| BackendTls {
            server_name: "backend.test".into(),
            ca_pem: pem.map(str::to_owned),
            client: None,
            files: crate::config::gateway::TlsFiles::default(),
        };
        Backend {
            name: name.into(),
            endpoints: vec![Endpoint { place: Place::Tcp("127.0.0.1".into(), 1), weight: 1 }],
            tls: ca_pem.map(tls),
            balance: Balance::RoundRobin,
            affinity: None,
            eject_failures: 0,
            eject_time: second,
            health: None,
            connect_timeout: second,
            idle_connections_max: 0,
            idle_timeout: second,
            resolve_interval: second,
            delayed_acks: false,
        }
    }

    #[test]
    fn settings_stand_where_their_backend_does_and_a_fault_names_it() {
        let clock: Arc<dyn Clock + Send + Sync> = Arc::new(SystemClock::start());
        let pem = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap().cert.pem();
        let good = [backend("plain", None), backend("sealed", Some(Some(&pem)))];
        let made = settings(&good, &clock).unwrap();
        assert!(made[0].is_none() && made[1].is_some() && made.len() == 2);
        let bad = [backend("plain", None), backend("sealed", Some(Some("no PEM")))];
        let error = settings(&bad, &clock).unwrap_err().to_string();
        assert!(error.contains("backend sealed"), "{error}");
        let bad = [backend("a", Some(Some("no PEM"))), backend("b", Some(Some("no PEM")))];
        let names: Vec<_> = check(&bad, &clock).iter().map(ToString::to_string).collect();
        assert!(names.len() == 2 && names[0].contains("backend a"), "{names:?}");
        assert!(names[1].contains("backend b"), "{names:?}");
        assert!(check(&good, &clock).is_empty());
    }
}
