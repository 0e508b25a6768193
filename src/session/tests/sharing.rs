//! Who shares a channel: those who would get the same from the upstream, and nobody else.

use super::*;

const FEEDS: &str = r#"
[[upstream]]
name = "own"
url = "http://10.9.0.3/own"
headers = ["x-tenant"]
[[route]]
path = "/own"
upstream = "own"
[[upstream]]
name = "open"
url = "http://10.9.0.3/open"
public = true
[[route]]
path = "/open"
upstream = "open"
"#;

impl World {
    /// The leases of the channels that these requests open, each request with one more field.
    fn shares(&self, path: &str, fields: &[&str]) -> Vec<usize> {
        let streams: Vec<Subscribe> =
            fields.iter().map(|field| self.path(path, &[field]).subscribe()).collect();
        let leases = self.opened.take().iter().map(|tap| tap.leases()).collect();
        drop(streams);
        leases
    }
}

#[test]
fn credentials_tell_clients_apart() {
    let world = World::toml(FEEDS);
    let fields = [
        "Cookie: session=1",
        "Cookie: session=2",
        "Cookie: session=1",
        "Authorization: Bearer a",
        "Authorization: Bearer b",
        "X-Nothing: 1",
        "X-Nothing: 2",
    ];
    assert_eq!(world.shares("/own", &fields), [2, 1, 1, 1, 2]);
}

#[test]
fn a_public_stream_is_one_for_all() {
    let world = World::toml(FEEDS);
    let fields = ["Cookie: session=1", "Cookie: session=2", "Authorization: Bearer a", "A: b"];
    assert_eq!(world.shares("/open", &fields), [4]);
}

#[test]
fn fields_that_are_passed_on_tell_clients_apart() {
    let world = World::toml(FEEDS);
    let fields = ["X-Tenant: a", "X-Tenant: b", "x-tenant: a", "X-Other: a"];
    assert_eq!(world.shares("/own", &fields), [2, 1, 1]);
}

#[test]
fn no_secret_reaches_what_is_told_of_a_channel() {
    let world = World::toml(FEEDS);
    let fields = ["Cookie: session=hunter2", "Authorization: Bearer hunter2"];
    let streams = fields.map(|field| world.path("/own", &[field]).subscribe());
    let told = format!("{:?} {streams:?}", world.site.registry().snapshot(world.now));
    assert!(!told.contains("hunter2"), "{told}");
    let lines: Vec<String> =
        world.site.registry().snapshot(world.now).iter().map(ToString::to_string).collect();
    assert!(lines.iter().all(|line| line.contains("credentials=yes")), "{lines:?}");
}
