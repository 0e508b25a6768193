//! What all workers of a process count together: connections, in total (those that they open
//! themselves included) and by client address.
//!
//! Invariants:
//! 1. Every `enter` that was let in is followed by one `leave` with the same key.
//! 2. The count by address is never too low. It may be too high where addresses share both of
//!    their cells: a table of atomics of fixed size instead of a map with a lock.
//! 3. An address that has no limit is in no cell, so it makes nobody's count higher.

use crate::base::map::Hasher;
use crate::base::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::net::{IpAddr, SocketAddr};

const CELLS: usize = 1 << 16;

/// Connections of one public address, where the configuration names no number: room for an office
/// or a carrier's shared address, and far from what one machine can open.
pub(super) const PUBLIC_ADDRESS_MAX: u32 = 1024;

/// An address as the limit sees it: hashed, an IPv6 /64 counting as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressKey(pub u32);

impl AddressKey {
    /// An address without a limit. No hash is this.
    const FREE: Self = Self(0);
}

/// Which limit refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Connections in total.
    Total,
    /// Connections of this address.
    Address,
}

/// The connections of the process.
#[derive(Debug)]
pub struct Load {
    total: AtomicUsize,
    total_max: usize,
    rows: Option<[Box<[AtomicU32]>; 2]>,
    address_max: u32,
    /// Only public addresses have a limit.
    only_public: bool,
    hasher: Hasher,
    /// Accepts that failed for want of descriptors or memory, in all workers.
    shortages: AtomicU32,
}

impl Load {
    /// Nothing open. `address_max` is for every address, 0 meaning no limit; `None` means
    /// 1,024 for public addresses and no limit for those where proxies are.
    #[must_use]
    pub fn new(total_max: usize, address_max: Option<u32>, hasher: Hasher) -> Self {
        let only_public = address_max.is_none();
        let address_max = address_max.unwrap_or(PUBLIC_ADDRESS_MAX);
        let row = || (0..CELLS).map(|_| AtomicU32::new(0)).collect();
        let rows = (address_max > 0).then(|| [row(), row()]);
        let (total, shortages) = (AtomicUsize::new(0), AtomicU32::new(0));
        Self { total, total_max, rows, address_max, only_public, hasher, shortages }
    }

    /// The key of a peer.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
    pub fn key(&self, peer: SocketAddr) -> AddressKey {
        let ip = peer.ip().to_canonical();
        if self.rows.is_none() || (self.only_public && is_near(ip)) {
            return AddressKey::FREE;
        }
        let hash = match ip {
            IpAddr::V4(v4) => self.hasher.hash(&v4.octets()),
            IpAddr::V6(v6) => self.hasher.hash(&v6.octets().first_chunk::<8>()),
        };
        AddressKey((hash as u32).max(1))
    }

    /// Counts a connection in.
    ///
    /// # Errors
    /// The limit that is reached; nothing was counted.
    pub fn enter(&self, key: AddressKey) -> Result<(), Refused> {
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.total_max {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Total);
        }
        let least = self.cells(key).map(|cell| cell.fetch_add(1, Ordering::Relaxed)).min();
        if least.is_some_and(|count| count >= self.address_max) {
            self.leave(key);
            return Err(Refused::Address);
        }
        Ok(())
    }

    /// Counts a connection out.
    pub fn leave(&self, key: AddressKey) {
        self.total.fetch_sub(1, Ordering::Relaxed);
        for cell in self.cells(key) {
            cell.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection in that a worker opens; false: there are as many as may be, and it must
    /// not be opened. Each that was counted is followed by one [`Load::close`].
    #[must_use]
    pub fn open(&self) -> bool {
        let full = self.total.fetch_add(1, Ordering::Relaxed) >= self.total_max;
        if full {
            self.close();
        }
        !full
    }

    /// Counts out a connection that a worker opened.
    pub fn close(&self) {
        self.total.fetch_sub(1, Ordering::Relaxed);
    }

    /// A worker cannot accept. The connections that could make room may be another worker's.
    pub fn report_shortage(&self) {
        self.shortages.fetch_add(1, Ordering::Relaxed);
    }

    /// How many shortages were reported.
    #[must_use]
    pub fn shortages(&self) -> u32 {
        self.shortages.load(Ordering::Relaxed)
    }

    /// Connections now.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    fn cells(&self, key: AddressKey) -> impl Iterator<Item = &AtomicU32> {
        let places = [key.0 & 0xffff, key.0 >> 16];
        let rows = self.rows.iter().filter(move |_| key != AddressKey::FREE).flatten();
        rows.zip(places).filter_map(|(row, place)| row.get(place as usize))
    }
}

