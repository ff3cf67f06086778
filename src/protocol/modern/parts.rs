//! What is too large for a line, split.

use std::sync::Arc;

use indexmap::IndexMap;

use super::MAX_LINE;
use super::answer::{Answer, Bundle, Entry, PartBody, RoomItem};
use super::json::json_len;
use super::request::{EncryptedKeys, Wraps};
use super::value::Json;

/// Bytes that a split line leaves to all that isn't split: two names and what is signed.
const RESERVE: usize = 16 * 1024;

/// Deals items out to lines, each filled as far as it goes; `len` is what an item takes with its comma.
fn fill<T>(items: impl IntoIterator<Item = T>, len: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut lines: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in items {
        let len = len(&item);
        match lines.last_mut() {
            Some(line) if len <= room => line.push(item),
            _ => {
                lines.push(vec![item]);
                room = MAX_LINE - RESERVE;
            }
        }
        room = room.saturating_sub(len);
    }
    lines
}

fn written<T: Json>(item: &T) -> usize {
    let mut out = Vec::new();
    item.write(&mut out);
    out.len() + 1
}

/// What a list in an answer is made of.
pub trait PartItem: Sized {
    /// Some of them.
    fn part(items: Vec<Self>) -> PartBody;

    /// Bytes that this one takes.
    fn size(&self) -> usize;
}

macro_rules! part_items {
    ($($type:ty: $part:ident),+) => {
        $(impl PartItem for $type {
            fn part(items: Vec<Self>) -> PartBody {
                PartBody::$part(items)
            }

            fn size(&self) -> usize {
                written(self)
            }
        })+
    };
}

part_items!(RoomItem: Rooms, Entry: Entries, Arc<Bundle>: Bundles);

/// The `part`s that carry a list, each of which fits a line. The `ok` comes right behind them.
pub fn parts<T: PartItem>(id: u64, items: impl IntoIterator<Item = T>) -> impl Iterator<Item = Answer> {
    fill(items, T::size).into_iter().map(move |items| Answer::Part { id, body: T::part(items) })
}

/// The wrapped keys of a grant, split over as many requests as it takes.
pub fn split_wraps(wraps: Wraps) -> Vec<Wraps> {
    // A hash of 44 characters, two pairs of quotes, a colon and a comma.
    split(wraps, |(_, wrap)| wrap.as_str().len() + 50)
}

/// The wrapped keys for legacy members, split over as many requests as it takes.
pub fn split_keys(keys: EncryptedKeys) -> Vec<EncryptedKeys> {
    split(keys, |(user, wrap)| json_len(user.as_str()) + wrap.as_str().len() + 6)
}

fn split<K: std::hash::Hash + Eq, V>(map: IndexMap<K, V>, len: impl Fn(&(K, V)) -> usize) -> Vec<IndexMap<K, V>> {
    fill(map, len).into_iter().map(IndexMap::from_iter).collect()
}
