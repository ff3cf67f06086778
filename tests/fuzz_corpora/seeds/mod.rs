//! The seeds of all corpora: whole and honest inputs, from which the fuzzer's own begin.

mod client;
mod files;
mod server;
mod wires;

/// A name and what stands in the file.
pub type Seed = (String, Vec<u8>);

/// Numbers the contents, and drops those that are there already.
fn numbered(contents: impl IntoIterator<Item = Vec<u8>>) -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    for content in contents {
        if seeds.iter().all(|(_, known)| *known != content) {
            seeds.push((format!("seed-{:02}", seeds.len()), content));
        }
    }
    seeds
}

/// Those of each target.
pub fn all() -> [(&'static str, Vec<Seed>); 15] {
    [
        ("records", wires::records()),
        ("legacy_codec", wires::legacy()),
        ("modern_requests", wires::requests()),
        ("modern_answers", wires::answers()),
        ("package", wires::packages()),
        ("names", wires::names()),
        ("commands", wires::commands()),
        ("signed_bytes", wires::signed_bytes()),
        ("known_keys", files::known_keys()),
        ("snapshot", files::snapshots()),
        ("journal", files::journals()),
        ("pem", files::pem()),
        ("hub", server::hub()),
        ("legacy_client", client::legacy()),
        ("modern_client", client::modern()),
    ]
}
