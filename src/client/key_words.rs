//! What the commands about keys do and say, whatever wire the server speaks.

use crate::client::key_name::KeyName;
use crate::client::known_keys::Trust as Pinned;
use crate::client::people::{People, Refused};
use crate::client::shown::Name;
use crate::crypto::Fingerprint;
use crate::names::UserName;
use crate::transcript::Ed25519Key;

/// `/keys`: the person's own keys, and the server's.
pub(super) fn own_keys(signing: Ed25519Key, device: Fingerprint, server: KeyName) -> Vec<String> {
    let signing = KeyName::from(signing);
    vec![
        format!("Your signing key is {signing}, and this device's key {device}."),
        format!("The server's key is {server}."),
    ]
}

/// `/keys NAME`; `offered` is what that name has shown beside what is pinned.
pub(super) fn keys_of(people: &People, user: &UserName, offered: Option<KeyName>) -> Vec<String> {
    let (pins, name) = (people.pins(), Name(user));
    let mut lines = Vec::new();
    if let Some(signer) = pins.signers.get(user) {
        let trust = if signer.trust == Pinned::Verified { "verified" } else { "pinned, not verified" };
        lines.push(format!("{name} signs with {} ({trust}).", KeyName::from(signer.key)));
        let devices = pins.devices.get(user).into_iter().flatten();
        lines.extend(devices.map(|device| format!("  on a device with {}", device.rsa)));
    } else if let Some(rsa) = pins.rsa.get(user) {
        lines.push(format!("{name} is known from the old wire, by {rsa}."));
    }
    if let Some(offered) = offered {
        lines.push(format!("{name} has shown another key: {offered}. To trust it: /accept {name} {offered}"));
    }
    if people.is_blocked(user) {
        lines.push(format!("{name} is blocked."));
    }
    if lines.is_empty() {
        lines.push(format!("No key of {name} is known."));
    }
    lines
}

/// `/verify NAME`.
pub(super) fn compare(people: &mut People, user: &UserName, offered: Option<KeyName>) -> Vec<String> {
    let name = Name(user);
    let number = match people.compare(user) {
        Ok(number) => number,
        Err(Refused::NotLoggedIn) => return vec![format!("/login first: the number is of you and {name}.")],
        Err(_) => return vec![format!("No signing key of {name} is known yet. It comes with the first message.")],
    };
    let mut lines = vec![
        format!("The safety number of you and {name}:"),
        format!("  {number}"),
        format!("Compare it with {name} by voice or face to face. If it is the same: /verify {name} yes"),
    ];
    lines.extend(
        offered.map(|offered| format!("It is of the known key of {name}, not of {offered}, which was shown since.")),
    );
    lines
}

/// `/verify NAME yes`; the words of an error say why not.
pub(super) fn verify(people: &mut People, user: &UserName) -> Result<String, String> {
    let name = Name(user);
    match people.verify(user) {
        Ok(()) => Ok(format!("{name} is verified.")),
        Err(Refused::KeyChanged) => {
            Err(format!("The key of {name} is another than when you saw the number: /verify {name}"))
        }
        Err(Refused::Unknown) => Err(format!("No signing key of {name} is known.")),
        Err(_) => Err(format!("Compare the number first: /verify {name}")),
    }
}

/// What came of an `/accept`.
pub(super) fn accepted(user: &UserName, accepted: Result<KeyName, Refused>) -> String {
    let name = Name(user);
    match accepted {
        Ok(key @ KeyName::Sha256(_)) => format!("The key of {name} is {key} from now on."),
        Ok(key) => format!("The key of {name} is {key} from now on. It is not verified: /verify {name}"),
        Err(Refused::Unnamed(key)) => {
            format!("{name} has shown the key {key}. If {name} confirms it by another way: /accept {name} {key}")
        }
        Err(Refused::Another(shown)) => format!("{name} has not shown that key, but {shown}. Nothing is changed."),
        Err(_) => format!("{name} has shown no other key. Nothing is changed."),
    }
}

/// `/block NAME` and `/unblock NAME`.
pub(super) fn block(people: &mut People, user: &UserName, blocked: bool) -> String {
    let name = Name(user);
    match (people.block(user, blocked), blocked) {
        (true, true) => {
            format!("{name} is blocked: you don't see what {name} writes. {name} still sees what you write.")
        }
        (true, false) => format!("{name} is not blocked any more."),
        (false, true) => format!("{name} is blocked already."),
        (false, false) => format!("{name} is not blocked."),
    }
}
