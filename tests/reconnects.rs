//! A thousand reconnects within a minute, as after a network failure: with session tokens, no password is hashed for them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use common::Server;
use common::client::{Client, entry, message};
use common::follower::Follower;
use secure_chat::crypto::Bundle;
use secure_chat::names::{RoomName, UserName};
use secure_chat::protocol::modern::{
    ActRequest, ActStamp, Deed, Event, OkBody, PartBody, RequestBody, SessionToken, SignedText,
};
use secure_chat::transcript::{RunId, Signature, Verb};

const ROOM: &str = "den";
const PEOPLE: u8 = 20;
const TIMES: u64 = 50;

/// Somebody who comes back again and again.
struct Person {
    client: Client,
    bundle: Bundle,
    run: RunId,
    token: SessionToken,
    view: Follower,
    counter: u64,
}

impl Person {
    fn in_room(server: &Server, number: u8) -> Self {
        let (mut client, bundle, token) = Client::user(server, &format!("user{number}"), number);
        if number == 0 {
            client.creates(ROOM);
        }
        let run = RunId([number; 16]);
        let view = client.joins(ROOM, Some("pw"), entry(&bundle, run));
        Self { client, bundle, run, token, view, counter: 0 }
    }

    /// Goes, by losing the connection or by leaving the room before, and comes back with the token alone.
    fn reconnects(&mut self, server: &Server, time: u64) {
        let password = time.is_multiple_of(2).then(|| {
            self.leaves();
            "pw"
        });
        self.client = Client::connect(server);
        let resumed = self.client.ok(RequestBody::Resume { token: self.token.clone(), run: self.run });
        assert!(matches!(resumed, OkBody::Resume { bundle, .. } if bundle == self.bundle.hash()));
        self.view = self.client.joins(ROOM, password, entry(&self.bundle, self.run));
        self.checks_who_is_there();
        self.says(&format!("{time}"));
    }

    fn leaves(&mut self) {
        self.counter += 1;
        let (counter, at, signature) = (self.counter, self.view.at, Signature([3; 64]));
        let empty = SignedText::new("");
        let act = ActRequest {
            room: RoomName::new(ROOM),
            deed: Deed { verb: Verb::Leave, target: empty.clone(), argument: empty },
            stamp: ActStamp { counter, at, signature },
            secret: None,
            resend: false,
        };
        self.client.ok(RequestBody::Act(act));
    }

    /// The list is what the log says.
    fn checks_who_is_there(&mut self) {
        let OkBody::Who { n, roster, .. } = self.client.ok(RequestBody::Who { room: RoomName::new(ROOM) }) else {
            panic!()
        };
        self.client.events.drain(..).for_each(|event| self.view.hear(&event));
        let entries = self.client.parts.drain(..).flat_map(|part| match part {
            PartBody::Entries(entries) => entries,
            other => panic!("{other:?}"),
        });
        self.view.who(&entries.collect::<Vec<_>>(), n, roster);
    }

    fn says(&mut self, text: &str) {
        self.counter += 1;
        let message = message(ROOM, text, self.counter, self.view.at);
        let OkBody::Send(accepted) = self.client.ok(RequestBody::Send(message.clone())) else { panic!() };
        self.client.events.drain(..).for_each(|event| self.view.hear(&event));
        self.view.sent(text, &message.stamp, &accepted);
    }
}

/// How many messages of each user come until all have said everything, in their order.
fn listen(witness: &mut Person) -> HashMap<UserName, u64> {
    let mut heard: HashMap<UserName, u64> = HashMap::new();
    while heard.values().sum::<u64>() < u64::from(PEOPLE) * TIMES {
        let event = witness.client.event();
        witness.view.hear(&event);
        let Event::Message(message) = event else { continue };
        let count = heard.entry(message.user).or_default();
        *count += 1;
        assert_eq!(message.encrypted_message, count.to_string());
    }
    heard
}

#[test]
fn a_thousand_reconnects_in_a_minute_hash_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut people: Vec<_> = (0..=PEOPLE).map(|number| Person::in_room(&server, number)).collect();
    let mut witness = people.pop().unwrap();
    let begun = Instant::now();
    let heard = std::thread::scope(|scope| {
        for person in &mut people {
            let server = &server;
            scope.spawn(move || (1..=TIMES).for_each(|time| person.reconnects(server, time)));
        }
        listen(&mut witness)
    });
    let took = begun.elapsed();
    assert!(heard.len() == usize::from(PEOPLE) && heard.values().all(|count| *count == TIMES), "{heard:?}");
    let log = server.log.clone();
    assert_eq!(server.stop(), 0);
    // A registration and a log-in each, a room, and its password once: it is known from then on.
    let expected = 2 * (usize::from(PEOPLE) + 1) + 2;
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains(&format!("ended hashes={expected}\n")), "{log}");
    println!("{} reconnects in {took:.1?}: no password was hashed", u64::from(PEOPLE) * TIMES);
    assert!(took < Duration::from_secs(60), "it took {took:?}");
}
