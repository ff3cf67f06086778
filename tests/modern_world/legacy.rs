//! A peer on the legacy wire: as trusting as the scripts, no more than what is needed to speak and to read.

use std::collections::BTreeMap;
use std::sync::Arc;

use secure_chat::chat::SessionId;
use secure_chat::crypto::{PrivateKey, PublicKey, envelope};
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::{ClientMessage, Command, KeyAnnouncement, Package, ServerMessage};

/// Somebody on the legacy wire.
pub struct LegacyPeer {
    pub account: String,
    pub rsa: Arc<PrivateKey>,
    pub session: Option<SessionId>,
    pub room: Option<RoomName>,
    /// The last key of each name.
    keys: BTreeMap<UserName, PublicKey>,
    /// What it could read: `name: text`.
    pub read: Vec<String>,
    /// What came and could not be read.
    pub unreadable: usize,
    /// Everything else that the server said.
    pub heard: Vec<ServerMessage>,
}

impl LegacyPeer {
    pub fn new(account: &str, rsa: Arc<PrivateKey>) -> Self {
        Self {
            account: account.to_owned(),
            rsa,
            session: None,
            room: None,
            keys: BTreeMap::new(),
            read: Vec::new(),
            unreadable: 0,
            heard: Vec::new(),
        }
    }

    pub fn login(&self) -> ClientMessage {
        ClientMessage::Command(Command::Login(Some((UserName::new(&self.account), Password::new("pw")))))
    }

    pub fn announce(&self) -> ClientMessage {
        let pem = Arc::clone(self.rsa.public().pem());
        ClientMessage::Key(KeyAnnouncement { user: UserName::new(&self.account), pem })
    }

    pub fn join(&mut self, room: &str) -> ClientMessage {
        self.room = Some(RoomName::new(room));
        ClientMessage::Command(Command::Join(Some((RoomName::new(room), Some(Password::new("pw"))))))
    }

    /// A package with an entry for everyone whose key it has.
    pub fn say(&self, text: &str, unix: u64) -> ClientMessage {
        let sealed = envelope::seal(&format!("{}: {text}", self.account), unix);
        let entry = |(user, key): (&UserName, &PublicKey)| (user.as_str().to_owned(), sealed.wrap_for(key).unwrap());
        let keys = self.keys.iter().map(entry).collect();
        let room = self.room.clone().unwrap_or_else(|| RoomName::new("nowhere"));
        ClientMessage::Chat(Ok(Package::new(sealed.token.clone(), keys, room)))
    }

    pub fn hear(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Key(KeyAnnouncement { user, pem }) => {
                if let Ok(key) = PublicKey::from_pem(&pem) {
                    self.keys.insert(user, key);
                }
            }
            ServerMessage::Chat(package) => {
                let entry = package.encrypted_keys.get(&self.account);
                match entry.and_then(|entry| envelope::open(&package.encrypted_message, entry, &self.rsa)) {
                    Some(text) => self.read.push(envelope::unpad(&text).to_owned()),
                    None => self.unreadable += 1,
                }
            }
            other => self.heard.push(other),
        }
    }

    /// The connection is gone.
    pub fn lost(&mut self) {
        (self.session, self.room) = (None, None);
        self.keys.clear();
    }
}
