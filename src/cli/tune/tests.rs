//! Tests of `tune` on fake hosts: each property is fine, falls short, or is missing.

use super::fake::Fake;
use super::*;
use crate::config::Io;

fn want(clients: u64) -> Want {
    Want { config: Config::default(), clients, workers: 2 }
}

/// Names of the findings in a state.
fn names(fake: &Fake, want: &Want, state: State) -> Vec<&'static str> {
    let findings = checks::all(&fake.tree(), want);
    findings.iter().filter(|finding| finding.state == state).map(|finding| finding.name).collect()
}

#[test]
fn a_host_as_wanted_has_nothing_short() {
    let fake = Fake::new("a_host_as_wanted");
    let want = want(500);
    assert_eq!(names(&fake, &want, State::Short), [""; 0]);
    assert_eq!(names(&fake, &want, State::Unknown), [""; 0]);
    let text = report(&checks::all(&fake.tree(), &want), &want);
    assert!(text.ends_with("0 of 13 fall short for 500 clients on 2 workers\n"), "{text}");
}

#[test]
fn each_property_can_fall_short_alone() {
    let limits = "Max open files 100 100 files\nMax locked memory unlimited unlimited bytes\n";
    let locked = "Max open files 2000 2000 files\nMax locked memory 65536 65536 bytes\n";
    for (path, text, name) in [
        ("proc/self/limits", limits, "open files"),
        ("proc/self/limits", locked, "locked memory"),
        ("proc/sys/kernel/osrelease", "5.15.0-91-generic", "kernel"),
        ("proc/sys/kernel/io_uring_disabled", "2", "kernel.io_uring_disabled"),
        ("proc/sys/fs/nr_open", "1000", "fs.nr_open"),
        ("proc/sys/fs/file-max", "1000", "fs.file-max"),
        ("proc/sys/net/core/somaxconn", "128", "net.core.somaxconn"),
        ("proc/sys/net/ipv4/tcp_max_syn_backlog", "256", "net.ipv4.tcp_max_syn_backlog"),
        ("proc/sys/net/ipv4/tcp_syncookies", "0", "net.ipv4.tcp_syncookies"),
        ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1", "net.ipv4.tcp_slow_start_after_idle"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "900", "net.netfilter.nf_conntrack_max"),
        ("proc/sys/net/ipv4/tcp_mem", "1 2 3", "net.ipv4.tcp_mem"),
        ("proc/meminfo", "MemTotal: 8192 kB", "memory"),
        ("sys/fs/cgroup/memory.max", "8000000", "memory of the group"),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never",
            "transparent huge pages",
        ),
        ("sys/fs/cgroup/cpu.max", "150000 100000", "CPU quota"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave", "CPU governor"),
    ] {
        let fake = Fake::new(&format!("each_property-{}", name.replace(' ', "_")));
        fake.write(path, text);
        let want = want(500);
        assert_eq!(names(&fake, &want, State::Short), [name]);
        let findings = checks::all(&fake.tree(), &want);
        let found = findings.iter().find(|finding| finding.name == name).unwrap();
        assert!(!found.why.is_empty() && !found.command.is_empty() && !found.wanted.is_empty());
        let report = report(&findings, &want);
        assert!(report.contains(&format!("SHORT  {name}: ")), "{report}");
        assert!(report.contains(&format!("set: {}", found.command)), "{report}");
    }
}

#[test]
fn what_is_wanted_grows_with_the_clients() {
    let fake = Fake::new("what_is_wanted_grows");
    assert!(names(&fake, &want(500), State::Short).is_empty());
    assert_eq!(
        names(&fake, &want(10_000_000), State::Short),
        ["open files", "fs.nr_open", "fs.file-max", "net.ipv4.tcp_mem", "memory"]
    );
}

#[test]
fn a_host_that_tells_nothing_is_unknown_and_not_short() {
    let fake = Fake::new("a_host_that_tells_nothing");
    fake.write("proc/self/limits", "");
    fake.write("proc/sys/kernel/osrelease", "weird");
    fake.write("proc/self/status", "Seccomp:\t2\n");
    assert_eq!(names(&fake, &want(500), State::Unknown), ["open files", "kernel", "seccomp"]);
    assert!(names(&fake, &want(500), State::Short).is_empty());
}

#[test]
fn epoll_needs_no_ring() {
    let fake = Fake::new("epoll_needs_no_ring");
    fake.write("proc/sys/kernel/io_uring_disabled", "2");
    fake.write("proc/sys/kernel/osrelease", "5.4.0");
    let mut want = want(500);
    assert_eq!(names(&fake, &want, State::Short), ["kernel", "kernel.io_uring_disabled"]);
    want.config.io = Io::Epoll;
    assert!(names(&fake, &want, State::Short).is_empty());
}

#[test]
fn the_holder_of_the_capability_has_no_memlock_limit() {
    let fake = Fake::new("the_holder");
    fake.write("proc/self/limits", "Max open files 2000 2000\nMax locked memory 0 0 bytes\n");
    assert_eq!(names(&fake, &want(500), State::Short), ["locked memory"]);
    fake.write("proc/self/status", "CapEff:\t0000000000004000\nCpus_allowed_list:\t0\n");
    assert!(names(&fake, &want(500), State::Short).is_empty());
}

/// What `tuning/` tells an operator to set is what `tune` then finds fine, for a million clients.
#[test]
fn the_files_in_tuning_satisfy_what_tune_wants() {
    let fake = Fake::new("the_files_in_tuning");
    fake.write("proc/sys/net/netfilter/nf_conntrack_max", "1");
    let settings = include_str!("../../../tuning/sysctl.d/60-tidegate.conf");
    let settings = settings.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for setting in settings {
        let (name, value) = setting.trim_start_matches('-').split_once(" = ").unwrap();
        fake.write(&format!("proc/sys/{}", name.replace('.', "/")), value);
    }
    let unit = include_str!("../../../tuning/systemd/tidegate.service");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let (files, locked) = (setting("LimitNOFILE="), setting("LimitMEMLOCK="));
    fake.write(
        "proc/self/limits",
        &format!(
            "Max open files {files} {files} files\nMax locked memory {0} {0} bytes\n",
            locked.replace("infinity", "unlimited")
        ),
    );
    assert_eq!(names(&fake, &want(1_000_000), State::Short), [""; 0]);
    assert_eq!(names(&fake, &want(1_000_000), State::Unknown), [""; 0]);
    let stop: u64 = setting("TimeoutStopSec=").parse().unwrap();
    assert!(stop > Config::default().drain.period.as_secs(), "the drain would be cut off");
    let limits = include_str!("../../../tuning/limits.d/60-tidegate.conf");
    assert!(limits.lines().any(|line| line.starts_with("tidegate  hard  nofile   1048576")));
}
