//! `/readers`: who can read what is written next, as far as that can be foreseen without asking anybody.

use std::collections::BTreeSet;

use super::Machine;
use super::keys::Found;
use super::room::Stay;
use crate::client::people::Verdict;
use crate::client::shown::Name;
use crate::names::UserName;
use crate::transcript::{BundleHash, EntryKey, RosterEntry};

impl Machine {
    /// Everybody who may get the key of the next message, blocked or not, god or not: in doubt, somebody is listed. Then those
    /// who were given that of the last one and get no other.
    pub(super) fn show_readers(&mut self) {
        let Some(stay) = &self.stay else { return self.cannot("You are in no room: /join one.") };
        let (mut next, mut listed) = (Vec::new(), BTreeSet::new());
        for entry in stay.roster.entries().map(|listed| &listed.entry) {
            if let Some(what) = self.next_reader(stay, entry) {
                next.push(self.line(&entry.account, entry.key.bundle(), what));
                listed.extend(entry.key.bundle());
            }
        }
        let mut others = self.other_holders(stay, &listed);
        let is_known = stay.roster.is_full();
        if !is_known {
            next.append(&mut others); // nobody knows whether they are here
        }
        self.tell_readers(next, others, is_known);
    }

    fn tell_readers(&mut self, mut next: Vec<String>, mut gone: Vec<String>, is_known: bool) {
        next.sort_unstable();
        gone.sort_unstable();
        match (next.is_empty(), is_known) {
            (false, _) => self.say("What you write here can be read by:"),
            (true, true) => self.say("Nobody else is here who can read you."),
            (true, false) => {}
        }
        self.say_all(next);
        if !is_known {
            self.say("Who is here is asked for before your next message goes out; whoever is new then is named first.");
        }
        if !gone.is_empty() {
            self.say("From your next message on, no more:");
            self.say_all(gone);
        }
    }

    /// What is known of a member who may get the next message's key; `None` of one who gets nothing, by the rules of
    /// [`Machine::readers`]. Nothing is pinned here.
    fn next_reader(&self, stay: &Stay, entry: &RosterEntry) -> Option<&'static str> {
        let is_this = entry.key.bundle().is_some_and(|bundle| self.is_this(bundle, entry.run));
        if is_this || stay.going_for(entry, self.now.elapsed).is_some() {
            return None;
        }
        match entry.key {
            EntryKey::Modern(bundle) => self.next_modern(&entry.account, bundle),
            EntryKey::Legacy(Some(key)) if !stay.bars_legacy => self.next_legacy(&entry.account, BundleHash(key.0)),
            EntryKey::Legacy(_) => None,
        }
    }

    fn next_modern(&self, account: &UserName, hash: BundleHash) -> Option<&'static str> {
        match self.keys.bundle(hash, self.now.elapsed) {
            Found::Here(bundle) if bundle.account() != account => None,
            Found::Here(bundle) => match self.people.judge(bundle) {
                Verdict::Good(trust) => Some(trust.word()),
                Verdict::Changed { .. } | Verdict::Full => None,
            },
            Found::Not(_) => Some("with keys that could not be used so far"), // they are asked for again
            Found::NotYet => Some(self.pinned_word(account)),
        }
    }

    fn next_legacy(&self, account: &UserName, hash: BundleHash) -> Option<&'static str> {
        let is_out = match self.keys.legacy(hash, self.now.elapsed) {
            Found::Here(key) => !matches!(self.people.judge_legacy(account, key), Verdict::Good(_)),
            Found::Not(_) | Found::NotYet => false,
        };
        (!is_out).then_some("on the old wire")
    }

    /// Who may have the own epoch's chain, by keys that are not among the listed: the epoch ends with the next message, unless
    /// they are here.
    fn other_holders(&self, stay: &Stay, listed: &BTreeSet<BundleHash>) -> Vec<String> {
        let holders = self.rooms.get(&stay.id).into_iter().flat_map(|memory| memory.outgoing.given_to());
        let others = holders.filter(|(reader, _)| !listed.contains(&reader.bundle));
        let lines = others.map(|(reader, account)| {
            let what =
                self.next_modern(account, reader.bundle).unwrap_or("with a key that is not the known one any more");
            self.line(account, Some(reader.bundle), what)
        });
        lines.collect()
    }

    fn line(&self, account: &UserName, bundle: Option<BundleHash>, what: &str) -> String {
        let blocked = if self.people.is_blocked(account) { ", blocked" } else { "" };
        let bundle = bundle.map_or(String::new(), |bundle| format!(" {bundle}"));
        format!("  {} ({what}{blocked}){bundle}", Name(account))
    }
}
