//! The hub without a server: sessions by the million on the modern wire, in one thread. What goes to members is dropped, what
//! is to be hashed counts as hashed, and what is to be saved counts as saved.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use secure_chat::chat::{
    Change, Dialect, Directory, Effect, Entries, Hub, Input, KnownBundle, Limits, Now, SessionId, Verifier, Work,
    WorkDone,
};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    ActRequest, ActStamp, Answer, BundleKeys, Deed, OkBody, Request, RequestBody, SendRequest, SignedText, Stamp,
};
use secure_chat::transcript::{
    BundleHash, Commitment, Ed25519Key, Event, Kind, Position, Realm, RoomId, RunId, Signature, Verb, bundle,
    changes_hash,
};

use crate::accounts::{PASSWORD, room_name, user_name};

const REALM: Realm = Realm([7; 32]);

/// What is due within this time is a batch of changes in a large room, and no session that says nothing.
const SOON: Duration = Duration::from_secs(1);

/// What an input came to.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// The last answer that was not an error.
    pub(crate) ok: Option<OkBody>,
    /// The last error.
    error: Option<String>,
    /// Lines for members.
    pub(crate) lines: usize,
}

/// A hub, and how far its time has come.
pub(crate) struct Driver {
    hub: Hub,
    now: Now,
    id: u64,
    keys: BundleKeys,
}

impl Driver {
    /// A hub with so many accounts and rooms.
    pub(crate) fn new(accounts: usize, rooms: usize) -> Result<Self> {
        let mut entries = Entries::default();
        let password = Verifier::new(PASSWORD);
        let god = std::iter::once(UserName::god());
        let users = god.chain((0..accounts).map(|account| UserName::new(&user_name(account))));
        let users = users.map(|user| Change::AddUser { user, password: password.clone() });
        let rooms = (0..rooms).map(|room| Change::AddRoom {
            room: RoomName::new(&room_name(room)),
            password: password.clone(),
            id: RoomId((room as u128 + 1).to_be_bytes()),
            owner: None,
            modern_only: false,
        });
        for change in users.chain(rooms) {
            if let Err(misfit) = entries.apply(change) {
                bail!("the benchmark's entries do not fit: {misfit:?}");
            }
        }
        let mut limits = Limits { accounts: usize::MAX, rooms: usize::MAX, ..Limits::default() };
        limits.lift_rates();
        Ok(Self {
            hub: Hub::new(Directory::new(entries), REALM, [2; 32]).with_limits(limits),
            now: Now { elapsed: Duration::from_secs(1000), unix_ms: 1_800_000_000_000 },
            id: 0,
            keys: BundleKeys {
                signing_key: Ed25519Key([1; 32]),
                rsa_key: [1; 294].into(),
                signature: Signature([1; 64]),
                rsa_signature: [1; 256].into(),
            },
        })
    }

    /// Feeds an input, and what follows from it at once.
    pub(crate) fn feed(&mut self, input: Input) -> Came {
        let (mut came, mut next) = (Came::default(), Some(input));
        while let Some(input) = next.take() {
            for effect in self.hub.handle(self.now, input) {
                match effect {
                    Effect::Answer(_, Answer::Ok { body, .. }) => came.ok = Some(body),
                    Effect::Answer(_, Answer::Error { text, .. }) => came.error = Some(text.to_string()),
                    Effect::Work(session, work) => next = Some(Input::Worked(session, perform(work))),
                    Effect::Store(session, change) => next = Some(Input::Stored { session, change, saved: true }),
                    Effect::Tell(to, _) => came.lines += to.iter().count(),
                    _ => {}
                }
            }
        }
        came
    }

    pub(crate) fn ask(&mut self, session: SessionId, body: RequestBody) -> Result<Came> {
        let request = self.request(body);
        let came = self.feed(Input::Request(session, Ok(request)));
        came.ok.is_some().then_some(()).with_context(|| {
            format!("{session} was refused: {}", came.error.as_deref().unwrap_or("it was not answered"))
        })?;
        Ok(came)
    }

    fn request(&mut self, body: RequestBody) -> Box<Request> {
        self.id += 1;
        Box::new(Request { id: self.id, body })
    }

    /// Connects, logs in and announces: account and session have the same number.
    pub(crate) fn log_in(&mut self, account: usize) -> Result<SessionId> {
        let session = self.connect(account as u64);
        let user = UserName::new(&user_name(account));
        self.ask(session, RequestBody::Login { user: user.clone(), password: Password::new(PASSWORD) })?;
        let hash = BundleHash::of(&bundle(&REALM, &user, &self.keys.signing_key, &self.keys.rsa_key));
        let known = KnownBundle { hash, account: user, keys: self.keys.clone() };
        self.id += 1;
        let run = RunId((account as u128).to_be_bytes());
        let came = self.feed(Input::Announce { session, id: self.id, run, hash, bundle: Ok(Arc::new(known)) });
        came.ok.context("an announcement was refused")?;
        Ok(session)
    }

