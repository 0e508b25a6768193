//! The simulated driver keeps its contract, and notices who breaks it.

use super::*;
use crate::base::map::Hasher;
use crate::base::phase::PhaseFlag;
use crate::base::time::Moment;
use crate::log::Channel;
use crate::log::Limits;
use crate::sim::book::Book;
use crate::sim::cast;
use crate::sim::faults::Faults;
use crate::sim::link::PeerRead;
use crate::sim::net::LinkId;
use crate::sim::peers::Peer;
use crate::sim::script::{Ending, Plan, Script};
use crate::sim::verdict::Failure;

/// Sends the numbers from 0 on and wants them back, then shuts its side and wants the end.
#[derive(Debug)]
struct Echoed {
    link: Option<LinkId>,
    sent: usize,
    got: Vec<u8>,
    total: usize,
    done: bool,
}

impl Peer for Echoed {
    fn step(&mut self, me: usize, net: &mut Net, _: &mut Book) -> Option<Moment> {
        let Some(link) = self.link else {
            self.link = net.connect(me);
            return Some(net.now());
        };
        if self.sent < self.total {
            let byte = u8::try_from(self.sent % 251).unwrap();
            net.send(link, &[byte]);
            self.sent += 1;
            if self.sent == self.total {
                net.shut(link);
            }
        }
        match net.read(link, 7, &mut self.got) {
            PeerRead::End | PeerRead::Reset => self.done = true,
            PeerRead::Empty if self.sent == self.total => return None,
            _ => {}
        }
        if self.done && self.got.iter().enumerate().any(|(n, b)| n % 251 != usize::from(*b)) {
            net.verdict.fail(Law::Delivery, "other bytes came back");
        }
        if self.done && self.got.len() != self.total {
            let what = format!("{} of {} bytes came back", self.got.len(), self.total);
            net.verdict.fail(Law::Delivery, what);
        }
        (!self.done).then(|| net.now().after(Duration::from_micros(100)))
    }

    fn owed(&self, _: &Net, _: &Book) -> Option<(LinkId, String)> {
        None
    }

    fn unsettled(&self, _: &Book) -> Option<String> {
        (!self.done).then(|| format!("{} bytes came back", self.got.len()))
    }

    fn is_gone(&self) -> bool {
        self.done
    }
}

fn world(seed: u64, faults: Faults, canary: Option<Canary>, peers: usize) -> World {
    let limits = Limits {
        events_max: 10,
        bytes_max: 1000,
        age_max_millis: 0,
        backlog_bytes_max: 1000,
        per_topic: None,
    };
    let channel = Arc::new(Channel::new(limits, 1, Hasher::new(seed)));
    let plan = Plan {
        work: Duration::from_millis(300),
        heal: true,
        settle: Duration::from_secs(5),
        ending: Ending::Leave,
        end: Duration::from_secs(5),
    };
    let mut net = Net::new(seed, faults);
    net.canary = canary;
    net.set_windows(1, 40);
    let script = Script::new(plan, Arc::new(PhaseFlag::new()), net.now());
    let world = World::new(net, Book::new(channel), script);
    for _ in 0..peers {
        let echoed = Echoed { link: None, sent: 0, got: Vec::new(), total: 200, done: false };
        world.add_peer(Box::new(echoed), Duration::ZERO);
    }
    world
}

fn token(socket: Socket) -> Token {
    Token(u64::try_from(socket.0).unwrap())
}

