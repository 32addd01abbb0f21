//! The signature on call-backs: `Provider-Signature: t=<unix seconds>,v1=<hex>`, HMAC-SHA256 under a shared
//! secret over `<t>.<body>`.
//!
//! During a rotation there are two secrets, and each side may have switched or not. The provider signs with
//! every secret it has (`v1=…,v1=…`), and the shop accepts either of its own. One match is enough.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// A call-back older than this, or from further in the future, is refused, so that nobody can replay a
/// recorded one later. Seconds.
pub const TOLERANCE_SECONDS: i64 = 300;

/// More signatures than any rotation needs; the rest of the header is ignored.
const MOST_SIGNATURES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    #[error("the header must read t=<unix seconds>,v1=<hex>")]
    Malformed,
    #[error("the time of the signature is more than five minutes away")]
    OutOfTime,
    #[error("the signature does not match the body")]
    Mismatch,
}

/// The valid secrets: the current one and, during a rotation, the previous one.
#[derive(Clone)]
pub struct Secrets(Vec<String>);

impl Secrets {
    pub fn new(current: String, previous: Option<String>) -> Self {
        // A variable that is set but empty is not a secret.
        Self([current].into_iter().chain(previous.filter(|secret| !secret.is_empty())).collect())
    }

    /// Checks `header` for `body` at the Unix time `now` (seconds). The comparison takes constant time.
    pub fn verify(&self, header: &str, body: &[u8], now: i64) -> Result<(), SignatureError> {
        let (at, given) = read(header).ok_or(SignatureError::Malformed)?;
        if now.abs_diff(at) > TOLERANCE_SECONDS.unsigned_abs() {
            return Err(SignatureError::OutOfTime);
        }
        let right = self.0.iter().map(|secret| signed(secret, at, body));
        let matches =
            right.flat_map(|right| given.iter().map(move |given| right.clone().verify_slice(given).is_ok()));
        // Not `any`: the time it takes must not tell which one matched.
        if matches.fold(false, |found, matches| found | matches) {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }
}

/// The only time in a header, and its signatures; parts of other schemes are ignored.
fn read(header: &str) -> Option<(i64, Vec<Vec<u8>>)> {
    let (mut at, mut given) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=') {
            // With two times nobody knows which one was signed.
            Some(("t", value)) => at = Some(value.parse::<i64>().ok().filter(|_| at.is_none())?),
            Some(("v1", value)) if given.len() < MOST_SIGNATURES => given.extend(hex::decode(value).ok()),
            _ => {}
        }
    }
    at.filter(|_| !given.is_empty()).map(|at| (at, given))
}

fn signed(secret: &str, at: i64, body: &[u8]) -> Hmac<Sha256> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        unreachable!("HMAC takes a key of any length")
    };
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"a":1}"#;
    const AT: i64 = 1_700_000_000;
    /// Computed with: `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret`
    const HEADER: &str = "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
    const GOOD: &str = "v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
    const OTHER: &str = "v1=00f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411600";

    fn verify(secret: &str, header: &str, body: &[u8], now: i64) -> Result<(), SignatureError> {
        Secrets::new(secret.to_owned(), None).verify(header, body, now)
    }

    #[test]
    fn a_genuine_call_back_passes() {
        assert_eq!(verify("secret", HEADER, BODY, AT + 299), Ok(()));
    }

    #[test]
    fn p2_any_signature_that_matches_is_enough() {
        for header in [
            format!("t={AT},{GOOD},{OTHER}"),
            format!("t={AT},{OTHER},{GOOD}"),
            format!("t={AT}, v1=zz, v0=00, {GOOD}"),
            format!("{OTHER},{GOOD},t={AT}"),
        ] {
            assert_eq!(verify("secret", &header, BODY, AT), Ok(()), "{header}");
        }
        let none = format!("t={AT},{OTHER},{OTHER}");
        assert_eq!(verify("secret", &none, BODY, AT), Err(SignatureError::Mismatch));
    }

    #[test]
    fn p2_two_secrets_are_good_while_one_is_changed() {
        let changing = |previous: &str| Secrets::new("new secret".to_owned(), Some(previous.to_owned()));
        assert_eq!(changing("secret").verify(HEADER, BODY, AT), Ok(()));
        for previous in ["another", ""] {
            assert_eq!(changing(previous).verify(HEADER, BODY, AT), Err(SignatureError::Mismatch));
        }
        // Nobody signs with an empty secret.
        let unsigned = format!("t={AT},v1={}", hex::encode(signed("", AT, BODY).finalize().into_bytes()));
        assert_eq!(changing("").verify(&unsigned, BODY, AT), Err(SignatureError::Mismatch));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(verify("other", HEADER, BODY, AT), Err(SignatureError::Mismatch));
        assert_eq!(verify("secret", HEADER, br#"{"a":2}"#, AT), Err(SignatureError::Mismatch));
        assert_eq!(verify("secret", HEADER, BODY, AT + 301), Err(SignatureError::OutOfTime));
        assert_eq!(verify("secret", HEADER, BODY, i64::MIN), Err(SignatureError::OutOfTime));
        let later = HEADER.replace("1700000000", "1700000001");
        assert_eq!(verify("secret", &later, BODY, AT), Err(SignatureError::Mismatch));
        let twice = format!("t={AT},{HEADER}");
        for malformed in ["", "t=1700000000", "v1=00", "t=x,v1=00", "t=1700000000,v1=zz", &twice] {
            assert_eq!(verify("secret", malformed, BODY, AT), Err(SignatureError::Malformed), "{malformed}");
        }
    }
}
