//! A member that hashes its room's log, as every client on the modern wire does.

use std::collections::HashMap;

use secure_chat::names::RoomName;
use secure_chat::protocol::modern::{
    Accepted, ActEvent, ActStamp, Changes, Deed, Entry, Event, JoinOk, MembersEvent, MessageEvent, Origin, Stamp,
};
use secure_chat::transcript::{
    self, ChangesHash, LogHash, MessageHash, Position, Realm, RoomId, RosterEntry, RosterHash, changes_hash,
    roster_hash,
};

/// One member's view of a room, from its join on.
#[derive(Debug, Clone)]
pub struct Follower {
    realm: Realm,
    pub room: RoomName,
    id: RoomId,
    pub me: RosterEntry,
    /// Where the log is.
    pub at: Position,
    /// The event of its own joining.
    pub joined_at: u64,
    /// L(n) since then.
    pub values: HashMap<u64, LogHash>,
    /// The hash of the roster, by the last event that has one.
    pub roster: RosterHash,
    /// The entries, as far as they are known: from a `who`, and from events that name who came and went.
    pub entries: Option<Vec<RosterEntry>>,
}

impl Follower {
    /// Begins with the answer to a join.
    #[track_caller]
    pub fn join(realm: Realm, me: RosterEntry, ok: &JoinOk) -> Self {
        assert!(ok.joined.contains(&me.change(true)), "the event of the join does not hold it");
        let mut follower = Self {
            realm,
            room: ok.room.clone(),
            id: ok.room_id,
            me,
            at: Position { n: ok.n - 1, log: ok.before },
            joined_at: ok.n,
            values: HashMap::new(),
            roster: ok.roster,
            entries: None,
        };
        let changes = changes_hash(ok.joined.iter().copied(), ok.removed.iter().copied());
        follower.hash_members(ok.n, ok.joined.len() as u64, ok.removed.len() as u64, changes, ok.roster);
        follower
    }

    #[track_caller]
    fn hash(&mut self, n: u64, event: &transcript::Event<'_>) {
        assert_eq!(n, self.at.n + 1, "{}: the numbers of events have no gap and none twice", self.me.account);
        self.at = self.at.after(event);
        self.values.insert(n, self.at.log);
    }

    #[track_caller]
    fn hash_members(&mut self, n: u64, joined: u64, removed: u64, changes: ChangesHash, roster: RosterHash) {
        self.roster = roster;
        self.hash(n, &transcript::Event::Members { joined, removed, changes, roster });
    }

    /// Takes an event of the log; others are passed over.
    #[track_caller]
    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::Members(members) => self.members(members),
            Event::Message(message) => self.message(message),
            Event::Act(act) => self.act(act),
            _ => {}
        }
    }

    #[track_caller]
    fn members(&mut self, event: &MembersEvent) {
        assert_eq!(event.room, self.room, "an event of another room");
        match &event.changes {
            Changes::Hashed { joined, removed, changes } => {
                self.entries = None;
                self.hash_members(event.n, *joined, *removed, *changes, event.roster);
            }
            Changes::Listed { joined, removed } => {
                let changes =
                    changes_hash(joined.iter().map(|e| e.change(true)), removed.iter().map(|e| e.change(false)));
                self.hash_members(event.n, joined.len() as u64, removed.len() as u64, changes, event.roster);
                self.change(joined, removed);
            }
        }
    }

    /// What is known of the entries must give the roster's hash.
    #[track_caller]
    fn change(&mut self, joined: &[RosterEntry], removed: &[RosterEntry]) {
        let Some(mut entries) = self.entries.take() else { return };
        for gone in removed {
            let place = entries.iter().position(|entry| entry == gone).expect("who goes was there");
            entries.swap_remove(place);
        }
        entries.extend_from_slice(joined);
        assert_eq!(self.hash_of(&entries), self.roster, "the roster's hash is that of the entries");
        self.entries = Some(entries);
    }

    fn hash_of(&self, entries: &[RosterEntry]) -> RosterHash {
        roster_hash(&self.realm, &self.id, &self.room, entries.iter().map(RosterEntry::leaf))
    }

    #[track_caller]
    fn message(&mut self, event: &MessageEvent) {
        assert_eq!(event.room, self.room, "a message of another room");
        let signature = match &event.origin {
            Origin::Modern { stamp, .. } => Some(&stamp.signature),
            Origin::Legacy { .. } => None,
        };
        let message = MessageHash::of(&event.encrypted_message);
        self.hash(event.n, &transcript::Event::Message { account: &event.user, message, signature });
        if let (Some(entries), Origin::Modern { reader, .. }) = (&self.entries, &event.origin) {
            let is_author = |e: &RosterEntry| {
                e.account == event.user && e.run == reader.run && e.key.bundle() == Some(reader.bundle)
            };
            assert!(entries.iter().any(is_author), "who speaks is listed");
        }
    }

    #[track_caller]
    fn act(&mut self, event: &ActEvent) {
        assert_eq!(event.room, self.room, "an act in another room");
        let ActEvent { deed, user, n, .. } = event;
        let signature = event.proof.as_ref().map(|proof| &proof.stamp.signature);
        self.hash_act(*n, user, deed, signature);
    }

    #[track_caller]
    fn hash_act(
        &mut self,
        n: u64,
        account: &secure_chat::names::UserName,
        deed: &Deed,
        signature: Option<&transcript::Signature>,
    ) {
        let (target, argument) = (deed.target.as_str(), deed.argument.as_str());
        self.hash(n, &transcript::Event::Act { account, verb: deed.verb, target, argument, signature });
    }

    /// Its own message was taken: no event tells it.
    #[track_caller]
    pub fn sent(&mut self, encrypted_message: &str, stamp: &Stamp, ok: &Accepted) {
        if ok.duplicate {
            return;
        }
        let (account, message) = (self.me.account.clone(), MessageHash::of(encrypted_message));
        let signature = Some(&stamp.signature);
        self.hash(ok.n, &transcript::Event::Message { account: &account, message, signature });
    }

    /// Its own act was taken.
    #[track_caller]
    pub fn acted(&mut self, deed: &Deed, stamp: &ActStamp, ok: &Accepted) {
        if !ok.duplicate {
            let account = self.me.account.clone();
            self.hash_act(ok.n, &account, deed, Some(&stamp.signature));
        }
    }

    /// Takes the answer to a `who`.
    #[track_caller]
    pub fn who(&mut self, entries: &[Entry], n: u64, roster: RosterHash) {
        assert_eq!(n, self.at.n, "the list is of now");
        assert_eq!(roster, self.roster);
        let entries: Vec<_> = entries.iter().map(|entry| entry.entry.clone()).collect();
        assert_eq!(self.hash_of(&entries), roster, "the list is what the log says");
        assert!(entries.contains(&self.me), "who asks is listed");
        self.entries = Some(entries);
    }
}