/// A server that sends back what it reads; written against the contract alone.
fn echo(driver: &mut SimDriver) {
    let mut held: std::collections::BTreeMap<i32, (Vec<u8>, bool)> = Default::default();
    let mut ready = Vec::new();
    driver.accept(true);
    while driver.turn(Some(Duration::from_millis(200)), &mut ready).is_ok() {
        driver.accept(true);
        for ready in ready.drain(..) {
            match ready {
                Ready::Accepted { socket, .. } => {
                    held.insert(socket.0, (Vec::new(), false));
                    driver.watch(socket, token(socket), Interest::Read);
                }
                Ready::Watched { token, readable, .. } => {
                    let socket = Socket(i32::try_from(token.0).unwrap());
                    let (bytes, end) = held.get_mut(&socket.0).unwrap();
                    loop {
                        if !readable {
                            break;
                        }
                        let mut buffer = [0; 16];
                        match driver.recv(socket, &mut buffer) {
                            Recv::Bytes(n) => bytes.extend(&buffer[..n]),
                            Recv::Empty => break,
                            Recv::End | Recv::Failed(_) => {
                                *end = true;
                                break;
                            }
                        }
                    }
                    if readable && !*end {
                        driver.watch(socket, token, Interest::Read);
                    }
                }
                Ready::AcceptFailed { .. } | Ready::Woken => {}
            }
        }
        let all: Vec<(i32, Vec<u8>)> = held
            .iter()
            .filter(|(_, (bytes, _))| !bytes.is_empty())
            .map(|(fd, (bytes, _))| (*fd, bytes.clone()))
            .collect();
        let sends: Vec<_> =
            all.iter().map(|(fd, b)| Outgoing { socket: Socket(*fd), bytes: b }).collect();
        let shorts = driver.flush(&sends).unwrap().to_vec();
        for (index, (fd, bytes)) in all.iter().enumerate() {
            let short = shorts.iter().find(|short| short.index == index);
            let (rest, end) = held.get_mut(fd).unwrap();
            match short.map_or(Ok(bytes.len()), |short| short.sent) {
                Ok(sent) => drop(rest.drain(..sent)),
                Err(_) => (*rest, *end) = (Vec::new(), true),
            }
            if !rest.is_empty() {
                driver.watch(Socket(*fd), token(Socket(*fd)), Interest::Write);
            }
        }
        held.retain(|fd, (rest, end)| {
            let over = *end && rest.is_empty();
            if over {
                driver.close(Socket(*fd));
            }
            !over
        });
        if driver.world.lock().script.is_closed() {
            return;
        }
    }
}

fn play(world: &World, act: impl Fn(&mut SimDriver) + Send + Clone + 'static) -> Option<Failure> {
    let (mut driver, _, port) = SimDriver::new(world);
    let part = move |world: &World| {
        let _seat = world.enter(port, None);
        act(&mut driver);
    };
    cast::play(world, vec![Box::new(part)])
}

#[test]
fn an_honest_server_passes_under_all_faults_that_end_no_connection() {
    for seed in 0..40 {
        let world = world(seed, Faults::gentle(), None, 5);
        assert_eq!(play(&world, echo), None, "seed {seed}");
    }
}

#[test]
fn a_seed_is_a_run() {
    let steps = |seed| {
        let world = world(seed, Faults::gentle(), None, 5);
        assert_eq!(play(&world, echo), None);
        let scene = world.lock();
        (scene.net.verdict.step, scene.net.now(), scene.net.chance.clone().next())
    };
    assert_eq!(steps(7), steps(7));
    assert_ne!(steps(7), steps(8));
}

/// Serves at one place, to one worker: whom it answers is sent three bytes, then the end.
#[derive(Debug)]
struct Serving(Option<LinkId>);

impl Peer for Serving {
    fn step(&mut self, me: usize, net: &mut Net, _: &mut Book) -> Option<Moment> {
        net.serve(me, backend());
        if let Some(link) = net.answer(me) {
            net.send(link, b"abc");
            net.shut(link);
            self.0 = Some(link);
        }
        None
    }

    fn owed(&self, _: &Net, _: &Book) -> Option<(LinkId, String)> {
        None
    }

    fn unsettled(&self, _: &Book) -> Option<String> {
        self.0.is_none().then(|| "nobody came".to_owned())
    }

