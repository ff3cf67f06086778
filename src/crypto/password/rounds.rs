//! PBKDF2 that gives way: a hash of some 80 ms must not hold a processor while somebody waits for it who has a tenth of a millisecond to do.

use std::cell::Cell;
use std::marker::PhantomData;

use hmac::Hmac;
use hmac::digest::common::KeySizeUser;
use hmac::digest::{FixedOutput, InvalidLength, Key, KeyInit, Output, OutputSizeUser, Update};
use sha2::Sha256;

/// What the thread that hashes does for others meanwhile.
pub trait Manners {
    /// Gives the processor to whoever waits for it: after every thousand rounds, some 0.15 ms.
    fn give_way();
}

/// Those of a thread that nobody waits for.
#[derive(Debug)]
pub enum Hasty {}

impl Manners for Hasty {
    fn give_way() {}
}

/// Rounds between two offers of the processor.
const STRETCH: u32 = 1000;

thread_local! {
    /// Rounds since this thread last gave way.
    static SINCE: Cell<u32> = const { Cell::new(0) };
}

/// PBKDF2-HMAC-SHA256 (RFC 8018).
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104)")]
pub(super) fn pbkdf2<M: Manners>(secret: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    pbkdf2::pbkdf2_array::<GivingWay<M>, 32>(secret, salt, rounds).expect("a key of any length")
}

/// HMAC-SHA256 that counts its outputs, and gives way.
struct GivingWay<M>(Hmac<Sha256>, PhantomData<M>);

impl<M> Clone for GivingWay<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<M> KeySizeUser for GivingWay<M> {
    type KeySize = <Hmac<Sha256> as KeySizeUser>::KeySize;
}

impl<M> KeyInit for GivingWay<M> {
    fn new(key: &Key<Self>) -> Self {
        Self(Hmac::new(key), PhantomData)
    }

    fn new_from_slice(key: &[u8]) -> Result<Self, InvalidLength> {
        Ok(Self(Hmac::new_from_slice(key)?, PhantomData))
    }
}

impl<M> Update for GivingWay<M> {
    fn update(&mut self, data: &[u8]) {
        Update::update(&mut self.0, data);
    }
}

impl<M> OutputSizeUser for GivingWay<M> {
    type OutputSize = <Hmac<Sha256> as OutputSizeUser>::OutputSize;
}

impl<M: Manners> FixedOutput for GivingWay<M> {
    fn finalize_into(self, output: &mut Output<Self>) {
        self.0.finalize_into(output);
        let since = SINCE.get() + 1;
        SINCE.set(since % STRETCH);
        if since == STRETCH {
            M::give_way();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static WAYS: Cell<u32> = const { Cell::new(0) };
    }

    enum Counting {}

    impl Manners for Counting {
        fn give_way() {
            WAYS.set(WAYS.get() + 1);
        }
    }

    #[test]
    fn every_thousand_rounds_it_gives_way() {
        pbkdf2::<Counting>(b"secret", b"salt", 10_500);
        pbkdf2::<Counting>(b"secret", b"salt", 600);
        assert_eq!(WAYS.get(), 11);
    }

    /// RFC 7914, section 11 (the first half of its 64 bytes each).
    #[test]
    fn the_vectors_of_the_standard_come_out() {
        let hex = |hash: [u8; 32]| hash.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(
            hex(pbkdf2::<Hasty>(b"passwd", b"salt", 1)),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        );
        assert_eq!(
            hex(pbkdf2::<Hasty>(b"Password", b"NaCl", 80_000)),
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
        );
    }
}
