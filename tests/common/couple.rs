//! Two members of a room, on either wire, who say something to each other while others misbehave.

use std::time::{Duration, Instant};

use secure_chat::names::RoomName;
use secure_chat::protocol::modern::{Entry, Event, OkBody, PartBody, RequestBody};
use secure_chat::transcript::RunId;

use super::client::{Client, entry, message};
use super::follower::Follower;
use super::{Peer, Server};

/// The room of all couples.
pub const ROOM: &str = "lobby";

/// How long a message may take at most, however the others behave.
const PATIENCE: Duration = Duration::from_secs(1);

/// A couple on the legacy wire.
pub struct LegacyCouple {
    pub alice: Peer,
    pub bob: Peer,
    /// How many messages alice has said, numbered from 0.
    pub said: u32,
}

impl LegacyCouple {
    pub fn new(server: &Server) -> Self {
        let mut alice = server.user("alice");
        alice.asks("/create lobby pw", "Room 'lobby' created.");
        alice.asks("/join lobby pw", "alice joined the chat!");
        let mut bob = server.user("bob");
        bob.asks("/join lobby pw", "bob joined the chat!");
        assert_eq!(alice.hears(), "bob joined the chat!");
        Self { alice, bob, said: 0 }
    }

    /// A message arrives within a second, as the next of alice's; what bob heard before it.
    #[track_caller]
    pub fn still_talk(&mut self) -> Vec<String> {
        let begun = Instant::now();
        let before = self.talk();
        let took = begun.elapsed();
        assert!(took < PATIENCE, "the message took {took:?}");
        before
    }

    /// The same, however long it takes.
    #[track_caller]
    pub fn talk(&mut self) -> Vec<String> {
        let said = self.said;
        self.said += 1;
        let message =
            format!(r#"{{"encrypted_message":"couple{said}","encrypted_keys":{{"bob":"Qg=="}},"room":"lobby"}}"#);
        self.alice.says(&message);
        let before = self.bob.hears_until(&message);
        assert!(!before.iter().any(|heard| heard.contains("couple")), "{before:?}");
        before
    }
}

/// A member, and its view of the room.
pub struct Member {
    pub client: Client,
    pub view: Follower,
    counter: u64,
}

impl Member {
    pub fn new(server: &Server, name: &str, run: u8) -> Self {
        let (mut client, bundle, _) = Client::user(server, name, run);
        if run == 1 {
            client.creates(ROOM);
        }
        let view = client.joins(ROOM, Some("pw"), entry(&bundle, RunId([run; 16])));
        Self { client, view, counter: 0 }
    }

    pub fn hears(&mut self) -> Event {
        let event = self.client.event();
        self.view.hear(&event);
        event
    }

    pub fn says(&mut self, text: &str) {
        self.counter += 1;
        let message = message(ROOM, text, self.counter, self.view.at);
        let OkBody::Send(accepted) = self.client.ok(RequestBody::Send(message.clone())) else { panic!() };
        self.client.events.drain(..).for_each(|event| self.view.hear(&event));
        self.view.sent(text, &message.stamp, &accepted);
    }

    /// How many of those who are listed are away.
    pub fn away(&mut self) -> usize {
        self.who().iter().filter(|entry| entry.away).count()
    }

    /// Who is listed.
    pub fn who(&mut self) -> Vec<Entry> {
        self.client.ok(RequestBody::Who { room: RoomName::new(ROOM) });
        self.client.events.drain(..).for_each(|event| self.view.hear(&event));
        let entries = self.client.parts.drain(..).flat_map(|part| match part {
            PartBody::Entries(entries) => entries,
            other => panic!("{other:?}"),
        });
        entries.collect()
    }
}

/// A couple on the modern wire.
pub struct ModernCouple {
    pub alice: Member,
    pub bob: Member,
    said: u32,
}

impl ModernCouple {
    pub fn new(server: &Server) -> Self {
        let (mut alice, bob) = (Member::new(server, "alice", 1), Member::new(server, "bob", 2));
        alice.hears(); // of bob
        Self { alice, bob, said: 0 }
    }

    /// A message arrives within a second, and nothing before it was lost.
    #[track_caller]
    pub fn still_talk(&mut self) {
        let begun = Instant::now();
        self.talk();
        let took = begun.elapsed();
        assert!(took < PATIENCE, "the message took {took:?}");
    }

    /// The same, however long it takes.
    #[track_caller]
    pub fn talk(&mut self) {
        let text = format!("couple{}", self.said);
        self.said += 1;
        self.alice.says(&text);
        while !matches!(self.bob.hears(), Event::Message(message) if message.encrypted_message == text) {}
        assert_eq!(self.alice.view.at, self.bob.view.at);
    }
}