    fn is_gone(&self) -> bool {
        self.0.is_some()
    }
}

fn backend() -> Remote {
    Remote::Tcp(([10, 9, 9, 9], 80).into())
}

/// Connects until it works, and reads to the end.
fn fetch(driver: &mut SimDriver) {
    let (mut ready, mut got, mut open) = (Vec::new(), Vec::new(), false);
    let mut socket = driver.connect(&backend(), Token(1));
    while got != b"abc" {
        driver.turn(Some(Duration::from_millis(50)), &mut ready).unwrap();
        if let (Ok(broken), false, true) = (socket, open, ready.is_empty()) {
            driver.close(broken);
            socket = Err(0);
        }
        for _ in ready.drain(..) {
            let held = socket.unwrap();
            open |= driver.connected(held).is_ok();
            let mut byte = [0];
            while open && let Recv::Bytes(1) = driver.recv(held, &mut byte) {
                got.extend(byte);
            }
            driver.watch(held, Token(1), Interest::Read);
        }
        socket = socket.or_else(|_| driver.connect(&backend(), Token(1)));
    }
    driver.close(socket.unwrap());
}

#[test]
fn a_worker_connects_out() {
    for seed in 0..20 {
        let faults = Faults { connect: 2, ..Faults::gentle() };
        let world = world(seed, faults, None, 0);
        world.add_peer(Box::new(Serving(None)), Duration::ZERO);
        assert_eq!(play(&world, fetch), None, "seed {seed}");
    }
}

#[test]
fn a_silent_short_send_is_found() {
    let failed = (0..10).any(|seed| {
        let world = world(seed, Faults::gentle(), Some(Canary::SilentShort), 3);
        play(&world, echo).is_some_and(|failure| failure.law == Law::Delivery)
    });
    assert!(failed);
}

/// Accepts one connection and does something to it that the contract forbids.
fn breaks(act: impl Fn(&mut SimDriver, Socket) + Send + Clone + 'static) -> Law {
    let world = world(1, Faults::healed(), None, 1);
    let failure = play(&world, move |driver| {
        let mut ready = Vec::new();
        driver.accept(true);
        while driver.turn(None, &mut ready).is_ok() {
            for ready in ready.drain(..) {
                if let Ready::Accepted { socket, .. } = ready {
                    act(driver, socket);
                }
            }
        }
    });
    failure.unwrap().law
}

#[test]
fn broken_contracts_are_found() {
    let send = |driver: &mut SimDriver, socket, bytes: &[u8], times: usize| {
        let sends = vec![Outgoing { socket, bytes }; times];
        driver.flush(&sends).unwrap();
    };
    assert_eq!(breaks(move |d, s| send(d, s, b"x", 2)), Law::Contract);
    assert_eq!(breaks(move |d, s| send(d, s, b"", 1)), Law::Contract);
    assert_eq!(breaks(move |d, s| [d.finish(s), send(d, s, b"x", 1)][1]), Law::Contract);
    assert_eq!(breaks(move |d, s| [d.close(s), send(d, s, b"x", 1)][1]), Law::Contract);
    assert_eq!(breaks(|d, s| [d.close(s), d.close(s)][1]), Law::Contract);
    assert_eq!(breaks(|d, s| [d.close(s), d.finish(s)][1]), Law::Contract);
    let read = |d: &mut SimDriver, s, into: &mut [u8]| {
        d.recv(s, into);
    };
    assert_eq!(breaks(move |d, s| [d.close(s), read(d, s, &mut [0])][1]), Law::Contract);
    assert_eq!(breaks(move |d, s| read(d, s, &mut [])), Law::Contract);
    let watch = |d: &mut SimDriver, s| d.watch(s, Token(1), Interest::Read);
    assert_eq!(breaks(move |d, s| [d.close(s), watch(d, s)][1]), Law::Contract);
    assert_eq!(breaks(|_, _| panic!("a bug")), Law::Crash);
}