    /// A connection that says nothing yet. Each has an address of its own.
    pub(crate) fn connect(&mut self, number: u64) -> SessionId {
        let session = SessionId(number + 1);
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number as u32));
        self.feed(Input::Connected(session, address, Dialect::Modern));
        session
    }

    /// Asks to be let into a room: of a large one, the answer comes when time passes.
    pub(crate) fn join(&mut self, session: SessionId, room: usize) -> Result<Came> {
        let password = Some(Password::new(PASSWORD));
        let request = self.request(RequestBody::Join { room: RoomName::new(&room_name(room)), password });
        let came = self.feed(Input::Request(session, Ok(request)));
        match came.error {
            Some(error) => bail!("{session} is not let in: {error}"),
            None => Ok(came),
        }
    }

    /// Leaves a room, with the number that the session counts now.
    pub(crate) fn leave(&mut self, session: SessionId, room: usize, counter: u64) -> Result<Came> {
        let stamp = ActStamp { counter, at: Position::NOWHERE, signature: Signature([6; 64]) };
        let deed = Deed { verb: Verb::Leave, target: SignedText::new(""), argument: SignedText::new("") };
        let room = RoomName::new(&room_name(room));
        self.ask(session, RequestBody::Act(ActRequest { room, deed, stamp, secret: None, resend: false }))
    }

    /// Logs out, and is gone.
    pub(crate) fn log_out(&mut self, session: SessionId) -> Result<()> {
        self.ask(session, RequestBody::Logout)?;
        self.feed(Input::Disconnected(session));
        Ok(())
    }

    /// Lets the time pass until what was collected is told.
    pub(crate) fn pass(&mut self) {
        let Some(due) = self.hub.deadline().filter(|due| *due <= self.now.elapsed + SOON) else { return };
        self.now.unix_ms += due.saturating_sub(self.now.elapsed).as_millis() as u64;
        self.now.elapsed = self.now.elapsed.max(due);
        self.feed(Input::Tick);
    }
}

/// Somebody who speaks in a room.
pub(crate) struct Speaker {
    session: SessionId,
    room: RoomName,
    token: String,
    counter: u64,
    at: Position,
}

impl Speaker {
    /// Who has just been let into a room, and will say so many bytes each time.
    pub(crate) fn new(session: SessionId, joined: Came, size: usize) -> Result<Self> {
        let Some(OkBody::Join(ok)) = joined.ok else { bail!("{session} is not in a room") };
        let before = Position { n: ok.n.saturating_sub(1), log: ok.before };
        let event = Event::Members {
            joined: ok.joined.len() as u64,
            removed: ok.removed.len() as u64,
            changes: changes_hash(ok.joined.iter().copied(), ok.removed.iter().copied()),
            roster: ok.roster,
        };
        Ok(Self { session, room: ok.room, token: "A".repeat(size), counter: 0, at: before.after(&event) })
    }

    /// What it says next.
    pub(crate) fn next(&mut self) -> (SessionId, RequestBody) {
        self.counter += 1;
        let stamp = Stamp {
            kind: Kind::Text,
            epoch: 1,
            counter: self.counter,
            at: self.at,
            commitment: Commitment([4; 32]),
            signature: Signature([5; 64]),
        };
        let (room, encrypted_message) = (self.room.clone(), self.token.clone());
        let send = SendRequest { room, encrypted_message, encrypted_keys: None, stamp, resend: false };
        (self.session, RequestBody::Send(send))
    }
}

fn perform(work: Work) -> WorkDone {
    match work {
        Work::Hash(password) => WorkDone::Hashed(Verifier::new(password.expose())),
        Work::Check { password, verifier } => {
            let right = verifier.is_some_and(|verifier| verifier.as_str() == password.expose());
            WorkDone::Checked { right, better: None }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn members_come_and_hear_each_other() {
        let mut driver = Driver::new(5, 1).unwrap();
        let first = driver.log_in(0).unwrap();
        let joined = driver.join(first, 0).unwrap();
        let mut speaker = Speaker::new(first, joined, 700).unwrap();
        for account in 1..5 {
            let session = driver.log_in(account).unwrap();
            driver.join(session, 0).unwrap();
        }
        for _ in 0..3 {
            let (session, said) = speaker.next();
            assert_eq!(driver.ask(session, said).unwrap().lines, 4);
        }
        assert!(driver.join(first, 7).is_err(), "there is no such room");
        let guest = driver.connect(9);
        let (user, password) = (UserName::new("new"), Password::new("pw"));
        driver.ask(guest, RequestBody::Register { user, password, token: None }).unwrap();
    }
}
