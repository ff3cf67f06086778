//! PBKDF2 that gives way: a hash of some 80 ms must not hold a processor while somebody waits for it who has a tenth of a millisecond to do.

use std::cell::Cell;
use std::thread::yield_now;

use hmac::Hmac;
use hmac::digest::common::KeySizeUser;
use hmac::digest::{FixedOutput, InvalidLength, Key, KeyInit, Output, OutputSizeUser, Update};
use sha2::Sha256;

/// Rounds between two offers of the processor: some 0.15 ms.
const STRETCH: u32 = 1000;

thread_local! {
    /// Rounds since this thread last gave way.
    static SINCE: Cell<u32> = const { Cell::new(0) };
}

/// PBKDF2-HMAC-SHA256 (RFC 8018). After every thousand rounds it offers the processor to whoever waits for it: left to itself, a kernel
/// looks only at the ticks of its clock, up to 10 ms apart, whether another thread has more right to it.
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104)")]
pub(super) fn pbkdf2(secret: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    pbkdf2::pbkdf2_array::<GivingWay, 32>(secret, salt, rounds).expect("a key of any length")
}

/// HMAC-SHA256 that counts its outputs, and gives way.
#[derive(Clone)]
struct GivingWay(Hmac<Sha256>);

impl KeySizeUser for GivingWay {
    type KeySize = <Hmac<Sha256> as KeySizeUser>::KeySize;
}

impl KeyInit for GivingWay {
    fn new(key: &Key<Self>) -> Self {
        Self(Hmac::new(key))
    }

    fn new_from_slice(key: &[u8]) -> Result<Self, InvalidLength> {
        Hmac::new_from_slice(key).map(Self)
    }
}

impl Update for GivingWay {
    fn update(&mut self, data: &[u8]) {
        Update::update(&mut self.0, data);
    }
}

impl OutputSizeUser for GivingWay {
    type OutputSize = <Hmac<Sha256> as OutputSizeUser>::OutputSize;
}

impl FixedOutput for GivingWay {
    fn finalize_into(self, output: &mut Output<Self>) {
        self.0.finalize_into(output);
        let since = SINCE.get() + 1;
        SINCE.set(since % STRETCH);
        if since == STRETCH {
            yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pbkdf2;

    /// RFC 7914, section 11 (the first half of its 64 bytes each).
    #[test]
    fn the_vectors_of_the_standard_come_out() {
        let hex = |hash: [u8; 32]| hash.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(
            hex(pbkdf2(b"passwd", b"salt", 1)),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        );
        assert_eq!(
            hex(pbkdf2(b"Password", b"NaCl", 80_000)),
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
        );
    }
}
