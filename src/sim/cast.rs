//! Plays a world: one thread per worker, one of them running at a time.
//!
//! Invariants: returns when every thread has returned; what a thread panicked with is a failure.

use super::verdict::Failure;
use super::verdict::Law;
use super::world::World;

/// A worker's life: it takes its seat with [`World::enter`], then turns until its driver or its
/// phase says that it is over.
pub type Part = Box<dyn FnOnce(&World) + Send>;

/// Plays the world to its end; the first failure, if there is one.
pub fn play(world: &World, parts: Vec<Part>) -> Option<Failure> {
    let mut threads = Vec::new();
    for (n, part) in parts.into_iter().enumerate() {
        let (own, name) = (world.clone(), format!("worker-{n}"));
        let spawned = std::thread::Builder::new().name(name).spawn(move || part(&own));
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(error) => world.lock().net.verdict.fail(Law::Crash, error),
        }
    }
    world.start();
    for thread in threads {
        if let Err(panic) = thread.join() {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            world.lock().net.verdict.explain(text);
        }
    }
    let mut scene = world.lock();
    let open = scene.net.open_sockets();
    if open > 0 {
        scene.net.verdict.fail(Law::Hygiene, format!("{open} sockets are open at the end"));
    }
    scene.net.verdict.failure().cloned()
}