/// Where proxies and load balancers are: this host and private networks (RFC 1918, RFC 6598, RFC
/// 3927, RFC 4193, RFC 4291 2.5.6). One address there may stand for any number of clients.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(total: usize, address: u32) -> Load {
        Load::new(total, Some(address), Hasher::new(1))
    }

    #[test]
    fn the_total_is_a_limit_and_comes_back() {
        let load = load(2, 0);
        let key = load.key("127.0.0.1:1".parse().unwrap());
        assert_eq!((load.enter(key), load.enter(key)), (Ok(()), Ok(())));
        assert_eq!(load.enter(key), Err(Refused::Total));
        load.leave(key);
        assert_eq!(load.enter(key), Ok(()));
        assert_eq!(load.total(), 2);
    }

    #[test]
    fn connections_that_workers_open_count_in_the_total() {
        let load = load(2, 0);
        let key = load.key("127.0.0.1:1".parse().unwrap());
        assert!(load.open() && load.open() && !load.open());
        assert_eq!(load.enter(key), Err(Refused::Total));
        load.close();
        assert_eq!((load.enter(key), load.open(), load.total()), (Ok(()), false, 2));
    }

    #[test]
    fn an_address_has_a_limit_of_its_own_and_a_v6_network_is_one_address() {
        let load = load(100, 2);
        let key = |text: &str| load.key(text.parse().unwrap());
        assert_eq!(key("10.0.0.1:1"), key("[::ffff:10.0.0.1]:2"));
        assert_eq!(key("[2001:db8::1]:1"), key("[2001:db8::ffff:2]:9"));
        assert_ne!(key("[2001:db8::1]:1"), key("[2001:db8:0:1::1]:1"));
        let (a, b) = (key("10.0.0.1:1"), key("10.0.0.2:1"));
        assert_eq!((load.enter(a), load.enter(a), load.enter(b)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(load.enter(a), Err(Refused::Address));
        assert_eq!(load.total(), 3);
        load.leave(a);
        assert_eq!(load.enter(a), Ok(()));
    }
    #[test]
    fn without_a_number_only_public_addresses_have_a_limit() {
        let load = Load::new(usize::MAX, None, Hasher::new(1));
        let near = "127.0.0.1 10.9.8.7 172.16.0.1 172.31.255.255 192.168.1.1 169.254.0.1 \
                    100.64.0.1 100.127.255.255 ::1 fd00::1 fe80::1 ::ffff:10.0.0.1";
        for ip in near.split_whitespace() {
            let key = load.key(SocketAddr::new(ip.parse().unwrap(), 1));
            assert!((0..2000).all(|_| load.enter(key).is_ok()), "{ip}");
        }
        let public = "203.0.113.1 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.169.0.1 \
                      2001:db8::1 ::ffff:198.51.100.1";
        for ip in public.split_whitespace() {
            let key = load.key(SocketAddr::new(ip.parse().unwrap(), 1));
            let entered = (0..2000).take_while(|_| load.enter(key).is_ok()).count();
            assert_eq!(entered, 1024, "{ip}");
            load.leave(key);
            assert_eq!(load.enter(key), Ok(()), "{ip}: a place that was freed");
        }
    }

    #[test]
    fn a_number_is_for_all_addresses_and_zero_is_no_limit() {
        let (one, none) = (load(100, 1), load(100, 0));
        for ip in ["127.0.0.1:1", "10.0.0.1:1", "203.0.113.1:1"] {
            let enter = |load: &Load| load.enter(load.key(ip.parse().unwrap()));
            assert_eq!((enter(&one), enter(&one)), (Ok(()), Err(Refused::Address)), "{ip}");
            assert_eq!((enter(&none), enter(&none)), (Ok(()), Ok(())), "{ip}");
        }
    }
}
