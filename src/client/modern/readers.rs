//! Who is to read what is written next, and who is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::jobs::Target;
use super::keys::Found;
use super::room::GOING;
use super::roster::MOST_ENTRIES;
use super::{Machine, Trust};
use crate::client::alarm::{Alarm, names};
use crate::client::people::Verdict;
use crate::client::shown::Name;
use crate::crypto::{Bundle, PublicKey};
use crate::names::UserName;
use crate::protocol::modern::Reader;
use crate::transcript::{BundleHash, EntryKey, RosterEntry};

/// Most sessions that a direct message is for.
pub(super) const READERS: usize = 512;

/// How many names are said.
const NAMES: usize = 8;

/// The readers of a room.
#[derive(Default)]
pub(super) struct Readers {
    /// Those on the modern wire, which hold the epoch.
    pub(super) modern: BTreeMap<Reader, Arc<Bundle>>,
    /// Those on the legacy wire, one key a name.
    pub(super) legacy: BTreeMap<UserName, PublicKey>,
    /// Whether somebody is listed who is going: it has to be looked at again.
    pub(super) somebody_goes: bool,
}

/// What becomes of an entry.
enum Judged {
    Modern(Reader, Arc<Bundle>, Trust),
    Legacy(UserName, PublicKey),
    /// Its key has to be fetched.
    Fetch(BundleHash),
    /// It is left out; why.
    Out(String),
    /// Another key is pinned for it.
    Changed(Alarm),
    /// It goes, as was signed, and its removal is to come.
    Going,
}

impl Machine {
    /// Judges everyone who is listed. Says whom it leaves out, and who can read that could not before.
    ///
    /// # Errors
    /// How many keys have to be fetched first, which are asked for, and of how many.
    pub(super) fn readers(&mut self, unusable: &BTreeSet<Target>) -> Result<Readers, (usize, usize)> {
        let (Some(account), Some(stay)) = (&self.account, &self.stay) else { return Ok(Readers::default()) };
        let own = Reader { bundle: account.bundle.hash(), run: self.run };
        let entries: Vec<RosterEntry> = stay.roster.entries().map(|listed| listed.entry.clone()).collect();
        let mut readers = Readers::default();
        let mut told = Vec::new();
        let (mut fetched, total) = (0, entries.len());
        for entry in entries {
            if entry.key.bundle() == Some(own.bundle) && entry.run == own.run {
                continue;
            }
            match self.judge_entry(&entry, unusable) {
                Judged::Fetch(hash) => {
                    self.keys.want(hash);
                    fetched += 1;
                }
                _ if fetched > 0 => {} // it is judged again when everything is there
                Judged::Modern(reader, bundle, trust) => {
                    told.push((bundle.hash().0, entry.account, Some(trust)));
                    readers.modern.insert(reader, bundle);
                }
                Judged::Legacy(account, key) => {
                    told.push((key.spki_hash().0, account.clone(), None));
                    readers.legacy.insert(account, key);
                }
                Judged::Going => readers.somebody_goes = true,
                Judged::Out(why) => self.tell_left_out(&entry, Err(why)),
                Judged::Changed(alarm) => self.tell_left_out(&entry, Ok(alarm)),
            }
        }
        if fetched > 0 {
            return Err((fetched, total));
        }
        self.remember();
        self.tell_new_readers(told);
        Ok(readers)
    }

    fn judge_entry(&mut self, entry: &RosterEntry, unusable: &BTreeSet<Target>) -> Judged {
        match self.stay.as_ref().and_then(|stay| stay.going_for(entry, self.now.elapsed)) {
            Some(long) if long > GOING => {
                return Judged::Out("left or was put out, and the server lists it still".to_owned());
            }
            Some(_) => return Judged::Going,
            None => {}
        }
        match entry.key {
            EntryKey::Modern(hash) => self.judge_modern(entry, hash, unusable),
            EntryKey::Legacy(None) => Judged::Out("has announced no key".to_owned()),
            EntryKey::Legacy(Some(hash)) => self.judge_legacy(entry, BundleHash(hash.0), unusable),
        }
    }

