//! Who plays: accounts with signing keys, devices with RSA keys, runs of clients; and what names them on the wire.

use std::cell::RefCell;
use std::collections::HashMap;

use secure_chat::crypto::{Bundle, PrivateKey, SigningKey};
use secure_chat::names::UserName;
use secure_chat::transcript::{EntryKey, Realm, RosterEntry, RunId};
use serde_json::json;

use super::common::client::keys;

/// Everybody, by the names that the script gives them.
#[derive(Default)]
pub(crate) struct Cast {
    people: HashMap<String, Person>,
    signing_keys: HashMap<String, SigningKey>,
    devices: HashMap<String, PrivateKey>,
    runs: HashMap<String, RunId>,
    /// By account, signing key and device: an RSA signature is another one each time.
    bundles: RefCell<HashMap<[String; 3], Bundle>>,
}

/// One client of an account.
struct Person {
    account: UserName,
    signing_key: String,
    device: String,
    run: String,
}

impl Cast {
    /// Somebody with an account, and by their labels a signing key, a device and a run; new ones are drawn.
    pub(crate) fn add(&mut self, [name, account, signing_key, device, run]: [&str; 5]) {
        self.signing_keys.entry(signing_key.to_owned()).or_insert_with(SigningKey::generate);
        self.devices.entry(device.to_owned()).or_insert_with(|| PrivateKey::generate().unwrap());
        self.runs.entry(run.to_owned()).or_insert_with(|| RunId(rand::random()));
        let person = Person {
            account: UserName::new(account),
            signing_key: signing_key.to_owned(),
            device: device.to_owned(),
            run: run.to_owned(),
        };
        assert!(self.people.insert(name.to_owned(), person).is_none(), "{name} is there twice");
    }

    fn person(&self, name: &str) -> &Person {
        self.people.get(name).unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.people.contains_key(name)
    }

    pub(crate) fn account(&self, name: &str) -> &UserName {
        &self.person(name).account
    }

    pub(crate) fn signing_key(&self, name: &str) -> &SigningKey {
        &self.signing_keys[&self.person(name).signing_key]
    }

    pub(crate) fn device(&self, name: &str) -> &PrivateKey {
        &self.devices[&self.person(name).device]
    }

    pub(crate) fn run(&self, name: &str) -> RunId {
        self.runs[&self.person(name).run]
    }

    pub(crate) fn bundle(&self, realm: &Realm, name: &str) -> Bundle {
        let Person { account, signing_key, device, .. } = self.person(name);
        let sign = || Bundle::sign(realm, account, self.signing_key(name), self.device(name)).unwrap();
        let labels = [account.as_str().to_owned(), signing_key.clone(), device.clone()];
        self.bundles.borrow_mut().entry(labels).or_insert_with(sign).clone()
    }

    /// The bundle of somebody, if one of these people has it.
    pub(crate) fn find(&self, realm: &Realm, entry: &RosterEntry) -> Option<Bundle> {
        let of = self.people.keys().filter(|name| *self.account(name) == entry.account);
        of.map(|name| self.bundle(realm, name)).find(|bundle| Some(bundle.hash()) == entry.key.bundle())
    }

    pub(crate) fn entry(&self, realm: &Realm, name: &str) -> RosterEntry {
        let key = EntryKey::Modern(self.bundle(realm, name).hash());
        RosterEntry { account: self.account(name).clone(), key, run: self.run(name) }
    }

    /// What a legacy member is listed as, under the run that the server drew.
    pub(crate) fn legacy_entry(&self, name: &str, run: RunId, has_key: bool) -> RosterEntry {
        let key = has_key.then(|| self.device(name).public().spki_hash());
        RosterEntry { account: self.account(name).clone(), key: EntryKey::Legacy(key), run }
    }

    /// What is known of somebody by a word.
    pub(crate) fn value(&self, realm: &Realm, name: &str, word: &str) -> Option<String> {
        let text = |value: serde_json::Value| value.to_string().trim_matches('"').to_owned();
        let bundle = || self.bundle(realm, name);
        Some(match word {
            "bundle" => bundle().hash().to_base64(),
            "run" => self.run(name).to_base64(),
            "signing_key" => bundle().signing_key().bytes().to_base64(),
            "rsa_key" => base64(bundle().rsa().spki_der()),
            "pem" => self.device(name).public().pem().to_string(),
            "key" => self.device(name).public().spki_hash().to_base64(),
            "reader" => json!({ "bundle": bundle().hash(), "run": self.run(name) }).to_string(),
            "entry" => entry_json(&self.entry(realm, name), false),
            "joined" => text(json!(self.entry(realm, name).change(true))),
            "removed" => text(json!(self.entry(realm, name).change(false))),
            _ => return None,
        })
    }

    /// The fields of a bundle.
    pub(crate) fn keys(&self, realm: &Realm, name: &str) -> String {
        let keys = keys(&self.bundle(realm, name));
        format!(
            r#""signing_key":"{}","rsa_key":"{}","signature":"{}","rsa_signature":"{}""#,
            keys.signing_key,
            base64(&keys.rsa_key),
            keys.signature,
            base64(&keys.rsa_signature)
        )
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// An entry as the wire has it.
pub(crate) fn entry_json(entry: &RosterEntry, away: bool) -> String {
    let key = match entry.key {
        EntryKey::Modern(bundle) => bundle.to_base64(),
        EntryKey::Legacy(key) => key.map_or(String::new(), |key| key.to_base64()),
    };
    let away = if away { r#","away":true"# } else { "" };
    let (user, kind, run) = (json!(entry.account.as_str()), entry.key.kind(), entry.run);
    format!(r#"{{"user":{user},"kind":"{kind}","key":"{key}","run":"{run}"{away}}}"#)
}
