//! Strengthens, in the background, the password hashes that the Python server left.

use tracing::info;

use crate::chat::{Change, Directory, Input, Verifier};
use crate::crypto::password::PasswordHash;
use crate::server::hashing::Hasher;
use crate::server::mailbox::Event;
use crate::server::sync::{Arc, AtomicBool, Ordering, Sender};

/// A weak hash and how to put another in its place.
pub(super) struct Weak {
    verifier: Verifier,
    replace: Box<dyn FnOnce(Verifier) -> Change + Send>,
}

/// The hashes of a directory that a single round, or none, protects.
pub(super) fn weak(directory: &Directory) -> Vec<Weak> {
    let is_weak = |verifier: &Verifier| PasswordHash::parse(verifier.as_str()).is_ok_and(|hash| hash.is_weak());
    // Rooms first: their passwords are there to be read.
    let rooms = directory.rooms().iter().filter(|(_, room)| is_weak(&room.password)).map(|(name, room)| {
        let name = name.clone();
        let replace = move |password| Change::SetRoomPassword { room: name, password };
        Weak { verifier: room.password.clone(), replace: Box::new(replace) }
    });
    let users = directory.users().iter().filter(|(_, account)| is_weak(&account.password)).map(|(name, account)| {
        let name = name.clone();
        let replace = move |password| Change::SetUserPassword { user: name, password };
        Weak { verifier: account.password.clone(), replace: Box::new(replace) }
    });
    rooms.chain(users).collect()
}

/// Strengthens them one after the other, so that a log-in waits for one of them at most.
pub(super) fn run(weak: Vec<Weak>, hasher: &Hasher, events: &Sender<Event>, stop: &Arc<AtomicBool>) {
    if weak.is_empty() {
        return;
    }
    info!(hashes = weak.len(), "strengthening the password hashes of the Python server in the background");
    for Weak { verifier, replace } in weak {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(strong) = hasher.strengthen(&verifier) else { continue };
        let input = Input::Strengthened { change: replace(strong), weak: verifier };
        if events.send(Event::Input(input)).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Strengthened); // a broker that is gone needs no telling
}