    fn judge_modern(&mut self, entry: &RosterEntry, hash: BundleHash, unusable: &BTreeSet<Target>) -> Judged {
        let bundle = match self.keys.bundle(hash, self.now.elapsed) {
            Found::Here(bundle) => Arc::clone(bundle),
            Found::Not(why) => return Judged::Out(format!("has keys that cannot be used: {why}")),
            Found::NotYet => return Judged::Fetch(hash),
        };
        if *bundle.account() != entry.account {
            return Judged::Out("is listed with the keys of somebody else".to_owned());
        }
        if unusable.contains(&Target::Bundle(hash)) {
            return Judged::Out("has a key that cannot be used".to_owned());
        }
        match self.people.meet(&bundle) {
            Verdict::Good(trust) => Judged::Modern(Reader { bundle: hash, run: entry.run }, bundle, trust),
            Verdict::Changed { pinned, shown } => {
                Judged::Changed(Alarm::KeyChanged { with: None, user: entry.account.clone(), pinned, shown })
            }
            Verdict::Full => Judged::Out("is one name too many".to_owned()),
        }
    }

    fn judge_legacy(&mut self, entry: &RosterEntry, hash: BundleHash, unusable: &BTreeSet<Target>) -> Judged {
        let account = &entry.account;
        if self.stay.as_ref().is_none_or(|stay| stay.bars_legacy) {
            return Judged::Out("is on the old wire, which this room keeps out".to_owned());
        }
        let key = match self.keys.legacy(hash, self.now.elapsed) {
            Found::Here(key) => key.clone(),
            Found::Not(why) => return Judged::Out(format!("has a key that cannot be used: {why}")),
            Found::NotYet => return Judged::Fetch(hash),
        };
        if unusable.contains(&Target::Legacy(account.clone())) {
            return Judged::Out("has a name that leaves no room for a text on the old wire".to_owned());
        }
        match self.people.meet_legacy(account, &key) {
            Verdict::Good(_) => Judged::Legacy(account.clone(), key),
            Verdict::Changed { .. } if self.people.signs(account) => {
                Judged::Out("is on the old wire with a key that is not one of theirs".to_owned())
            }
            Verdict::Changed { pinned, shown } => {
                Judged::Changed(Alarm::KeyChanged { with: None, user: account.clone(), pinned, shown })
            }
            Verdict::Full => Judged::Out("is one name too many".to_owned()),
        }
    }

    /// Says who cannot read, once for each key.
    fn tell_left_out(&mut self, entry: &RosterEntry, why: Result<Alarm, String>) {
        let key = match entry.key {
            EntryKey::Modern(BundleHash(hash)) => hash,
            EntryKey::Legacy(hash) => hash.map_or([0; 32], |hash| hash.0),
        };
        let Some(stay) = &mut self.stay else { return };
        if stay.told_left_out.len() >= 2 * MOST_ENTRIES {
            stay.told_left_out.clear(); // it is said again
        }
        if !stay.told_left_out.insert((entry.account.clone(), key)) {
            return;
        }
        match why {
            Ok(alarm) => self.alarm(alarm),
            Err(why) => self.say(format!("{} cannot read you: {0} {why}.", Name(&entry.account))),
        }
    }

    /// Says who can read, before they can, when there is somebody new. Whom the roster lists no more is new the next time.
    fn tell_new_readers(&mut self, readers: Vec<([u8; 32], UserName, Option<Trust>)>) {
        let Some(stay) = &mut self.stay else { return };
        let all: BTreeSet<_> = readers.iter().map(|(key, account, _)| (account.clone(), *key)).collect();
        let told = std::mem::replace(&mut stay.told_readers, all);
        let new: Vec<_> = readers.iter().filter(|(key, account, _)| !told.contains(&(account.clone(), *key))).collect();
        let back: BTreeSet<&UserName> =
            new.iter().map(|(_, account, _)| account).filter(|account| stay.told_gone.remove(*account)).collect();
        let was_told_alone = std::mem::replace(&mut stay.told_alone, readers.is_empty());
        if readers.is_empty() && !was_told_alone {
            return self.say("Nobody else is here who can read you.");
        }
        let of = |wanted: Option<Trust>| {
            let of: BTreeSet<&UserName> =
                new.iter().filter(|(_, _, trust)| *trust == wanted).map(|(_, account, _)| account).collect();
            // Who was said to be gone is named, however many others come with it.
            let (first, others): (Vec<_>, Vec<_>) = of.into_iter().partition(|account| back.contains(account));
            let most = NAMES.max(first.len());
            let of: Vec<_> = first.into_iter().chain(others).collect();
            (!of.is_empty()).then(|| names(of, most))
        };
        let lines = [
            (Some(Trust::Verified), "verified"),
            (Some(Trust::Pinned), "pinned"),
            (Some(Trust::Own), "you, on another device"),
            (None, "on the old wire"),
        ];
        let words: Vec<String> =
            lines.into_iter().filter_map(|(trust, what)| Some(format!("{} ({what})", of(trust)?))).collect();
        if !words.is_empty() {
            self.say(format!("From now on you can be read by: {}. /readers names all.", words.join("; ")));
        }
    }
}
